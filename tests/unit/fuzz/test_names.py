"""Names of every kind of entity are data: what goes in comes out, whatever is written in it, and what no name can hold is refused."""
from __future__ import annotations

import io
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import closure
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial import rows as partial_rows
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial import selection
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import catalog, copytext, ddl, sidedb, toc
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server, check_name, connect
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.target import inspect_target
from tests.fuzz import archives as made
from tests.fuzz.documents import HALVES, NAMES, WITH_NUL
from tests.fuzz.settings import Rows

QUICK = settings(derandomize=True, database=None, deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
LETTERS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1, max_size=40)
ANY = st.one_of(st.sampled_from([name for name in NAMES if name]), LETTERS)
KINDS = ("agents", "sources", "files", "blocks", "archives")
SHORT = [name for name in NAMES if 0 < len(name.encode()) <= 63]


@pytest.mark.fault(12, "agent")
@pytest.mark.parametrize("kind", KINDS)
def test_a_thing_is_chosen_by_its_very_name_and_nothing_else_with_it(kind):
    for name in filter(None, NAMES):
        found = selection.resolve_in(Rows(NAMES), selection.Selection(**{kind: (name,)}))
        ids = found.roots[closure.AGENTS if kind == "agents" else selection.ROOT_OF[kind]]
        assert [found.names[identity] for identity in ids] == [name]


@pytest.mark.fault(12, "agent")
def test_a_tag_chooses_the_agents_that_have_it():
    for tag in filter(None, NAMES):
        found = selection.resolve_in(Rows(NAMES), selection.Selection(tags=(tag,)))
        assert [found.names[identity] for identity in found.roots[closure.AGENTS]] == [tag]


@QUICK
@given(st.one_of(st.sampled_from(WITH_NUL), LETTERS.map(lambda text: "\0" + text)))
def test_a_name_with_a_nul_byte_is_the_name_of_nothing(name):
    for kind in KINDS:
        with pytest.raises(RecoveryError, match="the backup has no") as caught:
            selection.resolve_in(Rows(["a", "b"]), selection.Selection(**{kind: (name,)}))
        assert caught.value.failure_class == "usage"


@QUICK
@given(ANY)
def test_a_name_goes_through_copy_text_and_back(name):
    escaped = partial_rows.escape(name)
    assert b"\n" not in escaped
    assert b"\t" not in escaped
    assert copytext.unescape(escaped).decode("utf-8") == name
    assert list(copytext.decode_rows(escaped + b"\tx\n", 2)) == [(name, "x")]


@QUICK
@given(ANY, ANY, ANY)
def test_names_of_schema_table_and_column_go_through_an_archive_and_back(schema, table, column):
    quoted = catalog.quote_table(schema, table)
    define = "CREATE TABLE %s (\n    %s text\n);\n" % (quoted, catalog.quote_ident(column))
    copy = "COPY %s (%s, id) FROM stdin;\n" % (quoted, catalog.quote_ident(column))
    data = made.small_archive([{"schema": schema, "name": table, "definition": define, "copy": copy, "owner": table}])
    (entry,) = toc.read_toc(io.BytesIO(data), len(data)).entries
    assert (entry.schema, entry.name, entry.owner) == (schema, table, table)
    assert toc.split_columns(entry.copy) == [column, "id"]
    assert ddl.table_columns([entry]) == {"%s.%s" % (schema, table): {column: "text"}}


@QUICK
@given(ANY, ANY)
def test_names_in_privileges_and_search_paths_come_back(role, schema):
    quoted = catalog.quote_ident(role)
    assert sidedb.parse_acl_item('%s=C*c/"x"' % quoted) == (role, [("CREATE", True), ("CONNECT", False)])
    assert sidedb.split_names("%s, %s" % (quoted, catalog.quote_ident(schema))) == [role, schema]


@pytest.mark.fault(12, "database")
@pytest.mark.parametrize("name", SHORT, ids=range(len(SHORT)))
def test_postgresql_keeps_every_name_as_it_was_quoted(pg, name):
    # In a transaction that is taken back: databases apart, which have a test of their own, nothing of it stays.
    with closing(connect(pg.server(), autocommit=False)) as conn, conn.cursor() as cursor:
        quoted = catalog.quote_ident(name)
        cursor.execute("create role %s" % quoted)
        cursor.execute("create schema %s authorization %s" % (quoted, quoted))
        cursor.execute("create table %s (%s text)" % (catalog.quote_table(name, name), quoted))
        cursor.execute(
            "select n.nspname, c.relname, a.attname, pg_get_userbyid(n.nspowner) from pg_class c"
            " join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid"
            " where a.attnum = 1 and n.nspname = %s",
            (name,),
        )
        assert cursor.fetchall() == [(name, name, name, name)]


@pytest.mark.fault(12, "database")
@pytest.mark.parametrize("name", [*WITH_NUL, *HALVES, "a" * 64, "a" * 10000, "\u05d0" * 32], ids=range(len(WITH_NUL) + len(HALVES) + 3))
def test_a_name_that_postgresql_would_not_keep_is_refused_before_anything_is_sent(name):
    nowhere = Server(host="127.0.0.1", port=1)
    for call in (
        lambda: connect(nowhere.database(name)),
        lambda: connect(nowhere.as_role(name, "")),
        lambda: inspect_target(nowhere, name),
        lambda: inspect_target(nowhere, "letta", name),
    ):
        with pytest.raises(RecoveryError, match="the name of the (database|role)") as caught:
            call()
        assert caught.value.failure_class == "usage"
        assert len(caught.value.message) < 300


def test_a_password_that_cannot_be_sent_is_refused_and_not_repeated():
    with pytest.raises(RecoveryError, match="holds what cannot be sent") as caught:
        connect(Server(host="127.0.0.1", port=1, password="geheim\0"))
    assert caught.value.failure_class == "usage"
    assert "geheim" not in caught.value.message


@pytest.mark.parametrize("name", ["letta", "a" * 63, "\u05d0" * 31, "{{ x }}", "a\nb"])
def test_a_name_that_postgresql_keeps_is_none_of_our_business(name):
    check_name(name, "database")
