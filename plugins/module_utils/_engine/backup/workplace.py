# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private folder on this host for plain copies of encrypted sets: gone when the block ends, and after SIGKILL with the next one."""
from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager

from ..errors import RecoveryError
from ..postgres.process import sigterm_unwinds
from ..progress import human_bytes
from . import store

PREFIX = "letta-ops-plain-"
UNMARKED_SECONDS = 60


@contextmanager
def private_folder(base, needed=0, what="reading an encrypted set"):
    """Make a folder that only this user can enter (0700); yields its path.

    :param base: folder of this host to make it in. :param needed: bytes that must be free there. :param what: for the message.
    :raises RecoveryError: ``preflight`` when it cannot be made or there is no room.
    """
    reap(base)
    try:
        free = shutil.disk_usage(base).free
        if free < needed:
            raise RecoveryError(
                "preflight",
                "%s needs about %s of plain copies in %s, which has %s free" % (what, human_bytes(needed), base, human_bytes(free)),
                next_step="make room there, or point letta_scratch_dir at a larger disk of this host",
                details={"needed_bytes": needed, "free_bytes": free},
            )
        folder = tempfile.mkdtemp(prefix=PREFIX, dir=base)
    except OSError as exc:
        text = "%s cannot hold plain copies (%s)" % (base, exc.strerror)
        raise RecoveryError("preflight", text, next_step="point letta_scratch_dir at a folder of this host") from None
    with sigterm_unwinds():
        holder = None
        try:
            holder = store.hold(folder)
            yield folder
        finally:
            store.remove_tree(folder)
            if holder is not None:
                os.close(holder)


def reap(base):
    """Remove this user's folders whose process was killed. Returns their names."""
    gone = []
    for name in sorted(os.listdir(base)) if os.path.isdir(base) else []:
        path = os.path.join(base, name)
        # The place may be open to all (/var/tmp): only folders of our own, never what a link leads to.
        if not name.startswith(PREFIX) or os.path.islink(path):
            continue
        try:
            if os.lstat(path).st_uid == os.geteuid() and _is_left(path):
                store.remove_tree(path)
                gone.append(name)
        except FileNotFoundError:
            continue  # its own process removed it in this instant
    return gone


def _is_left(path):
    try:
        return store.is_free(path)
    except FileNotFoundError:  # for an instant, a living process has made the folder and not marked it
        return time.time() - os.lstat(path).st_mtime > UNMARKED_SECONDS
