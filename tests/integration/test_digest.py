"""A table's digest is the same from the server and from any archive of it, and notices every change."""

from __future__ import annotations

import datetime
from contextlib import closing
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import digest as digest_module
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import rowsums, schedule
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.archive import open_archive, read_rows
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.catalog import quote_ident
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.digest import digest_archive, digest_database
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.rowsums import FORMS, MD5
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import find_tools, run_tool
from tests.lab.places import wait_for

both_forms = pytest.mark.parametrize("form", FORMS)
FORMATS = ("directory", "custom", "tar")
EXTENSION = 'we.ird "one'
TORTURE = """
create schema {ext}; create extension vector with schema {ext};
create type mood as enum ('fine', 'not (so) fine', 'a "quoted", one');
create domain moment as timestamptz; create domain moments as moment[]; create domain word as text;
create table torture (
    t text, v varchar(100), c char(4), j json, jb jsonb, b bytea, ta text[], at timestamptz, ats timestamptz[], r tstzrange,
    "local" timestamp, d date, f8 float8, f4 float4, n numeric, flag boolean, m mood, ms mood[], w word, mo moment, mos moments,
    vec {ext}.vector(3), half {ext}.halfvec(3), sparse {ext}.sparsevec(5), i interval, u uuid,
    ia int[], vecs {ext}.vector(2)[], "Z upper, (paren) "" quote" text, doubled text generated always as (t || t) stored
);
alter database {name} set timezone = 'Asia/Kathmandu'; alter database {name} set bytea_output = 'escape';
"""
TYPES = ["text", "varchar", "char", "json", "jsonb", "bytea", "text[]", "timestamptz", "timestamptz[]", "tstzrange",
"timestamp", "date", "float8", "float4", "numeric", "boolean", "mood", "mood[]", "word", "moment", "moments", "vector",
"halfvec", "sparsevec", "interval", "uuid", "int[]", "vector[]", "text"]

text = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=12) | st.sampled_from(
    [
        "",
        "\\N",
        "\\.",
        "NULL",
        "\\",
        "\\\\n",
        "a\tb\nc\r\b\f\v",
        '"',
        "(,)",
        " ",
        "\u00a0\u0085",
        "\U0001f600",
        "\\x41",
        "x\\",
        "\\101",
        "{}",
    ]
)
moment = st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30)).map(
    lambda value: value.isoformat() + "+00"
) | st.sampled_from(
    [
        "infinity",
        "-infinity",
        "0044-03-15 12:00:00+00 BC",
        "0001-01-01 00:00:00+00",
        "0001-12-31 23:59:59+00 BC",
        "20000-02-29 23:59:59.1+00",
        "1890-01-01 00:00:00+00",
        "2024-02-29 23:59:59.123450+00",
        "4713-02-01 00:00:00+00 BC",
        "2000-02-29 20:00:00+00",
    ]
)
real = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from([-0.0, 0.0, 1e-45, 3.4028235e38, 1 / 3])
half = st.floats(width=16, allow_nan=False, allow_infinity=False)


def listed(values):
    return values.map(lambda items: "[%s]" % ",".join(repr(item) for item in items))


def array_of(values):
    quoted = values.map(lambda value: '"%s"' % value.replace("\\", "\\\\").replace('"', '\\"')) | st.just("NULL")
    return st.lists(quoted, max_size=3).map(lambda items: "{%s}" % ",".join(items))


