# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of a Redis that is stopped, exchanged for that of a backup set, and back.

With ``appendonly yes`` Redis reads its append-only file and never looks at the snapshot: there the file of the set becomes the first
part of a new append-only file (a folder of parts and a list of them since Redis 7). What was there lies beside, under ``.before-<run>``,
and what is about to be done is on disk before it is done.
"""
from __future__ import annotations

import glob
import os
import shutil
import stat
import time

from .. import durable
from ..errors import RecoveryError
from ..redisserver import is_snapshot
from . import redis as aligning

SETTINGS = ("dir", "dbfilename", "appendonly", "appendfilename", "appenddirname")
RECORD, BEFORE, NEW = ".letta-%s.json", ".before-%s", ".new-%s"
_PARTS_SINCE = 7


def inspect(server):
    """Ask a running Redis where its files are.

    :param server: a :class:`~..redisserver.RedisServer`.
    :returns: {"dir", "name" (of what it reads when it starts), "parts" ("" for a snapshot, else the stem of the parts of an append-only
        file), "version", "keys"}
    :raises RecoveryError: ``preflight``, also when CONFIG is not allowed or Redis is too old for what it is set up to do.
    """
    with aligning.opened(server) as client:
        found = {_text(name): _text(value) for setting in SETTINGS for name, value in client.config_get(setting).items()}
        facts, keys = client.info("server"), client.dbsize()
    appends = found.get("appendonly") == "yes"
    # Valkey tells the release of Redis that it is compatible with, too.
    if appends and int(facts["redis_version"].partition(".")[0]) < _PARTS_SINCE:
        raise _refused(
            "Redis %s is older than %d and keeps an append-only file: such a one is not exchanged" % (server.address, _PARTS_SINCE),
            "set appendonly no in its configuration and start it once, or letta_redis_restore: none",
        )
    return {
        "dir": found["dir"],
        "name": found["appenddirname"] if appends else found["dbfilename"],
        "parts": found["appendfilename"] if appends else "",
        "version": facts.get("valkey_version") or facts["redis_version"],
        "keys": keys,
    }


def place(server, facts, source, run_id):
    """Put the file of a set in the place of that of a stopped Redis; done already is nothing to do.

    :param facts: of :func:`inspect`, taken while it ran. :param source: a snapshot, or an append-only file, on this host.
    :param run_id: whose exchange it is.
    :returns: {"changed", "path", "before": path of what was there, empty where nothing was}
    :raises RecoveryError: ``preflight`` when Redis runs, its folder is not here, or it would not read this file.
    """
    path, record = os.path.join(facts["dir"], facts["name"]), os.path.join(facts["dir"], RECORD % run_id)
    if not os.path.exists(record):
        _check(server, facts, source)
        _write_new(facts, source, path, path + NEW % run_id)
        durable.write_json(record, {"name": facts["name"], "was_absent": not os.path.lexists(path)})
    changed = os.path.lexists(path + NEW % run_id)
    if changed:
        if os.path.lexists(path) and not os.path.lexists(path + BEFORE % run_id):
            os.rename(path, path + BEFORE % run_id)
        os.rename(path + NEW % run_id, path)
        durable.fsync_dir(facts["dir"])
    before = path + BEFORE % run_id
    return {"changed": changed, "path": path, "before": before if os.path.lexists(before) else ""}


def put_back(server, facts, run_id):
    """Undo :func:`place`, however far it came: what was there before is there again.

    :returns: {"changed", "path", "before": ""}
    :raises RecoveryError: ``preflight`` when Redis runs.
    """
    path, record = os.path.join(facts["dir"], facts["name"]), os.path.join(facts["dir"], RECORD % run_id)
    told = {"changed": os.path.exists(record), "path": path, "before": ""}
    if told["changed"]:
        _refuse_running(server)
        if os.path.lexists(path + BEFORE % run_id):
            _remove(path)
            os.rename(path + BEFORE % run_id, path)
        elif durable.read_json(record)["was_absent"]:
            _remove(path)
        os.unlink(record)
        durable.fsync_dir(facts["dir"])
    _remove(path + NEW % run_id)
    return told


def sweep(facts, older_than, now=None):
    """Remove what exchanges of long ago set aside, and their records.

    :param older_than: seconds. :returns: paths removed.
    """
    gone = []
    head, tail = RECORD.split("%s")
    for record in glob.glob(os.path.join(glob.escape(facts["dir"]), RECORD % "*")):
        if os.lstat(record).st_mtime > (now or time.time()) - older_than:
            continue
        run_id = os.path.basename(record)[len(head) : -len(tail)]
        before = os.path.join(facts["dir"], durable.read_json(record)["name"] + BEFORE % run_id)
        gone += [before] if os.path.lexists(before) else []
        _remove(before)
        os.unlink(record)
    return gone


def wait_until_loaded(server, seconds):
    """Wait for a Redis that was started to answer, having read its file; returns the number of its keys.

    :raises RecoveryError: ``preflight`` with what it said last.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with aligning.opened(server) as client:
                return client.dbsize()
        except RecoveryError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def _check(server, facts, source):
    _refuse_running(server)
    if not os.path.isdir(facts["dir"]):
        raise _refused(
            "Redis %s keeps its files in %s, which is no folder of this host" % (server.address, facts["dir"]),
            "where Redis runs in a container, set letta_redis_dir to that folder as this host sees it",
        )
    if not is_snapshot(source) and not facts["parts"]:
        raise _refused(
            "the set holds an append-only file, and Redis %s is set up to read snapshots" % server.address,
            "set appendonly yes in its configuration and start it once, then run the restore again; or letta_redis_restore: none",
        )


def _refuse_running(server):
    try:
        with aligning.opened(server) as client:
            client.ping()
    except RecoveryError as error:
        if "does not answer" in error.message:
            return
    raise _refused("Redis %s still runs: it would write over whatever is put in place" % server.address, "stop it first")


def _write_new(facts, source, path, new):
    """Write what Redis is to read beside what it reads now, with the owner and mode of that, else the owner of the folder."""
    _remove(new)
    there = os.path.lexists(path)
    like = os.stat(path if there else facts["dir"])
    if not facts["parts"]:
        _copy(source, new, like, stat.S_IMODE(like.st_mode) if there else 0o600)
        return
    os.mkdir(new, 0o700)
    first = "%s.1.base.%s" % (facts["parts"], "rdb" if is_snapshot(source) else "aof")
    listed = os.path.join(new, facts["parts"] + ".manifest")
    _copy(source, os.path.join(new, first), like, 0o600)
    durable.write_private(listed, ("file %s seq 1 type b\n" % first).encode("utf-8"))
    os.chown(listed, like.st_uid, like.st_gid)
    durable.fsync_dir(new)
    os.chmod(new, stat.S_IMODE(like.st_mode) if there else 0o700)
    os.chown(new, like.st_uid, like.st_gid)


def _copy(source, target, like, mode):
    with open(source, "rb") as stream, open(target, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
        shutil.copyfileobj(stream, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())
        os.fchmod(out.fileno(), mode)
        os.fchown(out.fileno(), like.st_uid, like.st_gid)


def _remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _text(value):
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _refused(message, hint):
    return RecoveryError("preflight", message, now="the files of Redis are as they were", next_step=hint)
