# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_restore on a server older than itself: since 17 it begins by setting ``transaction_timeout``, which a server before 17 refuses.

It has no option against that. With ``--exit-on-error`` it would end there; without, it counts the error and goes on, so that error alone
is forgiven, and any other fails the restore, though at the end of that run of pg_restore.
"""
from __future__ import annotations

import re

SETS_SINCE = 17  # the release of pg_restore that sets it, and of the server that knows it
# The server's words may be in its own language; what pg_restore says is English, see process.clean_environment.
_ERROR = re.compile(r"^(?=pg_restore: error: )", re.MULTILINE)
_UNKNOWN_SETTING = "\nCommand was: SET transaction_timeout = 0;"
_WENT_ON = re.compile(r"^pg_restore: warning: errors ignored on restore: \d+\n?", re.MULTILINE)


def way(tools, release):
    """Return how pg_restore is to run: (further arguments, ``forgiven`` of :func:`process.run_tool`).

    :param tools: :class:`Tools`. :param release: major release of the server.
    """
    fits = tools.version[0] < SETS_SINCE or release >= SETS_SINCE
    return (["--exit-on-error"], None) if fits else ([], only_the_setting)


def only_the_setting(said):
    """Tell whether every error in what pg_restore said is that of the setting, and it went on to the end."""
    return bool(_WENT_ON.search(said)) and not _ERROR.search(without_the_setting(said))


def without_the_setting(said):
    """Return what pg_restore said without that error, and without its count of errors: what a person needs to read."""
    before, *errors = _ERROR.split(_WENT_ON.sub("", said))
    return "".join([before, *(error for error in errors if _UNKNOWN_SETTING not in error)])