VALUES = (
    text,
    text,
    st.sampled_from(["", "a", " b"]),
    st.sampled_from(['{"a" :  1, "a": "\\n\\u0041 \\"x\\""}', "null", "[1, 2]"]),
    st.sampled_from(['{"b": "\\\\ \\t", "a": 1.10}', '"x"']),
    st.binary(max_size=8).map(lambda value: "\\x" + value.hex()),
    array_of(text),
    moment,
    array_of(moment),
    st.tuples(moment, st.sampled_from(["[%s,)", "(,%s]", "empty"])).map(lambda pair: pair[1].replace("%s", '"%s"' % pair[0])),
    moment.map(lambda value: value.replace("+00", "")),
    st.sampled_from(["2020-01-01", "0044-03-15 BC", "infinity"]),
    st.floats().map(repr),
    (st.floats(width=32) | real).map(repr),
    st.decimals(allow_infinity=False).map(lambda v: str(v).replace("sNaN", "NaN").replace("-NaN", "NaN")),
    st.booleans().map(str),
    st.sampled_from(["fine", "not (so) fine", 'a "quoted", one']),
    array_of(st.sampled_from(["fine", 'a "quoted", one'])),
    text,
    moment,
    array_of(moment),
    listed(st.lists(real, min_size=3, max_size=3)) | st.just("[0,0,0]") | st.just("[1.10,0,-0]"),
    listed(st.lists(half, min_size=3, max_size=3)),
    st.sampled_from(["{}/5", "{1:1.5,5:-2}/5", "{2:0.1}/5"]),
    st.sampled_from(["1 year -2 days 03:04:05.6", "-00:00:01", "0"]),
    st.uuids().map(str),
    st.sampled_from(["{}", "{1,NULL,-3}"]),
    st.sampled_from(['{"[1,2]",NULL}']),
    text,
)
rows_of_torture = st.lists(st.tuples(*[st.none() | value for value in VALUES]), max_size=4)


def dump(server, tools, form, target):
    run_tool([tools.path("pg_dump"), "--format=" + form, "--file=%s" % target], server)
    return open_archive(target, tools)


@pytest.fixture(scope="module")
def tools(pg):
    return find_tools(str(pg.bin_dir))


@pytest.fixture
def torture(make_database):
    server = make_database("digest")
    query(server, TORTURE.format(name=quote_ident(server.dbname), ext=quote_ident(EXTENSION)))
    return server


@pytest.mark.fault(38, "text")
def test_the_digest_of_an_archive_equals_the_digest_of_its_database_for_any_rows(torture, tools, tmp_path_factory):
    casts = ["%s::%s" % ("%s", quote_ident(EXTENSION) + "." + kind if "vec" in kind else kind) for kind in TYPES]

    @settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
    @given(rows_of_torture)
    @example([tuple(None for unused in VALUES), tuple(None for unused in VALUES[1:]) + ("\b",)])
    def check(rows):
        with closing(connect(torture)) as conn, conn.cursor() as cursor:
            cursor.execute("truncate torture")
            for row in rows:
                cursor.execute("insert into torture values (%s)" % ", ".join(casts), row)
        expected = digest_database(torture)
        assert expected["public.torture"].rows == len(rows)
        folder = tmp_path_factory.mktemp("dump")
        for form in FORMATS:
            assert digest_archive(dump(torture, tools, form, folder / form), tools) == expected, form

    check()


def test_letta_has_equal_digests_in_every_archive_form_and_per_agent(make_database, tools, tmp_path):
    server = make_database("digest")
    query(server, "create extension vector; create table messages (id text primary key, agent_id text, embedding vector(8))")
    query(
        server,
        "insert into messages select 'm' || i, nullif('agent-' || i %% 7, 'agent-6'), array_fill(i * 0.1, array[8])::vector "
        "from generate_series(1, 5000) i",
        (),
    )
    groups = {"public.messages": "agent_id"}
    expected = digest_database(server, groups=groups)
    assert set(expected["public.messages"].groups) == {"", "agent-0", "agent-1", "agent-2", "agent-3", "agent-4", "agent-5"}
    assert sum(rows for rows, unused in expected["public.messages"].groups.values()) == 5000
    assert digest_database(server)["public.messages"].digest == expected["public.messages"].digest
    for form in FORMATS:
        archive = dump(server, tools, form, tmp_path / form)
        assert digest_archive(archive, tools, groups) == expected
        assert digest_archive(archive, tools, groups, jobs=2) == expected


