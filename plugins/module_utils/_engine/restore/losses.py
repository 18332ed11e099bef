# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fallback costs: from the manifests where both can be read, else from what the live database still knows."""
from __future__ import annotations

from ..backup import loss
from ..backup import manifest as manifests
from ..errors import RecoveryError
from ..postgres.connection import psycopg2
from .target import loss_window


def cost(context, passed, taken):
    """Return what taking one set costs.

    :param passed: :class:`SetInfo` of the newer set that is passed over, or None to compare with the live database.
    :param taken: SetInfo of the set that is, or would be, restored.
    :returns: a loss (:mod:`backup.loss`), or None when the set passed over is not newer or has no known time.
    """
    if passed is not None and passed.taken_at <= taken.taken_at:
        return None
    try:
        if passed is not None and passed.usable:
            return loss.between_manifests(manifests.load(passed.path), manifests.load(taken.path))
    except (RecoveryError, KeyError, TypeError, ValueError):
        pass  # its manifest cannot be read any more: the live database may know
    window = _created_between(context, taken, passed)
    seconds = window["seconds"] if passed is None else (passed.taken_at - taken.taken_at).total_seconds()
    known = window["messages"] is not None
    return loss.make(seconds, window["messages"], window["agents_count"], window["agents"], "live" if known else "unknown")


def _created_between(context, taken, passed):
    """Return :func:`target.loss_window` of the rows that live has of the time between two sets; unknown without a live database."""
    live, until = context.target["live"], None if passed is None else manifests.stamp(passed.taken_at)
    nothing = {"seconds": float(taken.age_seconds), "messages": None, "agents": [], "agents_count": None}
    if not live or live["fenced"]:
        return nothing
    try:
        return loss_window(context.server, context.options.database, live["schema"], manifests.stamp(taken.taken_at), until)
    except (RecoveryError, psycopg2.Error):
        return nothing
