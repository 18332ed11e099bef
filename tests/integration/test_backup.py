"""Taking backup sets of a real PostgreSQL: one snapshot, nothing half-made, no secret on the way."""
from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import archive_facts, catalogue, redisdump, take, verify
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import secrets
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import rowsums
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.archive import open_archive
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.digest import digest_database
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.redisserver import RedisServer
from tests.faults.test_secrets import Searcher
from tests.integration.restore_kit import HEAD, PASSWORD
from tests.lab import ROOT
from tests.lab.valkey import EmbeddedValkey

BACKUP = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server
facts = json.load(sys.stdin)
take.take_backup(take.BackupOptions(server=Server(**facts["server"]), root=facts["root"], bin_dir=facts["bin_dir"]))
"""


@pytest.fixture
def live(pg, letta_shape, make_database):
    """A Letta database of its own for one test, as its owner."""
    name = make_database("backup").dbname
    pg.drop_database(name)
    return pg.clone_database(name, letta_shape, password=PASSWORD)


@pytest.fixture
def options(pg, live, tmp_path):
    def make(**changes):
        return take.BackupOptions(**dict({"server": live, "root": str(tmp_path / "store"), "bin_dir": str(pg.bin_dir)}, **changes))

    return make


def test_a_set_holds_what_the_database_held(options, live):
    manifest = take.take_backup(options(encryption_key="the key", letta_version="0.16.8"))
    found = {name: {"rows": one.rows, "digest": one.digest} for name, one in digest_database(live, form=None).items()}
    assert manifest["tables"] == found
    assert manifest["letta"] == {"version": "0.16.8", "release_range": "0.16.7–0.16.8", "alembic_revisions": [HEAD]}
    assert manifest["sequences"] == {"letta.message_seq_id": {"last_value": 300, "is_called": True, "column": "letta.messages.sequence_id"}}
    assert manifest["database"]["settings"] == [{"role": None, "name": "search_path", "value": "letta"}]
    assert (manifest["database"]["schema"], manifest["database"]["owner"]) == ("letta", "letta")
    assert [one["name"] for one in manifest["database"]["extensions"]] == ["plpgsql", "vector"]
    assert len(manifest["agents"]) == 3
    assert secrets.matches("the key", manifest["encryption_key"])
    assert not secrets.matches("another", manifest["encryption_key"])


def test_a_set_passes_its_own_full_verification_and_is_private(options, tmp_path):
    manifest = take.take_backup(options())
    set_dir = tmp_path / "store" / manifest["id"]
    assert {finding.status for finding in verify.verify_set(str(set_dir))} == {"pass"}
    for folder, _dirs, names in os.walk(tmp_path / "store"):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        assert {stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) for name in names} <= {0o600}


def test_dump_and_digests_are_of_one_snapshot_while_others_write(options, live, tmp_path, pg, monkeypatch):
    monkeypatch.setattr(rowsums, "PROBE_ANSWER", None)  # digests of the form that an archive's own text has too
    ended = threading.Event()

    def write():
        with closing(connect(live)) as conn, conn.cursor() as cursor:
            while not ended.is_set():
                cursor.execute("UPDATE block SET value = md5(random()::text)")
                cursor.execute("INSERT INTO agents_tags (agent_id, tag) SELECT id, md5(random()::text) FROM agents LIMIT 1")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        manifest = take.take_backup(options(vectors="text"))
    finally:
        ended.set()
        writer.join()
    tools = verify.tools_for(str(tmp_path / "store" / manifest["id"]), str(pg.bin_dir))
    content = archive_facts.content(open_archive(str(tmp_path / "store" / manifest["id"] / "database"), tools), tools)
    assert manifest["tables"]["letta.agents_tags"]["rows"] > 0
    assert content["tables"] == manifest["tables"]
    assert content["agents"] == manifest["agents"]
    assert content["sequences"] == manifest["sequences"]


def test_the_digest_of_an_agent_changes_with_its_archive_and_with_nothing_of_others(options, live):
    before = take.take_backup(options())["agents"]
    query(live, "UPDATE archival_passages SET text = 'another' WHERE id LIKE '%000001'")
    after = take.take_backup(options())["agents"]
    changed = [agent for agent in before if before[agent] != after[agent]]
    assert changed == ["agent-00000000-0000-4000-8000-000000000001"]


def test_volumes_and_redis_belong_to_the_set(options, redis_server, tmp_path):
    (tmp_path / "memfs").mkdir()
    (tmp_path / "memfs" / "a.md").write_text("remember")
    redis_server.client().set("conversation:lock:x", "held")
    redis = RedisServer(redis_server.host, redis_server.port, redis_server.password)
    manifest = take.take_backup(options(redis=redis, volumes=({"name": "memfs", "path": str(tmp_path / "memfs")},)))
    set_dir = tmp_path / "store" / manifest["id"]
    assert manifest["redis"]["path"] == "redis/dump.rdb"
    assert (set_dir / "redis" / "dump.rdb").stat().st_size == manifest["redis"]["bytes"]
    assert [(one["name"], one["archive"], one["files"], one["bytes"]) for one in manifest["volumes"]] == [
        ("memfs", "volumes/memfs.tar.gz", 1, 8)
    ]
    assert {finding.status for finding in verify.verify_set(str(set_dir))} == {"pass"}


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_a_redis_snapshot_taken_over_the_network_starts_another_server(redis_server, tmp_path, diskless):
    client = redis_server.client()
    client.config_set("repl-diskless-sync", diskless)
    client.config_set("repl-diskless-sync-delay", "0")
    client.set("snapshot:" + diskless, "x" * 400000)
    second = EmbeddedValkey(tmp_path / "second", password="other")
    redisdump.take_snapshot(
        RedisServer(redis_server.host, redis_server.port, redis_server.password), str(second.home / "dump.rdb")
    )
    try:
        assert second.start().client().get("snapshot:" + diskless) in ("x" * 400000, b"x" * 400000)
    finally:
        second.destroy()


def test_redis_out_of_reach_costs_the_redis_part_alone(options, redis_server):
    manifest = take.take_backup(options(redis=RedisServer("127.0.0.1", 1, "s3cret")))
    assert manifest["redis"] is None
    assert "no Redis snapshot" in manifest["warnings"][0]
    manifest = take.take_backup(options(redis=RedisServer(redis_server.host, redis_server.port, "wr0ng-pass")))
    assert manifest["redis"] is None
    assert "AUTH" in manifest["warnings"][0]
    assert "wr0ng-pass" not in json.dumps(manifest)


def refusal(options):
    with pytest.raises(RecoveryError) as caught:
        take.take_backup(options)
    assert not [name for name in os.listdir(os.path.dirname(options.root)) if name.startswith("lb-")]
    assert not os.path.isdir(options.root) or os.listdir(options.root) == []
    assert caught.value.next_step
    return caught.value


def test_a_wrong_password_an_absent_database_and_a_foreign_one_are_told_apart(options, live, pg, make_database):
    wrong = type(live)(**dict(live.__dict__, password="wr0ng"))
    error = refusal(options(server=wrong))
    assert (error.failure_class, "password" in error.message, "wr0ng" in str(error.as_dict())) == ("preflight", True, False)
    assert refusal(options(server=live.database("no_such"))).failure_class == "preflight"
    assert refusal(options(server=make_database("foreign"))).failure_class == "schema"


@pytest.mark.fault(13, "tools")
def test_tools_older_than_the_server_are_refused_up_front(options, tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (old / name).write_text("#!/bin/sh\necho '%s (PostgreSQL) 12.4'\n" % name)
        (old / name).chmod(0o755)
    error = refusal(options(bin_dir=str(old)))
    assert error.failure_class == "preflight"
    assert re.search(r"needs pg_dump and pg_restore of PostgreSQL 1[5-9] or newer", error.message)


@pytest.mark.fault(18, "fetch")
def test_a_disk_that_is_too_small_is_refused_up_front(options, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1 << 20))
    error = refusal(options())
    assert error.failure_class == "preflight"
    assert error.details["needed_bytes"] > error.details["free_bytes"]


@pytest.mark.fault(37, "owner")
def test_a_role_that_may_not_read_a_table_is_told_and_leaves_nothing(options, live, pg):
    pg.ensure_role("backup_reader", "pw")
    pg.execute("GRANT USAGE ON SCHEMA letta TO backup_reader", live.dbname)
    pg.execute("GRANT SELECT ON letta.alembic_version TO backup_reader", live.dbname)
    error = refusal(options(server=pg.server("backup_reader", "pw", live.dbname)))
    assert error.failure_class == "preflight"
    assert "permission denied" in error.message or "may not read" in error.message


@pytest.fixture
def stuck(options, live, pg, tmp_path):
    """A backup in a process of its own, stuck in the middle of its dump behind a lock."""
    with closing(connect(pg.server(dbname=live.dbname), autocommit=False)) as blocker:
        process = subprocess.Popen(
            [sys.executable, "-c", BACKUP, str(ROOT / "playbooks" / "collections")], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        with blocker.cursor() as cursor:
            cursor.execute("LOCK TABLE letta.tools IN ACCESS EXCLUSIVE MODE")
        facts = {"server": dict(live.__dict__), "root": options().root, "bin_dir": options().bin_dir}
        process.stdin.write(json.dumps(facts).encode())
        process.stdin.close()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not dumps_of(live.dbname):
            time.sleep(0.05)
        assert dumps_of(live.dbname), "the dump did not begin"
        yield process
        process.kill()
        process.wait()


def dumps_of(database):
    """Return the command lines of running pg_dumps whose environment names a database."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            argv = (entry / "cmdline").read_bytes()
            if b"pg_dump" in argv.split(b"\0")[0] and b"PGDATABASE=" + database.encode() in (entry / "environ").read_bytes():
                found.append(argv)
        except (OSError, IndexError):
            continue
    return found


