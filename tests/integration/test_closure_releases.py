"""Every table, foreign key and reference of every release is decided about: what a partial restore brings back rests on it.

The catalogs are those that Letta's own migrations leave, at the head of every release from 0.8.16 on (older ones are refused) and at
one revision that only databases between releases have.
"""
from __future__ import annotations

from contextlib import closing

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import closure, references, releases
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.relations import read_relations
from tests.lab import classified, old
from tests.lab.letta import migrate_by_steps
from tests.lab.seed import SAMPLE_KEY

NEWEST = "0.16.8"
OLDEST = releases.position(releases.head_of("0.8.16"))
BETWEEN = "3d2e9fb40a3c"  # the last revision that has agents_runs
HEADS = [item.revision for item in releases.all_revisions() if item.position >= OLDEST and releases.releases_of(item.revision)]
REVISIONS = sorted([*HEADS, BETWEEN], key=releases.position)


@pytest.fixture(scope="module")
def catalogs(pg, tmp_path_factory):
    """{revision: ({table: :class:`Table`}, [(table, columns, parent, parent's columns)])}, read on one database's way to the newest."""
    server = pg.create_letta_database("closure_releases", password="closure", schema="letta")
    found = {}
    try:
        for revision in migrate_by_steps(server, tmp_path_factory.mktemp("closure"), SAMPLE_KEY, REVISIONS):
            with closing(connect(server)) as conn, conn.cursor() as cursor:
                tables, foreign = read_relations(cursor, "letta")
            found[revision] = (tables, [(key.table, key.columns, key.parent, key.parent_columns) for key in foreign])
        return found
    finally:
        pg.drop_database(server.dbname)


@pytest.fixture(params=REVISIONS, ids=releases.describe)
def catalog(request, catalogs):
    """({table: :class:`Table`}, foreign keys) of one revision."""
    return catalogs[request.param]


def test_the_releases_of_the_lab_are_among_those_looked_at():
    assert {releases.head_of(release) for release in (*old.RELEASES, NEWEST)} <= set(HEADS)


def test_every_table_is_reached_by_a_rule_or_declared_outside(catalog):
    assert classified.undecided_tables(catalog[0]) == []


def test_every_foreign_key_is_followed_or_declared_left(catalog):
    tables, foreign = catalog
    assert classified.undecided_keys({name: table.columns for name, table in tables.items()}, foreign) == []


def test_every_column_that_may_name_rows_is_declared(catalog):
    tables, foreign = catalog
    assert classified.undecided_columns({name: table.types for name, table in tables.items()}, foreign) == []


def test_no_reference_declared_without_a_foreign_key_has_one(catalog):
    assert classified.misplaced_references(catalog[1]) == []


def test_declared_keys_are_those_of_the_catalog(catalog):
    tables, _foreign = catalog
    for name, table in tables.items():
        usual = ("version_num",) if name == "alembic_version" else ("created_at", "id") if name == "provider_trace_metadata" else ("id",)
        if name in closure.KEYS:
            assert any(columns == closure.KEYS[name] for columns, _nulls in table.unique), name
        else:
            assert table.key == closure.LINK_KEYS.get(name, usual), name


def test_nothing_is_declared_that_no_release_has(catalogs):
    columns, foreign, left = set(), set(), set()
    for tables, keys in catalogs.values():
        columns |= {(name, column) for name, table in tables.items() for column in table.columns}
        foreign |= {(table, column) for table, names, _parent, _there in keys for column in names}
        left |= classified.unfollowed_keys({name: table.columns for name, table in tables.items()}, keys)
    names, tables = {column for _table, column in columns}, {table for table, _column in columns}
    assert set(closure.OUTSIDE) <= tables
    assert set(closure.FOREIGN_KEYS_LEFT) <= left, "a rule follows them"
    assert {*references.SOFT, *references.INSIDE_JSON} <= columns
    assert {*references.SOFT.values(), *references.INSIDE_JSON.values()} <= tables
    assert {*references.NAMES_NOTHING, *references.HOLDS_NO_IDS} <= names
    for rule in closure.RULES:
        assert (rule.table, rule.column) in columns, rule
        table, name = closure.source_of(rule)
        assert table is None or (table, name.partition(":")[0]) in columns, rule
    for links in closure.USERS_OF.values():
        for link, thing, user, _users in links:
            assert {(link, thing), (link, user)} <= foreign
