# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the client tools that can read a certain archive."""

from __future__ import annotations

from ..errors import RecoveryError
from .archive import READ_SINCE, read_own
from .tools import find_tools


def tools_to_read(path, bin_dir=None):
    """Return :class:`Tools` whose pg_restore reads this archive.

    Of what is no archive at all nothing is known: then the newest there are, and opening it tells what is wrong.

    :raises RecoveryError: ``preflight`` when nothing fits.
    """
    try:
        _form, toc = read_own(str(path))
    except RecoveryError:
        return find_tools(bin_dir, need=("pg_restore",))
    return find_tools(bin_dir, min_major=READ_SINCE[toc.version[1]], compression=toc.compression, need=("pg_restore",))
