# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder that holds the backup sets: sets in the making, sets being removed, sets in use."""
from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import tempfile
import threading

from .. import durable
from ..errors import RecoveryError
from ..progress import human_bytes
from . import manifest as manifests

INCOMING, REMOVING, RUNS, CATALOG = ".incoming-", ".removing-", ".runs", ".catalog"
_OPEN = ("open", "prepared")  # statuses of a journal whose restore may still need its set
NOTHING_KEPT = "live database untouched, no set was made, nothing left in the store"


def check_root(root, create=False):
    """Make sure the store can be read (and, with ``create``, exists and can be written).

    :raises RecoveryError: ``preflight`` with what to check.
    """
    try:
        if create:
            durable.make_private_dir(root)
            with tempfile.TemporaryFile(dir=root):  # without a name: nothing that a kill could leave
                pass
        os.listdir(root)
    except OSError as exc:
        raise RecoveryError(
            "preflight",
            "the backup store %s on %s cannot be %s (%s)" % (root, socket.gethostname(), "written" if create else "read", exc.strerror),
            next_step="check letta_backup_root, that it is mounted, and who owns it",
        ) from None


def check_free(root, needed, what):
    """Refuse work for which the store's disk has no room (``needed`` in bytes)."""
    free = shutil.disk_usage(root).free
    if free < needed:
        raise RecoveryError(
            "preflight",
            "%s needs about %s, but %s has %s free" % (what, human_bytes(needed), root, human_bytes(free)),
            next_step="make room (catalog.yml --tags prune), or point letta_backup_root at a larger disk",
            details={"needed_bytes": needed, "free_bytes": free},
        )


@contextlib.contextmanager
def incoming(root, set_id):
    """Make a set in private: yields the folder ``.incoming-<id>``; leaving in order renames it to ``<id>``.

    Whatever goes wrong inside, SIGTERM and SIGINT included, the folder is gone afterwards. After SIGKILL it stays, is no set by
    its name, and the next backup removes it: its holder's lock is then free.
    """
    folder = os.path.join(root, INCOMING + set_id)
    with _private_umask(), _signals_raise():
        os.mkdir(folder, 0o700)
        holder = None
        try:
            holder = hold(folder)
            yield folder
            os.unlink(os.path.join(folder, manifests.HOLDER))
            durable.fsync_dir(folder)
            os.rename(folder, os.path.join(root, set_id))
            durable.fsync_dir(root)
        except BaseException:
            remove_tree(folder)
            raise
        finally:
            if holder is not None:
                os.close(holder)


def hold(folder):
    """Mark a folder as in use by this process; returns the descriptor that holds the lock."""
    # A lock on an open file dies with its process, whatever kills it, and is seen from every PID namespace of the host.
    fd = os.open(os.path.join(folder, manifests.HOLDER), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.write(fd, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode("ascii"))
    return fd


def reap(root):
    """Remove what killed backups and killed removals left. Returns the names of the folders removed."""
    gone = []
    for name in sorted(os.listdir(root)):
        path = os.path.join(root, name)
        if name.startswith(REMOVING):
            _remove_hidden(root, name[len(REMOVING) :])
        elif name.startswith(INCOMING) and _holder_is_dead(path):
            remove_tree(path)
        else:
            continue
        gone.append(name)
    return gone


def _holder_is_dead(folder):
    try:
        return is_free(folder)
    except FileNotFoundError:
        # Between mkdir and lock, or between unlink and rename, a living backup has no holder file for an instant.
        return _untouched_for(folder, 60)


def is_free(folder):
    """Tell whether the process that marked a folder with :func:`hold` is gone. :raises FileNotFoundError: when there is no mark."""
    fd = os.open(os.path.join(folder, manifests.HOLDER), os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as exc:
        if exc.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        return False
    finally:
        os.close(fd)


def _untouched_for(folder, seconds):
    with tempfile.TemporaryFile(dir=os.path.dirname(folder)) as here:  # the file system's clock, which need not be ours
        try:
            return os.fstat(here.fileno()).st_mtime - os.stat(folder).st_mtime > seconds
        except FileNotFoundError:
            return False


def remove_tree(path):
    """Remove a folder of ours and all in it; a file that vanishes or appears meanwhile does not stop it."""
    for _attempt in range(20):
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            return
    shutil.rmtree(path)


def remove_set(root, set_id):
    """Remove a set: one rename hides it, then its note in the catalogue goes, then its files.

    :raises RecoveryError: ``usage`` for text that is no set id, ``locked`` while an open restore uses it.
    """
    if not manifests.ID.fullmatch(set_id):
        raise RecoveryError("usage", "%r is no backup set id" % set_id, now="no set was removed")
    users = sets_in_use(root).get(set_id)
    if users:
        raise RecoveryError(
            "locked",
            "%s is in use by the open restore %s" % (set_id, ", ".join(users)),
            now="the set was not removed",
            next_step="finish that restore first",
        )
    with contextlib.suppress(FileNotFoundError):  # then another one is removing it at this moment
        os.rename(os.path.join(root, set_id), os.path.join(root, REMOVING + set_id))
    durable.fsync_dir(root)
    _remove_hidden(root, set_id)


def _remove_hidden(root, set_id):
    """Remove what is left of a set that is being removed; its folder last, by which a removal that was killed is found."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(root, CATALOG, set_id + ".json"))
    remove_tree(os.path.join(root, REMOVING + set_id))


def sets_in_use(root):
    """Return ``{set id: [run id]}`` of the restores that are not finished.

    A run counts as open unless its journal says otherwise, and uses every set that its journal names.
    """
    used = {}
    folder = os.path.join(root, RUNS)
    for run_id in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        try:
            with open(os.path.join(folder, run_id, "journal.json"), encoding="utf-8", errors="replace") as stream:
                text = stream.read()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not _is_finished(text):
            for set_id in set(re.findall(r"lb-\d{8}T\d{6}Z-[0-9a-f]{6}", text)):
                used.setdefault(set_id, []).append(run_id)
    return used


def _is_finished(text):
    try:
        return json.loads(text)["status"] not in _OPEN
    except (ValueError, KeyError, TypeError):
        return False  # a journal that cannot be read protects its sets


@contextlib.contextmanager
def _private_umask():
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def _signals_raise():
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _raise_cancelled) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise_cancelled(number, _frame):
    raise RecoveryError("cancelled", "stopped by signal %d" % number, now=NOTHING_KEPT, next_step="run the same command again")
