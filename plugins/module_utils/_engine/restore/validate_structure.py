# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the frame around Letta's data: revision, constraints, indexes, vectors, names, sequences.

Each function takes a :class:`~.validate_context.Context` and returns findings. What a frame lacks
hits every agent, so a failure here says that the database as a whole is not fit to serve.
"""
from __future__ import annotations

from ..backup import queries
from ..errors import RecoveryError
from ..findings import FAIL, PASS, WARN, Finding
from ..letta import releases
from ..letta.entities import ID_PREFIXES, SEQUENCES, VECTOR_DIMS, VERSION_TABLE
from ..postgres import amcheck
from ..postgres.tools import ToolFailed, find_tools


def check_revision(context, expected):
    """The revision is one of Letta's, and the expected one where one is expected."""
    comparison = releases.compare(context.revisions(), expected)
    if comparison.verdict in (releases.MISSING, releases.EMPTY, releases.TWO_HEADS):
        return [Finding("revision.known", FAIL, comparison.detail, max(1, len(context.revisions() or ())), context.revisions() or ())]
    revision = comparison.revision
    known = releases.position(revision) is not None
    findings = [
        Finding("revision.known", PASS, "the schema is at %s" % releases.describe(revision))
        if known
        else Finding("revision.known", FAIL, "revision %s is none of Letta's up to the releases known here" % revision, 1, (revision,))
    ]
    if expected is not None:
        equal = comparison.verdict == releases.EQUAL
        detail = "the schema is at the expected revision" if equal else comparison.detail
        findings.append(Finding("revision.expected", PASS if equal else FAIL, detail, 0 if equal else 1, () if equal else (revision,)))
    return findings


def check_constraints(context):
    """Every constraint is validated, and tables with ids still have primary keys: a load cut short leaves rows without either."""
    invalid = context.column(
        """select t.relname || '.' || c.conname from pg_catalog.pg_constraint c join pg_catalog.pg_class t on t.oid = c.conrelid
           where t.relnamespace = %s::regnamespace and not c.convalidated order by 1"""
    )
    keyed = set(
        context.column(
            """select t.relname from pg_catalog.pg_constraint c join pg_catalog.pg_class t on t.oid = c.conrelid
               where t.relnamespace = %s::regnamespace and c.contype = 'p'"""
        )
    )
    bare = [name for name in sorted(context.tables) if ID_PREFIXES.get(name) and "id" in context.tables[name] and name not in keyed]
    return [
        context.finding("schema.constraints", invalid, "every constraint is validated", "{count} constraints are not validated"),
        context.finding(
            "schema.primary_keys", bare, "every table of entities has its primary key", "{count} tables have lost their primary key"
        ),
    ]


def check_indexes(context):
    """Every index is valid and ready: an interrupted concurrent build leaves one that nothing uses or trusts."""
    broken = context.column(
        """select i.relname from pg_catalog.pg_index x join pg_catalog.pg_class i on i.oid = x.indexrelid
           where i.relnamespace = %s::regnamespace and not (x.indisvalid and x.indisready and x.indislive) order by 1"""
    )
    return [context.finding("schema.indexes", broken, "every index is valid and ready", "{count} indexes are invalid or not ready")]


def check_collations(context):
    """No collation that an index of Letta's is sorted by has changed since: a newer library sorts otherwise, and searches miss rows."""
    changed = context.column(
        """select distinct c.collname::text from pg_catalog.pg_index x cross join unnest(x.indcollation) as u (id)
           join pg_catalog.pg_class i on i.oid = x.indexrelid join pg_catalog.pg_collation c on c.oid = u.id
           where i.relnamespace = %s::regnamespace and c.collversion <> pg_catalog.pg_collation_actual_version(c.oid) order by 1"""
    )
    if context.server_major() >= 15:
        changed += context.column(
            """select 'the default of ' || datname from pg_catalog.pg_database where %s is not null and datname = current_database()
               and datcollversion <> pg_catalog.pg_database_collation_actual_version(oid)"""
        )
    failed = "{count} collations are of another version than when their indexes were built: a search may miss rows that are there"
    return [context.finding("schema.collations", changed, "every index is sorted as the collation library sorts now", failed, WARN)]


def check_damage(context, server, bin_dir):
    """pg_amcheck finds nothing, where it may be asked. It reads every table and index once."""
    check = "integrity.amcheck"
    reason = amcheck.unavailable(context.cursor)
    if reason:
        return [Finding(check, PASS, "not checked: %s" % reason)]
    try:
        tools = find_tools(bin_dir, min_major=context.server_major(), need=("pg_amcheck",))
    except RecoveryError:
        return [Finding(check, PASS, "not checked: there is no pg_amcheck of the server's version or newer on this host")]
    try:
        damaged = amcheck.damaged(server, context.schema, tools)
    except ToolFailed:
        return [Finding(check, WARN, "pg_amcheck could not do its work; run it by hand to see why", 1)]
    failed = "{count} tables or indexes are damaged: reads of them are wrong or fail"
    return [context.finding(check, damaged, "pg_amcheck finds no damage", failed)]


