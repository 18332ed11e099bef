"""Keys, indexes and foreign keys that we make ourselves are those that pg_restore makes, and one that cannot be made ends the load."""
from __future__ import annotations

from contextlib import closing

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import load, planner
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.archive import open_archive
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.building import Building
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.dump import dump_directory
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import find_tools, run_tool
from tests.lab.places import wait_for

pytestmark = pytest.mark.slow
# Whatever may stand in a definition; "big" is large enough for tasks of its own.
SCHEMA = """
create schema "o;dd s"; create extension btree_gist;
create table "o;dd s"."ta ""ble" (
    i int, "co;l" text not null, at tstzrange, constraint "p k" primary key (i), constraint u unique ("co;l") include (i)
);
alter table "o;dd s"."ta ""ble" add constraint apart exclude using gist (i with =, at with &&);
create table big (
    i int primary key, parent int references big, t text, "ref;""1" int references "o;dd s"."ta ""ble" on delete cascade, e text
);
insert into "o;dd s"."ta ""ble" select i, 't' || i, null from generate_series(1, 50) i;
insert into big select i, nullif(i / 2, 0), md5(i::text), i % 50 + 1, md5((i + 1)::text) from generate_series(1, 20000) i;
alter table big add constraint late foreign key (parent) references big (i) deferrable initially deferred;
alter table big add constraint unchecked foreign key (parent) references big (i) not valid;
alter table big add constraint "che)ck" check (i > 0);
create index on big (lower(t)); create unique index "un iq" on big (t, i) include (e) where i > 5; create index wide on big using hash (e);
create index placed on big (parent) with (fillfactor = 70); alter table big cluster on placed;
create index told on big ((i + 1), (i + 2)); alter index told alter column 2 set statistics 77;
create table by_index (t text not null); create unique index only_index on by_index (t);
alter table by_index replica identity using index only_index;
create table left_alone (t text) with (autovacuum_enabled = off, fillfactor = 60, toast.autovacuum_enabled = on);
insert into left_alone select md5(i::text) from generate_series(1, 2000) i;
create table refers (t text references by_index (t)); comment on index only_index is 'a; comment';
"""
CATALOG = (
    "select conrelid::regclass::text, conname, convalidated, condeferrable, condeferred, pg_get_constraintdef(oid) from pg_constraint"
    " where connamespace <> 'pg_catalog'::regnamespace and contype <> 'n' order by 1, 2",
    "select indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid, indisready, indisclustered, indisreplident, indisprimary"
    " from pg_index where indrelid >= 16384 and indrelid::regclass::text not like 'pg_toast%' order by 1",
    "select conrelid::regclass::text, count(*) from pg_trigger t join pg_constraint c on c.oid = t.tgconstraint group by 1 order by 1",
    "select attrelid::regclass::text, attnum, attstattarget from pg_attribute where attrelid >= 16384 and attstattarget >= 0 order by 1, 2",
    "select c.relname, c.reloptions, t.reloptions from pg_class c"
    " join pg_class t on t.oid = c.reltoastrelid where c.oid >= 16384 order by 1",
    "select objoid::regclass::text, description from pg_description where objoid >= 16384 and classoid = 'pg_class'::regclass order by 1",
)


@pytest.fixture(scope="module")
def tools(pg):
    return find_tools(str(pg.bin_dir))


@pytest.fixture
def dumped(make_database, tools, tmp_path):
    """Return a function that dumps a database made by these statements and returns the opened archive."""

    def dump(statements):
        source = make_database("source")
        query(source, statements)
        dump_directory(source, str(tmp_path / "dump"), tools)
        return open_archive(tmp_path / "dump", tools)

    return dump


def loaded(pg, make_database, archive, tools, jobs=2):
    target = make_database("target")
    query(target, "drop schema public cascade; create schema public; create schema \"o;dd s\"; create extension btree_gist")
    load.load_archive(pg.server(), target.dbname, archive, tools, pg.superuser, jobs)
    return target


def catalog(server):
    return [query(server, statement) for statement in CATALOG]


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_we_make_is_what_pg_restore_makes(pg, make_database, dumped, tools, monkeypatch, jobs):
    monkeypatch.setattr(load, "OWN", 1 << 10)
    archive = dumped(SCHEMA)
    plain = make_database("plain")
    query(plain, "drop schema public; create schema public")
    run_tool([tools.path("pg_restore"), "--exit-on-error", "-d", plain.dbname, archive.path], pg.server(dbname=plain.dbname))
    ours = loaded(pg, make_database, archive, tools, jobs)
    for found, expected in zip(catalog(ours), catalog(plain)):
        assert found == expected
        assert found
    assert len(catalog(ours)[0]) > 10


