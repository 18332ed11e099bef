"""The file of a set in the place of that of a stopped Redis, on a real server: owners, append-only files, kills, the way back."""
from __future__ import annotations

import os
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.redisdump import take_snapshot
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.redisserver import RedisServer
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime import redisfiles
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.redis import align
from tests.integration.test_redis_align import LETTAS, fill
from tests.integration.validate_kit import run_plain_module
from tests.lab import places
from tests.lab.valkey import EmbeddedValkey

RUN = "r-1"


@pytest.fixture(params=["snapshot", "append only"])
def own(request, tmp_path):
    """A Redis of its own whose port stays, with its settings."""
    server = EmbeddedValkey(tmp_path, port=places.free_port(), password="p'w {{ x }}", appendonly=request.param == "append only")
    try:
        yield server.start()
    finally:
        server.destroy()


def where(own):
    return RedisServer(own.host, own.port, own.password, timeout=2)


@pytest.fixture
def snapshot(own, tmp_path):
    """What a backup took of it: Letta's keys, and those of others."""
    foreign = fill(own.client())
    path = tmp_path / "dump.rdb"
    take_snapshot(where(own), str(path))
    own.client().flushall()
    own.client().set("since the backup", "1")
    return path, foreign


def stopped(own):
    """Return its facts, having stopped it: it saves what it has."""
    facts = redisfiles.inspect(where(own))
    own.stop()
    return facts


def keys(own):
    return {key.decode("utf-8", "replace") for key in own.client(decode_responses=False).scan_iter()}


@pytest.mark.fault(34, "aof", "locks")
def test_a_set_s_redis_is_back_with_its_owner_and_old_locks_go_with_the_align(own, snapshot):
    path, foreign = snapshot
    facts = stopped(own)
    target = Path(facts["dir"]) / facts["name"]
    os.chmod(target, 0o750 if target.is_dir() else 0o640)
    if os.geteuid() == 0:
        os.chown(target, 4711, 4712)
    before = os.stat(target)
    done = redisfiles.place(where(own), facts, str(path), RUN)
    assert (done["changed"], done["path"]) == (True, str(target))
    after = os.stat(target)
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (before.st_uid, before.st_gid, stat.S_IMODE(before.st_mode))
    assert redisfiles.place(where(own), facts, str(path), RUN)["changed"] is False
    own.start()
    assert redisfiles.wait_until_loaded(where(own), 10) == len(foreign) + sum(LETTAS.values())
    assert align(where(own))["dropped"] == sum(LETTAS.values())
    assert len(keys(own)) == len(foreign) and "since the backup" not in keys(own)
    own.stop()
    own.start()
    assert len(keys(own)) == len(foreign), "an older append-only file does not come back with the next start"


def test_back_is_what_was_there_before(own, snapshot):
    path, _foreign = snapshot
    facts = stopped(own)
    redisfiles.place(where(own), facts, str(path), RUN)
    own.start()
    own.stop()
    assert redisfiles.put_back(where(own), facts, RUN)["changed"]
    assert redisfiles.put_back(where(own), facts, RUN)["changed"] is False
    own.start()
    assert keys(own) == {"since the backup"}
    assert [name for name in os.listdir(facts["dir"]) if "before" in name or "new-" in name or "r-1" in name] == []


@pytest.mark.fault(20, "folder")
@pytest.mark.parametrize("moment", range(4))
def test_killed_at_any_step_the_next_call_ends_it_or_takes_it_back(own, snapshot, monkeypatch, moment):
    path, foreign = snapshot
    facts = stopped(own)
    steps = []

    def counted(function):
        def call(*arguments):
            if len(steps) == moment:
                raise KeyboardInterrupt
            steps.append(function)
            return function(*arguments)

        return call

    with monkeypatch.context() as patch:
        for place, name in ((os, "rename"), (redisfiles.durable, "write_json"), (redisfiles, "_copy")):
            patch.setattr(place, name, counted(getattr(place, name)))
        with pytest.raises(KeyboardInterrupt):
            redisfiles.place(where(own), facts, str(path), RUN)
    if moment % 2:
        redisfiles.put_back(where(own), facts, RUN)
        own.start()
        assert keys(own) == {"since the backup"}
    else:
        redisfiles.place(where(own), facts, str(path), RUN)
        own.start()
        assert len(keys(own)) == len(foreign) + sum(LETTAS.values())


def test_a_running_redis_is_never_touched_and_a_folder_that_is_not_here_is_named(own, snapshot):
    path, _foreign = snapshot
    facts = redisfiles.inspect(where(own))
    before = sorted(os.listdir(facts["dir"]))
    for server in (where(own), replace(where(own), password="wrong")):
        with pytest.raises(RecoveryError, match="still runs"):
            redisfiles.place(server, facts, str(path), RUN)
    assert sorted(os.listdir(facts["dir"])) == before
    own.stop()
    with pytest.raises(RecoveryError, match="no folder of this host") as caught:
        redisfiles.place(where(own), dict(facts, dir="/data/of/a/container"), str(path), RUN)
    assert "letta_redis_dir" in caught.value.next_step


def test_what_was_set_aside_goes_when_its_time_is_over(own, snapshot):
    path, _foreign = snapshot
    facts = stopped(own)
    before = redisfiles.place(where(own), facts, str(path), RUN)["before"]
    assert redisfiles.sweep(facts, 3600) == [] and os.path.lexists(before)
    assert redisfiles.sweep(facts, 3600, time.time() + 3601) == [before] and not os.path.lexists(before)


def test_the_module_does_the_same_and_check_mode_nothing(own, snapshot):
    path, foreign = snapshot
    login = {"redis_host": own.host, "redis_port": own.port, "redis_password": own.password}
    data = run_plain_module("redis_restore", state="inspected", **login)["data"]
    assert data["parts"] == ("" if data["name"].endswith(".rdb") else "appendonly.aof")
    own.stop()
    options = dict(login, state="placed", data=data, src=str(path), run_id=RUN)
    listed = sorted(os.listdir(data["dir"]))
    assert run_plain_module("redis_restore", check=True, **options)["changed"] and sorted(os.listdir(data["dir"])) == listed
    assert run_plain_module("redis_restore", **options)["changed"] is True
    own.start()
    loaded = run_plain_module("redis_restore", state="loaded", **login)
    assert (loaded["changed"], loaded["keys"]) == (False, len(foreign) + sum(LETTAS.values()))
    refused = run_plain_module("redis_restore", secret=own.password, **dict(options, state="back"))
    assert refused["failure_class"] == "preflight"