@pytest.mark.fault(42, "arguments")
def test_no_password_is_in_the_arguments_of_any_process(stuck):
    everything = b"".join(path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
    assert b"pg_dump" in everything
    assert Searcher(password=PASSWORD).find(everything) == set(), "as it is, or as a connection string, a URI or a shell has it"


def test_a_backup_killed_in_the_middle_passes_for_no_set_and_the_next_one_clears_it_away(stuck, options, live, pg):
    root = options().root
    stuck.send_signal(signal.SIGKILL)
    stuck.wait()
    (left,) = os.listdir(root)
    assert left.startswith(".incoming-")
    assert catalogue.list_sets(root) == []
    with pytest.raises(RecoveryError):
        manifests.load(os.path.join(root, left))
    deadline = time.monotonic() + 10
    while dumps_of(live.dbname) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert dumps_of(live.dbname) == [], "pg_dump outlived its parent"
    pg.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", params=(live.dbname,))
    manifest = take.take_backup(options())
    assert os.listdir(root) == [manifest["id"]]


def test_a_backup_that_is_told_to_stop_leaves_nothing(stuck, options, live):
    stuck.send_signal(signal.SIGTERM)
    assert stuck.wait(20) != 0
    assert os.listdir(options().root) == []
    assert dumps_of(live.dbname) == []


def test_a_second_backup_at_the_same_time_leaves_the_first_alone(stuck, options, live, pg, letta_shape, make_database):
    other = make_database("second").dbname
    pg.drop_database(other)
    manifest = take.take_backup(options(server=pg.clone_database(other, letta_shape, password=PASSWORD)))
    names = sorted(os.listdir(options().root))
    assert names[1] == manifest["id"]
    assert names[0].startswith(".incoming-")