@both_forms
def test_pieces_of_a_table_add_up_to_the_digest_of_the_whole(make_database, monkeypatch, form):
    server, taken = make_database("digest"), partial(digest_database, form=form)
    query(server, "create table big (i int, t text); insert into big select i, repeat('x', 500) || i from generate_series(1, 20000) i")
    whole = taken(server, jobs=1)
    monkeypatch.setattr(digest_module, "SMALLEST_PIECE", 1 << 20)
    assert taken(server, jobs=3) == whole
    assert taken(server, jobs=3, groups={"public.big": "i"})["public.big"].digest == whole["public.big"].digest


@both_forms
@pytest.mark.parametrize(
    "change",
    [
        # each column holds the values it held: a sum over columns alone would not see it
        "update t set b = 'b' || 11 - i where i in (5, 6)",
        "update t set a = a || ' ' where i = 7",
        "delete from t where i = 7",
        "insert into t select * from t where i = 7",
        "update t set a = null where i = 0",
        "update t set a = b, b = a where i = 7",
        "update t set f = -f where i = 0",
    ],
)
def test_every_change_of_a_row_changes_the_digest(make_database, change, form):
    server = make_database("digest")
    query(server, "create table t (i int, a text, b text, f float8); insert into t select i, '', 'b' || i, 0 from generate_series(0, 9) i")
    before = digest_database(server, form=form)["public.t"].digest
    query(server, change)
    after = digest_database(server, form=form)["public.t"].digest
    assert [before[-32:-16] != after[-32:-16], before[-16:] != after[-16:]] == [True, True]


@both_forms
def test_the_order_of_rows_and_columns_and_the_names_of_schemas_do_not_matter(make_database, form):
    server = make_database("digest")
    query(
        server,
        "create table t (b text, a int); insert into t values ('x', 1), ('y', 2); "
        "create schema s; create table s.t (a int, gone int, b text); alter table s.t drop column gone; "
        "insert into s.t values (2, 'y'), (1, 'x')",
    )
    result = digest_database(server, form=form)
    assert result["public.t"] == result["s.t"]
    assert result["public.t"].digest != form + ":" + 32 * "0"


@both_forms
def test_tables_without_columns_or_rows_and_with_very_many_columns_are_digested(make_database, tools, tmp_path, form):
    server = make_database("digest")
    query(server, "create table none (); insert into none default values; insert into none default values; create table empty (i int)")
    query(server, "create table wide (%s); insert into wide default values" % ", ".join("c%d int default %d" % (i, i) for i in range(1500)))
    result = digest_database(server, form=form)
    assert result["public.none"].rows == 2
    assert result["public.empty"].digest == form + ":" + 32 * "0"
    assert len({table.digest for table in result.values()}) == 3
    if form == MD5:
        assert digest_archive(dump(server, tools, "custom", tmp_path / "a"), tools) == result


def test_an_exported_snapshot_is_digested_as_it_was(make_database):
    server = make_database("digest")
    query(server, "create table t (i int); insert into t values (1)")
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute("begin isolation level repeatable read read only")
        cursor.execute("select pg_export_snapshot()")
        snapshot = cursor.fetchone()[0]
        query(server, "insert into t values (2)")
        assert digest_database(server, snapshot=snapshot, jobs=2)["public.t"].rows == 1
    assert digest_database(server, jobs=2)["public.t"].rows == 2


@pytest.mark.fault(37, "owner")
def test_a_table_the_role_may_not_read_is_named(pg, make_database):
    server = make_database("digest")
    pg.ensure_role("digest_reader", "reader")
    query(server, "create table secret (i int)")
    with pytest.raises(RecoveryError, match="permission denied for table secret") as failure:
        digest_database(pg.server("digest_reader", "reader", server.dbname))
    assert failure.value.failure_class == "preflight"


