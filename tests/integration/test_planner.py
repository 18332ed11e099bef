"""The planner knows a restored database as it knew the one that was saved: its statistics come back, or are gathered anew."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.screening import refused
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import load, planner
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.archive import open_archive
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.dump import dump_directory
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import find_tools

pytestmark = pytest.mark.slow
ROWS = {"public.large": 20000, "public.small": 50}
# Words that a statement might end at, for whoever does not know where a text ends.
SOURCE = """
create table large (i int primary key, t text, word text); create table small (i int primary key);
insert into large select i, md5(i::text), (array['a;b', 'it''s', 'back\\slash', '); drop table large; --'])[i % 4 + 1]
from generate_series(1, 20000) i; insert into small select generate_series(1, 50);
create index lowered on large (lower(word));
"""
KNOWN = (
    "select tablename, attname, null_frac, avg_width, n_distinct, most_common_vals::text, histogram_bounds::text, correlation from pg_stats"
    " where tablename in ('large', 'lowered', 'small') order by 1, 2"
)
GATHERED = "select relname::text from pg_stat_user_tables where last_analyze is not null order by 1"


@pytest.fixture(scope="module")
def tools(pg):
    found = find_tools(str(pg.bin_dir))
    if found.version[0] < planner.SINCE:
        pytest.skip("pg_dump of PostgreSQL %d saves no statistics" % found.version[0])
    return found


@pytest.fixture
def saved(make_database, tools, tmp_path):
    """Function: what is done to the source before it is saved, as (source, archive)."""

    def save(*statements):
        source = make_database("source")
        for statement in (SOURCE, *statements):
            query(source, statement)
        dump_directory(source, str(tmp_path / "dump"), tools)
        return source, open_archive(tmp_path / "dump", tools)

    return save


def loaded(pg, make_database, archive, tools, rows):
    target = make_database("target")
    load.load_archive(pg.server(), target.dbname, archive, tools, pg.superuser, 2, rows=rows)
    return target


def test_statistics_of_a_large_table_come_back_as_they_were_and_those_of_a_small_one_are_gathered(pg, make_database, saved, tools):
    source, archive = saved("analyze")
    target = loaded(pg, make_database, archive, tools, ROWS)
    known = query(target, KNOWN)
    assert known == query(source, KNOWN)
    assert {row[0] for row in known} == {"large", "lowered", "small"}
    assert query(target, GATHERED) == [("small",)]


@pytest.mark.parametrize("change", ["insert into large select i from generate_series(20001, 23000) i", "delete from large where i > 17000"])
def test_statistics_that_are_behind_the_rows_are_gathered_anew(pg, make_database, saved, tools, change):
    source, archive = saved("alter table large set (autovacuum_enabled = off)", "analyze", change)
    ((rows,),) = query(source, "select count(*) from large")
    target = loaded(pg, make_database, archive, tools, dict(ROWS, **{"public.large": rows}))
    assert query(target, GATHERED) == [("large",), ("small",)]


def test_what_was_never_analysed_is_gathered(pg, make_database, saved, tools):
    _source, archive = saved("alter table large set (autovacuum_enabled = off)")
    assert query(loaded(pg, make_database, archive, tools, ROWS), GATHERED) == [("large",), ("small",)]


def test_an_older_server_is_given_no_statistics_and_without_the_rows_of_a_manifest_none_is_trusted(saved):
    _source, archive = saved("analyze")
    assert planner.carried(archive, ROWS, planner.SINCE - 1) == ({}, [])
    assert planner.carried(archive, {}, planner.SINCE) == ({}, [])
    kinds = {entry.id: entry.type for entry in archive.entries}
    assert planner.KIND in kinds.values()
    assert planner.KIND not in [kinds[number] for number in load.entries_to_load(archive)]


@pytest.mark.parametrize("longest", [planner.LONGEST, 10], ids=["short", "long"])
def test_statistics_with_texts_like_statements_pass_the_screening_and_those_that_do_more_are_refused(saved, monkeypatch, longest):
    monkeypatch.setattr(planner, "LONGEST", longest)
    _source, archive = saved("analyze")
    assert refused(archive) == []
    (entry,) = [entry for entry in archive.entries if (entry.type, entry.name) == (planner.KIND, "large")]
    for more in ("'i'::integer) WHERE true;", "lower('i'));", "(SELECT 'i'));", "'i') UNION SELECT 'i';"):
        text = "SELECT * FROM pg_catalog.pg_restore_relation_stats('relname', " + more
        object.__setattr__(entry, "definition", text)
        assert [kind for kind, _name in refused(archive)] == [planner.KIND], text


def test_statistics_too_long_to_be_worth_it_are_not_loaded(saved, monkeypatch):
    _source, archive = saved("analyze")
    monkeypatch.setattr(planner, "LONGEST", 100)
    assert planner.carried(archive, ROWS, planner.SINCE) == ({}, [])
