"""A side database carries what a plain dump leaves out, and nothing else is touched."""
from __future__ import annotations

import secrets

import pytest
from psycopg2 import sql

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import catalog, sidedb
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query

OWNER = "side owner"


@pytest.fixture
def names(pg):
    """Factory of database names, dropped after the test."""
    made = []

    def make(stem="sd"):
        made.append("%s_%s" % (stem, secrets.token_hex(4)))
        return made[-1]

    pg.ensure_role(OWNER, "x")
    yield make
    for name in made:
        pg.drop_database(name)


@pytest.fixture
def carried(pg, names):
    """Facts of a database made as told, and those of a side database made from them."""

    def carry(*statements, schema="letta", **changes):
        source, side = names("src"), names('we"ird {{ x }} $(touch y)')
        pg.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(sql.Identifier(source), sql.Identifier(OWNER)))
        for statement in statements:
            pg.execute(sql.SQL(statement).format(db=sql.Identifier(source), owner=sql.Identifier(OWNER)), source)
        made = pg.server(dbname=source)
        facts = dict(catalog.database_facts(made), schema=schema, schemas=catalog.user_schemas(made))
        oid, warnings = sidedb.create_side_database(pg.server(), side, OWNER, dict(facts, **changes))
        found = catalog.database_facts(pg.server(dbname=side))
        assert pg.execute("SELECT oid FROM pg_database WHERE datname = %s", params=(side,)) == [(oid,)]
        found["schemas"] = catalog.user_schemas(pg.server(dbname=side))
        return facts, found, warnings

    return carry


def same(facts, found, *keys):
    assert {key: found[key] for key in keys} == {key: facts[key] for key in keys}


def test_settings_of_every_kind_come_along(pg, carried):
    facts, found, warnings = carried(
        "CREATE SCHEMA letta",
        "ALTER DATABASE {db} SET search_path TO \"$user\", letta, \"od\"\"d, name\"",
        "ALTER DATABASE {db} SET work_mem TO '7MB'",
        "ALTER DATABASE {db} SET datestyle TO 'ISO, DMY'",
        "ALTER DATABASE {db} SET timezone TO 'Europe/Berlin'",
        "ALTER DATABASE {db} SET our.flag TO 'it''s {{{{ }}}} on'",
        "ALTER DATABASE {db} SET session_preload_libraries TO 'auto_explain', 'pg_stat_statements'",
        "ALTER ROLE {owner} IN DATABASE {db} SET statement_timeout TO '90s'",
    )
    assert warnings == []
    assert len(facts["settings"]) == 7
    key = lambda item: (item["role"] or "", item["name"])  # noqa: E731
    assert sorted(found["settings"], key=key) == sorted(facts["settings"], key=key)


def test_an_empty_search_path_comes_along(carried):
    facts, found, _warnings = carried("CREATE SCHEMA letta", "ALTER DATABASE {db} SET search_path TO ''")
    same(facts, found, "settings")


def test_a_setting_of_a_role_that_is_not_here_is_left_out_with_a_warning(carried):
    lost = [{"role": "gone", "name": "work_mem", "value": "1MB"}]
    _facts, found, warnings = carried("CREATE SCHEMA letta", settings=lost)
    assert found["settings"] == []
    assert warnings == ["setting work_mem for role gone is left out: no such role here"]


def test_default_privileges_stay_the_default(carried):
    facts, found, warnings = carried("CREATE SCHEMA letta")
    assert facts["acl"] == []
    assert (found["acl"], warnings) == ([], [])


def test_privileges_on_the_database_come_along(pg, carried):
    pg.ensure_role('re"ader', "x")
    facts, found, _warnings = carried(
        "CREATE SCHEMA letta", "REVOKE ALL ON DATABASE {db} FROM PUBLIC", 'GRANT CONNECT ON DATABASE {db} TO "re""ader" WITH GRANT OPTION'
    )
    assert sorted(found["acl"]) == sorted(facts["acl"])
    assert any("c*" in item for item in found["acl"])


def test_privileges_of_a_role_that_is_not_here_are_left_out_with_a_warning(carried):
    _facts, found, warnings = carried("CREATE SCHEMA letta", acl=["=c/postgres", "gone=C/postgres"])
    assert not any("gone" in item for item in found["acl"])
    assert warnings == ["database privileges of role gone are left out: no such role here"]


def test_comment_and_connection_limit_come_along(carried):
    facts, found, _warnings = carried(
        "CREATE SCHEMA letta", "COMMENT ON DATABASE {db} IS 'it''s; $(ours) {{{{ }}}}'", "ALTER DATABASE {db} CONNECTION LIMIT 42"
    )
    same(facts, found, "comment", "connection_limit", "encoding", "collate", "ctype", "locale_provider", "locale", "owner")
    assert (found["comment"], found["connection_limit"]) == ("it's; $(ours) {{ }}", 42)