def test_a_database_in_another_encoding_has_the_digest_of_its_text(pg, make_database, tools, tmp_path):
    server = make_database("digest")
    latin = server.database(server.dbname + "_latin")
    query(server, "create database \"%s\" template template0 encoding LATIN1 lc_collate 'C' lc_ctype 'C'" % latin.dbname)
    for where in (server, latin):
        query(where, "create table t (a text); insert into t values ('na\u00efve \u00a0 caf\u00e9')")
    expected = digest_database(server)
    assert digest_database(latin) == expected
    archive = dump(latin, tools, "custom", tmp_path / "a")
    assert digest_archive(archive, tools) == expected
    assert list(read_rows(archive, tools, "public.t")[1]) == [("na\u00efve \u00a0 caf\u00e9",)]


def test_the_quick_form_is_taken_where_every_other_server_would_compute_the_same(pg, make_database, monkeypatch):
    server = make_database("digest")
    latin = server.database(server.dbname + "_latin")
    query(server, "create database \"%s\" template template0 encoding LATIN1 lc_collate 'C' lc_ctype 'C'" % latin.dbname)
    for where in (server, latin):
        query(where, "create table t (a text); insert into t values ('caf\u00e9')")
    assert digest_database(server, form=None)["public.t"].digest.startswith("rowsum:")
    assert digest_database(latin, form=None)["public.t"].digest == digest_database(server)["public.t"].digest
    monkeypatch.setattr(rowsums, "PROBE_ANSWER", 7)  # as if this machine had the other byte order
    assert digest_database(server, form=None)["public.t"].digest.startswith("md5sum:")
    with pytest.raises(RecoveryError, match="another byte order") as refusal:
        digest_database(server, form="hashsum")
    assert refusal.value.failure_class == "preflight"


@pytest.mark.parametrize("tables", [{"t": {"digest": "blake3:00"}}, {"t": {"digest": "md5sum:0"}, "u": {"digest": "hashsum:0"}}])
def test_digests_of_an_unknown_form_are_refused_by_name(tables):
    with pytest.raises(RecoveryError, match="does not know, or not together") as refusal:
        rowsums.form_of(tables)
    assert refusal.value.failure_class == "preflight"


@both_forms
def test_digests_taken_while_indexes_are_made_are_those_taken_after(make_database, form):
    server = make_database("digest")
    query(server, "create table t (i int, t text); create table u (i int)")
    query(server, "insert into t select i, 'x' || i from generate_series(1, 20000) i")
    work = digest_module.Digesting(server, 2, form)
    key = schedule.Task(1, lambda _stopped: query(server, "alter table t add primary key (i)"), "key")
    index = schedule.Task(1, lambda _stopped: query(server, "create index on t (t)"), "index", ("key",))
    schedule.run([key, index, *work.tasks(("key",))], 3)
    assert work.result() == digest_database(server, form=form)


def test_digests_that_are_not_wanted_any_more_end_at_once_and_hold_nothing(make_database):
    server = make_database("digest")
    query(server, "create table t (i int); insert into t select generate_series(1, 2000000)")  # seconds of work
    work = digest_module.Digesting(server, 1)

    def fails(_stopped):
        assert wait_for(lambda: query(server, sessions + " and state = 'active'") == [(1,)], 20), "the digest never began"
        raise ValueError("no index")

    sessions = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'letta_ops digest'"
    with pytest.raises(ValueError, match="no index"):
        schedule.run([schedule.Task(1, fails), *work.tasks()], 2)
    assert query(server, sessions) == [(0,)]
    with pytest.raises(RecoveryError, match="canceling statement"):
        work.result()


def test_what_keeps_a_digest_in_the_background_from_its_rows_is_told_when_it_is_asked_for(pg, make_database):
    server = make_database("digest")
    pg.ensure_role("digest_reader", "reader")
    query(server, "create table secret (i int)")
    work = digest_module.Digesting(pg.server("digest_reader", "reader", server.dbname))
    schedule.run(work.tasks(), 1)
    with pytest.raises(RecoveryError, match="permission denied for table secret"):
        work.result()
