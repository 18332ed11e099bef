"""Archives are recognised, understood exactly, refused with a reason, and found out when damaged."""

from __future__ import annotations

import os
import pathlib
import shutil

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.screening import refused_entries
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.archive import (
    check_readable,
    open_archive,
    read_rows,
    table_columns,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import Tools, find_tools, run_tool

FORMATS = ("directory", "custom", "tar")
NASTY = """
create extension vector; create schema "we ird"; create type color as enum ('red', 'green');
create table "we ird"."new
line; 5; 1 TABLE x; \\! touch /nowhere" (id serial primary key, "col
umn, (x)" text default 'a, ) "', "constraint" numeric(10,2) not null default 1, v vector(3), g int generated always as (1) stored,
    "UP" timestamp(3) with time zone default now(), c color, check (id > 0));
insert into "we ird"."new
line; 5; 1 TABLE x; \\! touch /nowhere" ("col
umn, (x)", v) values ('a	b', '[1,2,3]'), (null, null);
create table parent (a int); create table child (b bytea) inherits (parent); comment on table child is 'two
lines';
create table many (i int, t text); insert into many select i, md5(i::text) || md5((-i)::text) from generate_series(1, 20000) i;
"""
TABLE = "we ird.new\nline; 5; 1 TABLE x; \\! touch /nowhere"


@pytest.fixture(scope="module")
def tools():
    return find_tools(min_major=18)


@pytest.fixture(scope="module")
def nasty(pg):
    name = "archive_nasty"
    pg.execute('create database "%s" template template0' % name)
    server = pg.server(dbname=name)
    query(server, NASTY)
    yield server
    pg.drop_database(name)


@pytest.fixture(scope="module")
def dumps(nasty, tools, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dumps")
    for form in FORMATS + ("plain",):
        run_tool([tools.path("pg_dump"), "--format=" + form, "--file=%s" % (folder / form)], nasty)
    return folder


@pytest.mark.parametrize("form", FORMATS)
def test_each_form_is_recognised_and_nasty_names_are_read_exactly(nasty, dumps, tools, form):
    archive = open_archive(dumps / form, tools)
    assert (archive.format, archive.dbname) == (form, "archive_nasty")
    assert archive.compression == ("none" if form == "tar" else "gzip")
    assert archive.dump_version.startswith("18.") and query(nasty, "show server_version") == [(archive.server_version,)]
    assert archive.tables() == sorted(["public.child", "public.many", "public.parent", TABLE])
    assert archive.schemas() == ["public", "we ird"]
    assert archive.extensions() == {"vector": "public"}
    assert refused_entries(archive) == []
    assert table_columns(archive)[TABLE] == {
        "id": "integer",
        "col\numn, (x)": "text",
        "constraint": "numeric(10,2)",
        "v": "public.vector(3)",
        "UP": "timestamp(3) with time zone",
        "c": "public.color",
    }
    assert table_columns(archive)["public.child"] == {"a": "integer", "b": "bytea"}


@pytest.mark.parametrize("form", FORMATS)
def test_rows_stream_out_of_each_form_with_nulls_and_escapes_undone(dumps, tools, form):
    archive = open_archive(dumps / form, tools)
    columns, rows = read_rows(archive, tools, TABLE)
    rows = list(rows)
    assert columns == ["id", "col\numn, (x)", "constraint", "v", "UP", "c"]
    assert [row[:4] for row in rows] == [("1", "a\tb", "1.00", "[1,2,3]"), ("2", None, "1.00", None)]
    columns, rows = read_rows(archive, tools, "public.many")
    assert next(rows)[0] == "1"
    rows.close()
    assert check_readable(archive, tools)["public.many"] == 20000
    with pytest.raises(RecoveryError, match="holds no rows of a table public.nothing"):
        read_rows(archive, tools, "public.nothing")


def flip(path, where=0.5):
    with open(path, "r+b") as stream:
        stream.seek(int(os.path.getsize(path) * where))
        byte = stream.read(1)[0]
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes((byte ^ 1,)))


def largest_member(folder):
    return max((entry.path for entry in os.scandir(folder) if entry.name != "toc.dat"), key=os.path.getsize)


@pytest.mark.fault(2, "cut", "rebuilt")
@pytest.mark.parametrize("form", ["directory", "custom"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "last byte gone", "missing member"])
def test_every_damage_of_a_compressed_archive_is_found(dumps, tools, tmp_path, form, damage):
    copy = tmp_path / form
    (shutil.copytree if form == "directory" else shutil.copy)(dumps / form, copy)
    victim = largest_member(copy) if form == "directory" else copy
    if damage == "flipped":
        flip(victim)
    elif damage == "missing member":
        os.unlink(os.path.join(copy, "toc.dat") if form == "directory" else copy)
    else:
        os.truncate(victim, os.path.getsize(victim) // 2 if damage == "truncated" else os.path.getsize(victim) - 1)
    with pytest.raises(RecoveryError) as failure:
        check_readable(open_archive(copy, tools), tools)
    assert failure.value.failure_class == ("usage" if (form, damage) == ("custom", "missing member") else "backup_corrupt")
    assert str(copy) in failure.value.message


def test_a_missing_data_member_is_found(dumps, tools, tmp_path):
    copy = tmp_path / "directory"
    shutil.copytree(dumps / "directory", copy)
    victim = largest_member(copy)
    os.unlink(victim)
    archive = open_archive(copy, tools)
    with pytest.raises(RecoveryError, match=os.path.basename(victim).split(".")[0]) as failure:
        check_readable(archive, tools)
    assert failure.value.failure_class == "backup_corrupt"


@pytest.mark.fault(2, "cut")
@pytest.mark.parametrize("size", [0.1, 0.5, 0.9])
def test_a_truncated_tar_is_found(dumps, tools, tmp_path, size):
    copy = tmp_path / "tar"
    shutil.copy(dumps / "tar", copy)
    os.truncate(copy, int(os.path.getsize(copy) * size))
    with pytest.raises(RecoveryError) as failure:
        check_readable(open_archive(copy, tools), tools)
    assert failure.value.failure_class == "backup_corrupt"


@pytest.mark.fault(2, "rebuilt")
def test_a_truncated_member_without_compression_is_found(nasty, tools, tmp_path):
    run_tool([tools.path("pg_dump"), "--format=directory", "--compress=none", "--file=%s" % (tmp_path / "d")], nasty)
    victim = largest_member(tmp_path / "d")
    os.truncate(victim, os.path.getsize(victim) // 2)
    with pytest.raises(RecoveryError) as failure:
        check_readable(open_archive(tmp_path / "d", tools), tools)
    assert failure.value.failure_class == "backup_corrupt"


def test_a_row_with_a_column_too_many_is_found(nasty, tools, tmp_path):
    run_tool([tools.path("pg_dump"), "--format=directory", "--compress=none", "--file=%s" % (tmp_path / "d")], nasty)
    victim = largest_member(tmp_path / "d")
    data = pathlib.Path(victim).read_bytes()
    pathlib.Path(victim).write_bytes(data[:5000] + b"\t" + data[5001:])
    with pytest.raises(RecoveryError, match=r"public\.many has another number of columns"):
        check_readable(open_archive(tmp_path / "d", tools), tools)


@pytest.mark.fault(2, "rebuilt")
def test_a_table_of_contents_cut_anywhere_is_found(dumps, tools, tmp_path):
    data = (dumps / "directory" / "toc.dat").read_bytes()
    os.mkdir(tmp_path / "d")
    for size in (5, 11, 60, len(data) // 2, len(data) - 1):
        (tmp_path / "d" / "toc.dat").write_bytes(data[:size])
        with pytest.raises(RecoveryError) as failure:
            open_archive(tmp_path / "d", tools)
        assert failure.value.failure_class == "backup_corrupt", size


def test_plain_sql_is_refused_and_the_trust_flag_named(dumps, tools):
    with pytest.raises(RecoveryError) as failure:
        open_archive(dumps / "plain", tools)
    assert failure.value.failure_class == "usage"
    assert "letta_adopt_trust_sql" in failure.value.next_step
    assert failure.value.details == {"format": "plain"}


def test_what_is_no_dump_at_all_is_told_apart(tools, tmp_path):
    cases = {b"\x1f\x8bxxxx": "usage", b"\0\1\2\3": "backup_corrupt", b"": "backup_corrupt"}
    for data, expected in cases.items():
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(RecoveryError) as failure:
            open_archive(tmp_path / "x", tools)
        assert failure.value.failure_class == expected
    with pytest.raises(RecoveryError, match="cannot read") as failure:
        open_archive(tmp_path / "absent", tools)
    assert failure.value.failure_class == "usage"


@pytest.mark.fault(13, "tools")
def test_an_older_pg_restore_or_one_without_the_compression_is_found_before_anything_is_read(dumps, tools, tmp_path):
    old = Tools(tools.bin_dir, (15, 1), ("gzip",))
    with pytest.raises(RecoveryError, match=r"needs pg_restore 17\+") as failure:
        open_archive(dumps / "custom", old)
    assert failure.value.failure_class == "preflight"
    data = bytearray((dumps / "custom").read_bytes())
    data[11] = 3  # the header's compression: zstd
    (tmp_path / "zstd").write_bytes(data)
    with pytest.raises(RecoveryError, match=r"needs pg_restore 17\+ with zstd") as failure:
        open_archive(tmp_path / "zstd", Tools(tools.bin_dir, (18, 6), ("gzip",)))
    assert failure.value.failure_class == "preflight"


@pytest.mark.fault(11, "event-trigger", "function", "server")
def test_everything_that_carries_code_or_reaches_out_is_refused_by_name(make_database, tools, tmp_path):
    server = make_database("archive")
    if not query(server, "select 1 from pg_available_extensions where name = 'hstore'"):
        pytest.skip("this build of PostgreSQL comes without hstore")
    query(
        server,
        """
        create function evil() returns event_trigger language plpgsql security definer as 'begin end';
        create event trigger boom on ddl_command_end execute function evil();
        create table t (i int); create view v as select * from t; create materialized view mv as select * from t;
        create rule r as on delete to t do also select 1; create policy p on t; create type pair as (a int, b int);
        create type allowed as enum ('x'); create foreign data wrapper w; create server far foreign data wrapper w;
        create foreign table ft (i int) server far; create extension "hstore"; create publication pub; create domain d as int;
        create procedure proc() language sql as 'select 1'; create aggregate agg (int) (sfunc = int4pl, stype = int);
        create function trig() returns trigger language plpgsql as 'begin return new; end';
        create trigger tr before insert on t for each row execute function trig(); select lo_create(0);
    """,
    )
    run_tool([tools.path("pg_dump"), "--format=custom", "--file=%s" % (tmp_path / "a")], server)
    refused = {kind for kind, unused in refused_entries(open_archive(tmp_path / "a", tools))}
    assert refused >= {
        "FUNCTION",
        "EVENT TRIGGER",
        "VIEW",
        "MATERIALIZED VIEW",
        "RULE",
        "POLICY",
        "TYPE",
        "FOREIGN DATA WRAPPER",
        "SERVER",
        "FOREIGN TABLE",
        "EXTENSION",
        "PUBLICATION",
        "DOMAIN",
        "PROCEDURE",
        "AGGREGATE",
        "TRIGGER",
        "BLOBS",
    }
    names = {name: kind for kind, name in refused_entries(open_archive(tmp_path / "a", tools))}
    assert names["boom"] == "EVENT TRIGGER"
    assert "public.allowed" not in names and "public.t" not in names


def test_a_dump_of_insert_statements_is_refused(nasty, tools, tmp_path):
    run_tool([tools.path("pg_dump"), "--format=custom", "--inserts", "--file=%s" % (tmp_path / "a")], nasty)
    with pytest.raises(RecoveryError, match="INSERT statements"):
        check_readable(open_archive(tmp_path / "a", tools), tools)