@pytest.mark.parametrize(
    "locale",
    [{"locale_provider": "builtin", "locale": "C.UTF-8"}, {"locale_provider": "icu", "locale": "de-DE"}, {"locale_provider": "libc"}],
)
def test_each_provider_of_locales_comes_along(pg, carried, locale):
    if locale["locale_provider"] == "icu" and not pg.execute("SELECT 1 FROM pg_collation WHERE collname = 'de-x-icu'"):
        pytest.skip("this build of PostgreSQL has no ICU")
    wanted = dict({"locale": None}, **locale)
    _facts, found, warnings = carried("CREATE SCHEMA letta", **wanted)
    assert warnings == []
    assert {key: found[key] for key in wanted} == wanted


@pytest.mark.fault(37, "locale")
def test_a_locale_that_is_not_here_falls_back_to_the_servers_own_with_a_warning(carried):
    _facts, found, warnings = carried("CREATE SCHEMA letta", collate="xx_YY.UTF-8", ctype="xx_YY.UTF-8")
    assert found["collate"] == "C.UTF-8"
    assert len(warnings) == 1
    assert "xx_YY.UTF-8" in warnings[0]


def test_without_any_fact_the_servers_defaults_are_used(pg, names):
    name = names()
    _oid, warnings = sidedb.create_side_database(pg.server(), name, OWNER, {})
    assert warnings == []
    assert catalog.user_schemas(pg.server(dbname=name)) == ["public"]


def test_the_schema_belongs_to_the_owner_and_public_is_gone_where_the_backup_has_none(carried):
    _facts, found, _warnings = carried("CREATE SCHEMA letta", "CREATE EXTENSION vector SCHEMA letta", "DROP SCHEMA public")
    assert found["schemas"] == ["letta"]
    assert [item["schema"] for item in found["extensions"] if item["name"] == "vector"] == ["letta"]


@pytest.mark.fault(14, "schema")
def test_an_extension_in_public_stays_in_public(carried):
    facts, found, _warnings = carried("CREATE SCHEMA letta", "CREATE EXTENSION vector SCHEMA public")
    same(facts, found, "schemas", "extensions")


def test_an_extension_in_public_is_no_obstacle_when_the_schemas_are_not_known(carried):
    _facts, found, _warnings = carried("CREATE SCHEMA letta", "CREATE EXTENSION vector SCHEMA public", schemas=None)
    assert [item["schema"] for item in found["extensions"] if item["name"] == "vector"] == ["public"]


def test_a_name_that_is_taken_is_refused_and_the_database_of_that_name_untouched(pg, names):
    name = names()
    pg.execute('CREATE DATABASE "%s"' % name)
    before = pg.execute("SELECT oid FROM pg_database WHERE datname = %s", params=(name,))
    with pytest.raises(RecoveryError) as caught:
        sidedb.create_side_database(pg.server(), name, OWNER, {})
    assert caught.value.failure_class == "load_failed"
    assert pg.execute("SELECT oid FROM pg_database WHERE datname = %s", params=(name,)) == before


def test_a_side_database_that_cannot_be_prepared_is_not_left_behind(pg, names):
    name = names()
    with pytest.raises(RecoveryError) as caught:
        sidedb.create_side_database(pg.server(), name, OWNER, {"settings": [{"role": None, "name": "work_mem", "value": "much"}]})
    assert caught.value.failure_class == "load_failed"
    assert "work_mem" in caught.value.message
    assert pg.execute("SELECT 1 FROM pg_database WHERE datname = %s", params=(name,)) == []


def test_a_database_that_took_over_the_name_is_never_dropped(pg, names):
    name = names()
    pg.execute('CREATE DATABASE "%s"' % name)
    oid = pg.execute("SELECT oid::bigint FROM pg_database WHERE datname = %s", params=(name,))[0][0]
    assert sidedb.drop_database(pg.server(), name, oid + 1) is False
    assert sidedb.drop_database(pg.server(), name + "x") is False
    query(pg.server(dbname=name), "SELECT 1")
    assert sidedb.drop_database(pg.server(), name, oid) is True


@pytest.mark.fault(37, "locale")
def test_a_locale_of_a_provider_that_this_build_lacks_falls_back_with_a_warning(pg, carried):
    if pg.execute("SELECT 1 FROM pg_collation WHERE collname = 'de-x-icu'"):
        pytest.skip("this build of PostgreSQL has ICU")
    _facts, found, warnings = carried("CREATE SCHEMA letta", locale_provider="icu", locale="de-DE")
    assert found["locale_provider"] == "libc"
    assert "locale de-DE of the backup" in warnings[0]
