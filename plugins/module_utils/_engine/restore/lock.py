# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lock per target database, held by the controller's process of a run.

A lock is a folder entry created exclusively. A holder is only passed over when its death
is proven: on its own machine by boot id, pid namespace, pid and start time.
"""
from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import secrets
import shutil
from contextlib import contextmanager

from .. import durable, processes
from ..errors import RecoveryError
from .journal import RUN_ID, unwritable, utc_now


def lock_path(runs_root, target):
    """Return the lock file of a target (``host:port/database``), one per target."""
    name = hashlib.sha256(target.encode("utf-8")).hexdigest()[:16]
    return os.path.join(runs_root, "lock-%s.json" % name)


def read_lock(runs_root, target):
    """Return the holder's record, or None when the target is free."""
    try:
        return durable.read_json(lock_path(runs_root, target))
    except FileNotFoundError:
        return None
    except ValueError:
        return {"run_id": "unknown", "controller": {}, "since": "unknown", "token": "unreadable"}


def acquire(runs_root, target, run_id, controller, operation, proven_dead=""):
    """Take the lock.

    :param controller: identity of the process that drives the run.
    :param operation: what it does, for whoever is refused.
    :param proven_dead: token of a holder that the caller has proven dead from its own machine.
    :returns: the record of the dead holder that was passed over, or None.
    :raises RecoveryError: ``locked`` with the holder, when it lives or cannot be proven dead.
    """
    try:
        durable.make_private_dir(runs_root)
    except OSError as exc:
        raise unwritable(runs_root, exc) from None
    path = lock_path(runs_root, target)
    record = {
        "run_id": run_id,
        "controller": controller,
        "operation": operation,
        "target": target,
        "since": utc_now(),
        # Names this very hold: a run that is gone on with takes the lock under its old id again.
        "token": "%s-%s" % (run_id, secrets.token_hex(4)),
    }
    dead = None
    for _attempt in range(3):
        holder = _take(runs_root, path, record)
        if holder is None:
            return dead
        if not (_same(holder.get("controller"), controller) or _is_dead(holder, proven_dead)):
            raise locked_error(holder, target)
        dead = holder
        _forget_unborn(runs_root, holder)
        _remove_if_still(runs_root, target, holder)
    raise locked_error(read_lock(runs_root, target) or {}, target)


def _take(runs_root, path, record):
    """Write the lock unless there is one. Returns its holder's record then, None when it is ours."""
    temp = "%s.%s" % (path, record["run_id"])
    with _exclusive(runs_root):
        for left in glob.glob(glob.escape(path) + ".*"):  # only who is here makes such files: whoever made this one was killed
            os.unlink(left)
        try:
            durable.write_json(temp, record)
        except OSError as exc:
            raise unwritable(temp, exc) from None
        try:
            os.link(temp, path)  # fails when the lock exists: the exclusive step
            durable.fsync_dir(runs_root)
        except FileExistsError:
            return read_lock(runs_root, record["target"])
        finally:
            os.unlink(temp)
    return None


def _forget_unborn(runs_root, holder):
    """Remove the folder of a run that was killed before it had a journal: no later run would know of it."""
    run_id = str(holder.get("run_id"))
    folder = os.path.join(runs_root, run_id)
    if RUN_ID.fullmatch(run_id) and os.path.isdir(folder) and not os.path.exists(os.path.join(folder, "journal.json")):
        shutil.rmtree(folder, ignore_errors=True)


def release(runs_root, target, run_id):
    """Give the lock back if this run holds it."""
    if not os.path.isdir(runs_root):
        return
    with _exclusive(runs_root):
        holder = read_lock(runs_root, target)
        if holder and holder.get("run_id") == run_id:
            os.unlink(lock_path(runs_root, target))


def check_free(runs_root, target):
    """Refuse a plan while a living process holds the target, without taking the lock. :raises RecoveryError: ``locked``."""
    holder = read_lock(runs_root, target)
    if holder and processes.state_of(holder.get("controller")) == processes.ALIVE:
        raise locked_error(holder, target)


def check_held(runs_root, target, run_id):
    """Refuse to go on when the lock was taken over meanwhile. :raises RecoveryError: ``locked``."""
    holder = read_lock(runs_root, target) or {}
    if holder.get("run_id") != run_id:
        raise locked_error(holder, target)


def check_begun(runs_root, journal, status):
    """Refuse to go on when the lock was taken over before the journal of this run was there: whoever took it saw no journal to close.

    :param status: what to close the journal with. :raises RecoveryError: ``locked``.
    """
    try:
        check_held(runs_root, journal.data["target"], journal.run_id)
    except RecoveryError:
        journal.finish(status)
        raise


@contextmanager
def _exclusive(runs_root):
    """Let one process at a time look at a lock and write or remove it; the kernel ends this hold with the process."""
    path = os.path.join(runs_root, ".removing")
    try:
        stream = open(path, "a", encoding="ascii")  # noqa: SIM115 (closed below)
    except OSError as exc:
        raise unwritable(path, exc) from None
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _same(who, controller):
    return bool(who) and bool(controller) and all(who.get(key) == controller.get(key) for key in ("boot", "pidns", "pid", "started"))


def _is_dead(holder, proven_dead):
    if proven_dead and proven_dead == holder.get("token"):
        return True
    return processes.state_of(holder.get("controller")) == processes.DEAD


def _remove_if_still(runs_root, target, holder):
    """Remove a dead holder's lock unless somebody else replaced it meanwhile."""
    with _exclusive(runs_root):
        found = read_lock(runs_root, target)
        if found is not None and found.get("token") == holder.get("token"):
            os.unlink(lock_path(runs_root, target))


def locked_error(holder, target):
    """Return the `locked` error that names the holder."""
    who = holder.get("controller") or {}
    return RecoveryError(
        "locked",
        "%s is locked by %s of run %s: process %s on %s, since %s"
        % (target, holder.get("operation", "an operation"), holder.get("run_id"), who.get("pid"), who.get("host"), holder.get("since")),
        next_step="wait for it; if that machine is gone for good: -e letta_break_lock=%s" % holder.get("token", holder.get("run_id")),
        details={"holder": holder},
    )
