# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All checks: of every concern, and each with its step."""
from __future__ import annotations

from . import agents, blocks, contexts, files, groups, organisation, passages, rows, tools
from .base import STEPS
from .computed import COMPUTED

DATA_PROBES = (
    contexts.PROBES
    + agents.PROBES
    + rows.VALUE_PROBES
    + rows.WORK_PROBES
    + rows.ID_PROBES
    + blocks.PROBES
    + passages.PROBES
    + files.PROBES
    + groups.PROBES
    + organisation.PROBES
    + tools.PROBES
)
# id -> Check, in the order in which people read them.
CHECKS = {
    check.id: check
    for step in STEPS
    for check in COMPUTED + tuple(check for probe in DATA_PROBES for check in probe.checks)
    if check.step == step
}
_PLACE = {check: place for place, check in enumerate(CHECKS)}


def step_of(check):
    """Return the key of a check's step; one that could not even begin belongs to the tables' integrity."""
    return CHECKS[check].step if check in CHECKS else "integrity"


def in_order(findings):
    """Return findings sorted by step and, within it, in the order of the declarations."""
    steps = list(STEPS)
    return sorted(findings, key=lambda finding: (steps.index(step_of(finding.id)), _PLACE.get(finding.id, len(_PLACE))))
