"""What follows a live database elsewhere is told before a restore leaves it behind; found out on real servers."""
from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import closing

import psycopg2
import psycopg2.extras
import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import replication, swap
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import cutover, recovery, replicas, target
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import SUCCEEDED, Journal, NoJournal
from tests.lab import places
from tests.lab.postgres import EmbeddedPostgres

LIVE, SIDE, OLD = "followed", "followed__restore_r-00000000", "followed__before_r-00000000"
NAMES = {"live": LIVE, "side": SIDE, "previous": OLD}


@pytest.fixture(scope="module")
def primary(tmp_path_factory):
    """A server that others may follow."""
    settings = {"wal_level": "logical", "shared_buffers": "16MB", "max_wal_size": "128MB"}
    server = EmbeddedPostgres(tmp_path_factory.mktemp("primary"), fsync=False, settings=settings)
    try:
        yield server.start()
    finally:
        server.destroy()


@pytest.fixture
def followed(primary):
    """The primary with a live and a side database."""
    for name in (LIVE, SIDE):
        primary.execute('CREATE DATABASE "%s" TEMPLATE template0' % name)
    yield primary
    primary.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    for name in NAMES.values():
        primary.drop_database(name)


def found_at(server, database=LIVE):
    facts = target.inspect_target(server, database)
    return {item.id: item.detail for item in replicas.findings(facts["replication"], database)}


def test_a_database_that_nobody_follows_brings_no_warning(followed):
    assert found_at(followed.server()) == {}


def test_a_logical_slot_goes_with_the_old_database_which_keeps_wal_for_it_until_both_are_dropped(followed, tmp_path):
    server = followed.server()
    followed.execute("CREATE PUBLICATION sales FOR ALL TABLES", LIVE)
    followed.execute("SELECT pg_create_logical_replication_slot('warehouse', 'pgoutput')", LIVE)
    told = found_at(server)
    assert set(told) == {"replication.slots", "replication.publications"}
    assert "warehouse (not in use)" in told["replication.slots"]
    assert "sales" in told["replication.publications"]

    where = {"host": server.host, "port": server.port, "user": server.user, "password": server.password, "dbname": LIVE}
    with closing(psycopg2.connect(connection_factory=psycopg2.extras.LogicalReplicationConnection, **where)) as conn:
        conn.cursor().start_replication(slot_name="warehouse", options={"proto_version": "1", "publication_names": "sales"})
        assert "warehouse (in use)" in found_at(server)["replication.slots"]
        assert "replication.standbys" not in found_at(server), "it is no standby"
        with pytest.raises(RecoveryError, match="do not leave"):
            cutover.swap_in(server, NoJournal(), NAMES, cutover.Guests(session_timeout=0.3))

    cutover.swap_in(server, NoJournal(), NAMES)
    assert followed.execute("SELECT database FROM pg_replication_slots WHERE slot_name = 'warehouse'") == [(OLD,)]
    assert followed.execute("SELECT count(*) FROM pg_publication", LIVE) == [(0,)]
    assert set(found_at(server)) == {"replication.kept"}

    oid = cutover.oid_of(server, OLD)
    journal = Journal.create(str(tmp_path), "r-00000000", target="t", names=NAMES, operation="restore-full.yml", phases=[])
    journal.finish(SUCCEEDED, previous={"name": OLD, "oid": oid}, valid_until="2026-01-01T00:00:00Z")
    assert recovery.sweep(server, str(tmp_path), "t", time.time()) == [OLD]
    assert followed.execute("SELECT 1 FROM pg_replication_slots") == [], "a slot that nobody uses is dropped with its database"


def test_an_enabled_subscription_is_a_session_that_stops_the_cutover(followed):
    followed.execute("CREATE SUBSCRIPTION inbox CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false)", LIVE)
    try:
        assert replication.of_database(followed.server(dbname=LIVE))["subscriptions"] == [{"name": "inbox", "enabled": False}]
        assert "inbox (disabled)" in found_at(followed.server())["replication.subscriptions"]
    finally:
        followed.execute("ALTER SUBSCRIPTION inbox SET (slot_name = NONE)", LIVE)
        followed.execute("DROP SUBSCRIPTION inbox", LIVE)


@pytest.fixture
def standby(followed, tmp_path):
    """A streaming replica of the primary."""
    made = EmbeddedPostgres(tmp_path / "standby", fsync=False, settings={"shared_buffers": "16MB", "max_wal_size": "128MB"})
    env = dict(os.environ, **followed.server().environment())
    for name in ("PGDATABASE", "PGAPPNAME"):
        env.pop(name)
    argv = [str(followed.bin_dir / "pg_basebackup"), "-D", str(made.data_dir), "-R", "-c", "fast", "-X", "stream"]
    subprocess.run(argv, env=env, check=True, capture_output=True, timeout=60)
    for path in (made.data_dir, *made.data_dir.rglob("*")):
        os.chown(path, *places.server_ids())
    shutil.copy(followed.home / "superuser.password", made.home / "superuser.password")
    try:
        yield made.start()
    finally:
        made.destroy()


def test_a_standby_is_refused_as_a_target_by_its_primary_s_name_and_told_by_its_primary(followed, standby):
    assert places.wait_for(lambda: followed.execute("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"), 15)
    facts = target.inspect_target(standby.server(), LIVE)
    assert facts["standby"]
    with pytest.raises(RecoveryError) as caught:
        replicas.refuse_standby(facts)
    assert caught.value.failure_class == "preflight"
    assert "127.0.0.1:%d" % followed.port in caught.value.next_step
    assert "1 standby server(s) follow this one: walreceiver at 127.0.0.1 (async)" in found_at(followed.server())["replication.standbys"]

    with closing(connect(standby.server(dbname=LIVE))) as reader, reader.cursor() as cursor:
        cutover.swap_in(followed.server(), NoJournal(), NAMES)
        assert places.wait_for(lambda: standby.execute("SELECT 1 FROM pg_database WHERE datname = %s", params=(OLD,)), 15)
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone() == (OLD,), "who reads at a standby stays in the old database"
    assert swap.sessions(standby.server(), LIVE) == []
