# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What time it is, by two clocks: one that jumps must not make what is kept go early."""
from __future__ import annotations

import time

from .connection import query


def clocks(server):
    """Ask this machine's clock and the PostgreSQL server's, which are one where it runs here.

    :param server: a :class:`.connection.Server`.
    :returns: (earlier, later), epoch seconds: something is over by the earlier one, and kept from the later one on.
    :raises RecoveryError: as :func:`.connection.connect`.
    """
    ((there,),) = query(server, "SELECT extract(epoch FROM clock_timestamp())::float8")
    here = time.time()
    return min(here, there), max(here, there)
