# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repairs of what validation finds, where they are safe: no row of Letta's is changed, and doing one twice does nothing more.

A repair belongs to a check (:data:`REPAIRS`): it says which statements would mend what the check found, and a new check gets
one by another entry. Each statement runs in a transaction of its own; one that fails leaves its check failing.
"""
from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from ..findings import FAIL
from ..letta.entities import SEQUENCES
from ..postgres.connection import connect, psycopg2, sql
from .validate_context import open_context

REPORT, SAFE = "report", "safe"
# A repair never queues behind a long transaction of the live system while everybody queues behind it.
_LOCK_TIMEOUT = "10s"


@dataclass(frozen=True)
class Action:
    """One repair of one object.

    :param check: id of the check that asked for it. :param what: what is done, to which object.
    :param was: the state before, in words. :param statement: composed SQL.
    """

    check: str
    what: str
    was: str
    statement: object


def _sequences(context, _role):
    """setval to the highest value of the column, never back"""
    actions = []
    for name, (table, column) in SEQUENCES.items():
        if not context.sequence_exists(name) or column not in context.tables.get(table, ()):
            continue
        ((highest,),) = context.rows("select max({column}) from {s}.{table}", table=table, column=column)
        ((last,),) = context.rows("select last_value from {s}.{name}", name=name)
        if highest is not None and last <= highest:
            # Read again inside the statement: the live system may have moved on.
            highest_of_both = "greatest((select max({column}) from {table}), (select last_value from {sequence}))"
            statement = sql.SQL("select setval({name}, %s)" % highest_of_both).format(
                name=sql.Literal(sql.Identifier(context.schema, name).as_string(context.connection)),
                column=sql.Identifier(column),
                table=sql.Identifier(context.schema, table),
                sequence=sql.Identifier(context.schema, name),
            )
            what = "move %s forward to %d" % (name, highest)
            actions.append(Action("sequence.%s" % name, what, "at %d, with %s.%s at %d" % (last, table, column, highest), statement))
    return actions


def _indexes(context, _role):
    """REINDEX INDEX"""
    names = context.column(
        """select i.relname from pg_index x join pg_class i on i.oid = x.indexrelid
           where i.relnamespace = %s::regnamespace and not (x.indisvalid and x.indisready and x.indislive) order by 1"""
    )
    statement = sql.SQL("reindex index {}")
    return [
        Action("schema.indexes", "rebuild index %s" % name, "invalid", statement.format(sql.Identifier(context.schema, name)))
        for name in names
    ]


def _constraints(context, _role):
    """VALIDATE CONSTRAINT, where the rows hold"""
    rows = context.fetch(
        """select t.relname, c.conname from pg_constraint c join pg_class t on t.oid = c.conrelid
           where t.relnamespace = (select oid from pg_namespace where nspname = %s) and not c.convalidated order by 1, 2""",
        (context.schema,),
    )
    statement = sql.SQL("alter table {} validate constraint {}")
    return [
        Action(
            "schema.constraints",
            "validate constraint %s of %s" % (name, table),
            "not validated",
            statement.format(sql.Identifier(context.schema, table), sql.Identifier(name)),
        )
        for table, name in rows
    ]


def _search_path(context, role):
    """ALTER DATABASE … SET search_path, where none is set"""
    path = context.visible_schemas(role)
    # Only where the setting is lost: a path that somebody set on purpose, or a missing right, is for a person.
    if path is None or context.schema in path or context.has_search_path(role) or not context.may_use_schema(role):
        return []
    ((database,),) = context.fetch("select current_database()")
    names = list(dict.fromkeys([context.schema, context.extension_schema("vector") or context.schema]))
    listed = sql.SQL(", ").join(sql.Identifier(name) for name in names)
    statement = sql.SQL("alter database {} set search_path = {}").format(sql.Identifier(database), listed)
    what = "set search_path of the database to %s" % ", ".join(names)
    return [Action("names.search_path", what, "role %s sees %s" % (role, ", ".join(path) or "no schema"), statement)]


# check id -> function(context, role) that returns the actions for it; its docstring says in docs/validation.md what it does.
REPAIRS = {
    "sequence.message_seq_id": _sequences,
    "schema.indexes": _indexes,
    "schema.constraints": _constraints,
    "names.search_path": _search_path,
}


def plan_repairs(server, findings, role=None):
    """Return the :class:`Action` that would mend what the findings say; changes nothing.

    :param findings: of :func:`.validate.validate_database`. :param role: the one Letta logs in as; None for the server's.
    """
    sick = [finding.id for finding in findings if finding.status == FAIL and finding.id in REPAIRS]
    if not sick:
        return []
    with open_context(server) as context:
        role = role or context.current_user()
        return [action for check in dict.fromkeys(sick) for action in REPAIRS[check](context, role)]


def run_repairs(server, actions):
    """Do the repairs, each in a transaction of its own.

    :returns: list of dicts: ``check``, ``what``, ``was``, ``done``, and ``error``, PostgreSQL's reason where it could not be done.
    """
    done = []
    if not actions:
        return done
    with closing(connect(server, application_name="letta_ops repair", autocommit=False)) as conn, conn.cursor() as cursor:
        for action in actions:
            error = ""
            try:
                cursor.execute("set local search_path = pg_catalog; set local lock_timeout = %s", (_LOCK_TIMEOUT,))
                cursor.execute(action.statement)
                conn.commit()
            except psycopg2.Error as exc:
                conn.rollback()
                # The message may quote rows; class and code do not.
                error = "%s %s" % (type(exc).__name__, exc.pgcode or "")
            done.append(dict(check=action.check, what=action.what, was=action.was, done=not error, error=error.strip()))
    return done


def planned(actions):
    """Return what :func:`run_repairs` would return, with nothing done (for check mode)."""
    return [dict(check=action.check, what=action.what, was=action.was, done=False, error="") for action in actions]


def in_words(outcome):
    """Return one outcome as a sentence for a finding's detail."""
    if outcome["error"]:
        return "could not be repaired (%s: %s)" % (outcome["what"], outcome["error"])
    return "%s: %s; it was %s" % ("repaired" if outcome["done"] else "would be repaired", outcome["what"], outcome["was"])
