# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings: the result of one check, in the shape the report prints."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

PASS, WARN, FAIL = "pass", "warn", "fail"
_ORDER = {PASS: 0, WARN: 1, FAIL: 2}
MAX_EXAMPLES = 10


@dataclass(frozen=True)
class Finding:
    """One check's outcome.

    :param id: stable name of the check, dotted (``sequence.behind``).
    :param status: ``pass``, ``warn`` or ``fail``.
    :param detail: one sentence for a person.
    :param count: number of offending rows (0 when it passed).
    :param examples: up to ten ids of offending rows, never values.
    """

    id: str
    status: str
    detail: str
    count: int = 0
    examples: Sequence[str] = field(default_factory=tuple)

    def __post_init__(self):
        if self.status not in _ORDER:
            raise ValueError("unknown status: %r" % (self.status,))
        object.__setattr__(self, "examples", tuple(self.examples)[:MAX_EXAMPLES])

    def as_dict(self):
        """Return the finding as plain data (the keys of ``report.json``'s ``checks``)."""
        data = asdict(self)
        data["examples"] = list(self.examples)
        return data


def worst(findings):
    """Return the worst status among the findings; ``pass`` when there are none."""
    return max((f.status for f in findings), key=_ORDER.__getitem__, default=PASS)
