"""Dumping a live database: private files, in the snapshot asked for, with nothing left running and no secret told."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.archive import open_archive, read_rows
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.catalog import (
    database_facts,
    sequences,
    tables,
    user_schemas,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.digest import digest_archive, digest_database
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.dump import dump_directory
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import Tools, best_compression, find_tools
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.progress import Progress
from tests.lab import ROOT


@pytest.fixture(scope="module")
def tools(pg):
    return find_tools(str(pg.bin_dir))


@pytest.fixture
def filled(make_database):
    server = make_database("dump")
    query(
        server,
        "create table t (i int, at timestamptz, b bytea); "
        "insert into t select i, '2020-01-01 00:00:00+00', '\\x00' from generate_series(1, 1000) i",
    )
    return server


def test_a_dump_is_private_complete_and_written_in_one_canonical_form(filled, tools, tmp_path):
    query(filled, "alter database \"%s\" set timezone = 'Asia/Tokyo'" % filled.dbname)
    query(filled, "alter database \"%s\" set bytea_output = 'escape'" % filled.dbname)
    target = tmp_path / "database"
    facts = dump_directory(filled, str(target), tools, jobs=2, progress=Progress(str(tmp_path / "progress")))
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in target.iterdir()} == {0o600}
    assert facts["compression"] == best_compression(tools)
    assert facts["bytes"] == sum(path.stat().st_size for path in target.iterdir())
    archive = open_archive(target, tools)
    assert next(read_rows(archive, tools, "public.t")[1]) == ("1", "2020-01-01 00:00:00+00", "\\x00")
    assert digest_archive(archive, tools) == digest_database(filled)
    assert json.loads((tmp_path / "progress").read_text())["phase"] == "dump"


def test_a_dump_holds_its_snapshot_and_not_what_came_later(filled, tools, tmp_path):
    with closing(connect(filled)) as conn, conn.cursor() as cursor:
        cursor.execute("begin isolation level repeatable read read only")
        cursor.execute("select pg_export_snapshot()")
        snapshot = cursor.fetchone()[0]
        query(filled, "delete from t where i > 10")
        dump_directory(filled, str(tmp_path / "d"), tools, jobs=2, compression="none", snapshot=snapshot)
    archive = open_archive(tmp_path / "d", tools)
    assert archive.compression == "none"
    assert digest_archive(archive, tools)["public.t"].rows == 1000


@pytest.mark.fault(37, "owner")
def test_a_role_that_may_not_read_a_table_gets_the_grant_it_needs_and_no_password_is_told(pg, filled, tools, tmp_path):
    pg.ensure_role("dump_reader", "s3cr3t-of-reader")
    server = pg.server("dump_reader", "s3cr3t-of-reader", filled.dbname)
    with pytest.raises(RecoveryError, match="permission denied for table t") as failure:
        dump_directory(server, str(tmp_path / "d"), tools)
    assert "pg_read_all_data" in failure.value.next_step
    assert "s3cr3t" not in json.dumps(failure.value.as_dict())
    with pytest.raises(RecoveryError) as failure:
        dump_directory(replace(server, password="wr0ng-pass"), str(tmp_path / "e"), tools)
    assert "wr0ng-pass" not in json.dumps(failure.value.as_dict())


def test_a_cancelled_dump_leaves_no_pg_dump_behind(filled, tools, tmp_path):
    query(filled, "select pg_advisory_lock(1)")
    script = (
        "import sys; sys.path.insert(0, %r)\n"
        "from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import connection, dump, tools\n"
        "server = connection.Server(*%r)\n"
        "dump.dump_directory(server, %r, tools.Tools(%r, (18, 6), ('gzip',)))\n"
    ) % (
        str(ROOT / "playbooks" / "collections"),
        (filled.host, filled.port, filled.user, filled.password, filled.dbname),
        str(tmp_path / "d"),
        tools.bin_dir,
    )
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with closing(connect(filled, autocommit=False)) as conn, conn.cursor() as cursor:
            cursor.execute("lock table t in access exclusive mode")  # pg_dump waits for it
            child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                assert wait_for(lambda: dumpers(filled) == 1)
                os.kill(child.pid, signum)
                child.wait(20)
                conn.rollback()
                assert wait_for(lambda: dumpers(filled) == 0)
            finally:
                child.kill()
                child.wait(20)


def dumpers(server):
    return query(
        server,
        "select count(*) from pg_stat_activity where datname = %s and query ilike 'lock table%%' and state = 'active'",
        (server.dbname,),
    )[0][0]


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_the_best_compression_is_the_best_the_tools_have():
    assert best_compression(Tools("/x", (18, 6), ("zstd", "lz4", "gzip"))) == "zstd:2"
    assert best_compression(Tools("/x", (18, 6), ("lz4", "gzip"))) == "lz4"
    assert best_compression(Tools("/x", (15, 6), ("gzip",))) == "gzip:1"


def test_the_facts_of_a_database_are_those_a_plain_dump_does_not_carry(pg, make_database):
    server = make_database("facts", letta=True, schema="letta")
    name = server.dbname
    admin = pg.server(dbname=name)
    query(admin, "comment on database \"%s\" is 'two\nlines'" % name)
    query(admin, 'alter database "%s" connection limit 17' % name)
    query(admin, "alter role letta in database \"%s\" set work_mem = '5MB'" % name)
    query(admin, 'revoke connect on database "%s" from public' % name)
    facts = database_facts(server)
    assert (facts["name"], facts["owner"], facts["encoding"], facts["connection_limit"]) == (name, "letta", "UTF8", 17)
    assert (facts["comment"], facts["collate"], facts["locale_provider"]) == ("two\nlines", "C.UTF-8", "libc")
    assert {"role": "letta", "name": "work_mem", "value": "5MB"} in facts["settings"]
    assert [s["name"] for s in facts["settings"] if s["role"] is None] == ["search_path"]
    assert [(e["name"], e["schema"]) for e in facts["extensions"] if e["name"] == "vector"] == [("vector", "letta")]
    assert any(item.startswith("letta=") for item in facts["acl"])
    assert facts["server_version"].startswith("%d." % (facts["server_version_num"] // 10000)) and facts["server_version_num"] >= 150000
    assert facts["system_identifier"].isdigit() and facts["size_bytes"] > 1000000


def test_sequences_name_their_column_whether_owned_or_only_drawn_from(make_database):
    server = make_database("facts")
    query(
        server,
        """
        create schema letta; create sequence letta.message_seq_id; create sequence alone start 5;
        create table letta.messages (id serial, sequence_id bigint default nextval('letta.message_seq_id'),
            n int generated always as identity);
        create table part (i int) partition by range (i); create table part1 partition of part default; create extension vector;
        create unlogged table quick (i int); create view v as select 1;
        select nextval('letta.message_seq_id'), nextval('letta.message_seq_id');
    """,
    )
    found = sequences(server)
    assert found["letta.message_seq_id"] == {"last_value": 2, "is_called": True, "column": "letta.messages.sequence_id"}
    assert found["public.alone"] == {"last_value": 5, "is_called": False, "column": None}
    assert found["letta.messages_id_seq"]["column"] == "letta.messages.id"
    assert found["letta.messages_n_seq"]["column"] == "letta.messages.n"
    assert tables(server) == ["letta.messages", "public.part", "public.part1", "public.quick"]
    assert user_schemas(server) == ["letta", "public"]


def test_an_index_that_an_interrupted_build_left_invalid_is_not_in_the_dump(filled, tools, tmp_path):
    query(filled, "create index whole on t (i); create index left_over on t (i); update pg_index set indisvalid = false"
                  " where indexrelid = 'left_over'::regclass")  # fmt: skip
    dump_directory(filled, str(tmp_path / "database"), tools)
    archive = open_archive(tmp_path / "database", tools)
    assert [entry.name for entry in archive.entries if entry.type == "INDEX"] == ["whole"]