def check_names(context, role):
    """The role finds Letta's tables and the vector type by their bare names, as the server's SQL uses them."""
    visible = context.visible_schemas(role)
    if visible is None:
        return [Finding("names.search_path", FAIL, "there is no role %s" % role, 1, (role,))]
    holder = next((schema for schema in visible if context.schema_has_table(schema, "agents")), None)
    path = ", ".join(visible) or "no schema at all"
    if holder == context.schema:
        findings = [Finding("names.search_path", PASS, "role %s finds the table agents in schema %s" % (role, holder))]
    else:
        what = "finds no table agents" if holder is None else "finds another table agents, in schema %s" % holder
        detail = "role %s sees %s and %s; Letta's are in %s: it would start as if the database were empty"
        findings = [Finding("names.search_path", FAIL, detail % (role, path, what, context.schema), 1, (role,))]
    return findings + [_vector_extension(context, role, visible)]


def _vector_extension(context, role, visible):
    schema = context.extension_schema("vector")
    if schema is None:
        if not context.passage_tables():
            return context.not_applicable("names.vector", "no table of passages")
        return Finding("names.vector", FAIL, "the extension vector is not installed in this database", 1, ("vector",))
    if schema not in visible:
        detail = "the extension vector is in schema %s, which role %s does not see: searches fail" % (schema, role)
        return Finding("names.vector", FAIL, detail, 1, (schema,))
    return Finding("names.vector", PASS, "the extension vector is in schema %s" % schema)


def check_sequences(context):
    """A sequence is above its column: behind it, Letta answers 200 and persists nothing."""
    findings = []
    for name, (table, column) in sorted(SEQUENCES.items()):
        if column not in context.tables.get(table, ()):
            findings.append(context.not_applicable("sequence.%s" % name, "no column %s.%s" % (table, column)))
        else:
            findings.append(_check_sequence(context, name, table, column))
    return findings


def _check_sequence(context, name, table, column):
    check = "sequence.%s" % name
    if not context.sequence_exists(name):
        return Finding(check, FAIL, "the sequence %s is missing: no row of %s can be inserted" % (name, table), 1, (name,))
    if name not in context.column_default(table, column):
        return Finding(check, FAIL, "%s.%s does not draw its values from %s any more" % (table, column, name), 1, (name,))
    # The maximum is read before the sequence, which only grows: a busy server raises no false alarm.
    ((highest,),) = context.rows("select max({column}) from {s}.{table}", table=table, column=column)
    ((following,),) = context.rows(
        "select case when is_called then last_value + %s else last_value end from {s}.{name}",
        (context.sequence_increment(name),),
        name=name,
    )
    if highest is not None and following <= highest:
        detail = "%s gives %d next, but %s.%s is at %d already: new messages are answered and not persisted"
        return Finding(check, FAIL, detail % (name, following, table, column, highest), highest - following + 1, (name,))
    return Finding(check, PASS, "%s gives %d next, above every %s.%s" % (name, following, table, column))


def check_vectors(context):
    """Every vector has Letta's width. A column declared with it needs no look at its rows."""
    findings = []
    for table, declared in context.passage_tables():
        check = "vectors.%s" % table
        if declared == VECTOR_DIMS:
            findings.append(Finding(check, PASS, "the column is declared with %d dimensions" % VECTOR_DIMS))
            continue
        found = context.rows(
            "select id from {s}.{table} where embedding is not null and {v}.vector_dims(embedding) <> %s order by id",
            (VECTOR_DIMS,),
            table=table,
            v=context.extension_schema("vector"),
        )
        ids = [row[0] for row in found]
        passed = "every vector has %d dimensions" % VECTOR_DIMS
        findings.append(context.finding(check, ids, passed, "{count} vectors of another width than %d: searches fail" % VECTOR_DIMS))
    return findings or [context.not_applicable("vectors.dimensions", "no table of passages")]


def check_queries(context, recorded):
    """The test queries of the backup give the answers that they gave then; ``recorded`` is None where there are none."""
    kinds = {"queries.agents": "agents", "queries.messages": "messages", "queries.passages": "nearest"}
    findings = []
    for check, kind in kinds.items():
        asked = [query for query in recorded or () if query["query"] == kind]
        if not asked:
            why = "no set was named, or it has none" if recorded is None else "there was nothing to ask for"
            findings.append(Finding(check, PASS, "not recorded: %s" % why))
            continue
        answers = [queries.ask(context.cursor, context.schema, context.tables, query) for query in asked]
        kept = [answer for answer in answers if answer is not None]
        passed = "%d of %d recorded answers are the same" % (len(kept), len(asked))
        if len(kept) < len(asked):
            passed += "; the table of the others is gone since, by a migration"
        wrong = [answer for answer in kept if answer]
        findings.append(context.finding(check, wrong, passed, "{count} test queries give another answer than at backup time"))
    return findings


def check_version_table(context):
    """Letta's tables are there at all; None when they are, so that nothing else need be asked."""
    if context.schema is not None:
        return None
    return Finding("schema.found", FAIL, "no schema of this database holds Letta's tables agents and %s" % VERSION_TABLE, 1)