def test_everything_but_what_only_pg_restore_can_be_trusted_with_is_made_by_us(pg, dumped):
    archive = dumped(SCHEMA)
    building = Building(pg.server(), pg.superuser, archive, {}, {})
    late = [entry for entry in archive.entries if entry.section == "post-data" and entry.type != planner.KIND]
    left = {entry.name for entry in late if entry.id not in building.numbers}
    assert left == {"big unchecked", 'big big_ref;"1_fkey'}, "one must not be validated, one has a name like the end of a statement"


def test_partitions_are_left_to_pg_restore(pg, make_database, dumped, tools):
    archive = dumped(
        "create table p (i int primary key, r int) partition by range (i); create table p1 partition of p for values from (0) to (10);"
        "create index on p (r); insert into p values (1, 1); create table q (i int references p)"
    )
    assert not Building(pg.server(), pg.superuser, archive, {}, {}).numbers
    target = loaded(pg, make_database, archive, tools)
    assert query(target, "select count(*) from pg_index where indrelid in ('p'::regclass, 'p1'::regclass) and indisvalid") == [(4,)]


def test_a_row_without_the_one_it_refers_to_ends_the_load_and_is_named(pg, make_database, dumped, tools):
    archive = dumped(
        "create table parent (i int primary key); create table child (i int references parent);"
        "alter table child disable trigger all; insert into child values (7); alter table child enable trigger all"
    )
    with pytest.raises(RecoveryError, match="child_i_fkey") as failure:
        loaded(pg, make_database, archive, tools)
    assert failure.value.failure_class == "load_failed"


# Who builds an index with this is told what its session has, and what is set for the table.
TELLS = """
create function told(i int) returns int language plpgsql immutable as $$ begin
  if current_setting('application_name') = 'letta_ops load' then
    raise exception 'memory: %, limit: %, index only: %, table: %, toast: %', current_setting('maintenance_work_mem'),
      current_setting('temp_file_limit'), current_setting('enable_indexonlyscan'), (select reloptions from pg_class where relname = 't'),
      (select x.reloptions from pg_class c join pg_class x on x.oid = c.reltoastrelid where c.relname = 't');
  end if; return i; end $$;
create table t (i int, x text); insert into t values (1, repeat('x', 100));
"""


@pytest.fixture
def told(pg, make_database, dumped, tools, monkeypatch):
    """Return a function that loads :data:`TELLS` with an index of this kind and returns what was told."""
    monkeypatch.setattr(load, "OWN", 1)

    def tell(using="btree"):
        archive = dumped(TELLS + "create index on t using %s (told(i))" % using)
        with pytest.raises(RecoveryError, match="memory: ") as failure:
            loaded(pg, make_database, archive, tools)
        return str(failure.value)

    return tell


@pytest.mark.parametrize(("using", "limit", "memory"), [("btree", "-1", "4MB"), ("btree", "1GB", "256MB"), ("hash", "-1", "256MB")])
def test_a_sort_for_an_index_gets_what_the_cache_holds_unless_its_files_are_limited(pg, told, using, limit, memory):
    query(pg.server(), "alter role %s set temp_file_limit = '%s'" % (pg.superuser, limit))
    try:
        assert "memory: %s, limit: %s," % (memory, limit) in told(using)
    finally:
        query(pg.server(), "alter role %s reset temp_file_limit" % pg.superuser)


def test_helpers_of_an_index_build_get_the_memory_that_they_share(told, monkeypatch):
    monkeypatch.setattr(load.os, "cpu_count", lambda: 16)
    assert "memory: 256MB" in told()


def test_autovacuum_stays_away_and_no_page_is_taken_for_visible_to_all_while_a_table_is_loaded(told):
    assert "index only: off, table: {autovacuum_enabled=off}, toast: {autovacuum_enabled=off}" in told()


def test_one_that_fails_ends_those_that_run_at_once_and_leaves_no_session(pg, make_database, dumped, tools, monkeypatch):
    monkeypatch.setattr(load, "OWN", 1 << 10)
    archive = dumped("create table big (i int, t text); insert into big select i, repeat('x', 40) || i from generate_series(1, 300000) i")
    target = make_database("slow")
    building = Building(pg.server(dbname=target.dbname), pg.superuser, archive, {}, {})
    query(target, "create table big (i int)")
    sleeping = "select count(*) from pg_stat_activity where datname = current_database() and query = 'select pg_sleep(600)'"

    def fails(_stopped):
        assert wait_for(lambda: query(target, sleeping) == [(1,)], 20)
        raise RecoveryError("load_failed", "another one failed")

    slow = load.schedule.Task(1, building._sending(["select pg_sleep(600)"]), "slow")
    with closing(building), pytest.raises(RecoveryError, match="another one failed"):
        load.schedule.run([slow, load.schedule.Task(1, fails)], 2)
    with closing(connect(target)) as conn, conn.cursor() as cursor:
        cursor.execute(sleeping)
        assert cursor.fetchone() == (0,)
