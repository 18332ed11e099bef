# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told when PostgreSQL refuses what is loaded into a side database. Pure."""
from __future__ import annotations

from ..errors import RecoveryError

_NO_ROOM = "No space left on device"
_ROOM = "make room on the disk of PostgreSQL and of its write-ahead log (df -h there), then run the same command again"


def load_failed(text, problem, other="see letta_report_dir/latest/report.html; try another set with -e letta_backup_id=…"):
    """Return the error of a load that was refused; a full disk is not held against the set.

    :param text: what failed, where. :param problem: an exception, or what a client tool said. :param other: what to do where it is the set.
    """
    full = getattr(problem, "pgcode", None) == "53100" or _NO_ROOM in str(problem)
    return RecoveryError("load_failed", text, next_step=_ROOM if full else other)
