# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of entries that pg_restore is to take, in a file: gone when the block ends, and after SIGKILL with a later one."""
from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from contextlib import contextmanager, suppress

PREFIX = "letta-toc-"
UNMARKED_SECONDS = 60  # for an instant, a living process has made its file and not locked it


@contextmanager
def use_list(lines):
    """Write lines into a private file for the time of the block; yields its path, for ``--use-list``."""
    sweep(tempfile.gettempdir())
    with tempfile.NamedTemporaryFile("w", prefix=PREFIX) as listing:
        fcntl.flock(listing, fcntl.LOCK_EX)  # the kernel ends this hold with the process, whatever kills it
        listing.writelines(lines)
        listing.flush()
        yield listing.name


def sweep(folder):
    """Remove this user's lists whose process was killed."""
    for name in os.listdir(folder):
        if name.startswith(PREFIX):
            with suppress(OSError):  # somebody else's, or gone in this instant, or held: then it is left
                _remove_if_left(os.path.join(folder, name))


def _remove_if_left(path):
    facts = os.lstat(path)
    if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or time.time() - facts.st_mtime < UNMARKED_SECONDS:
        return
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(fd)
