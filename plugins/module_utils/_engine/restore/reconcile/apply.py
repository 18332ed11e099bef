# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan written into the database, and taken back: each in one transaction, or not at all."""
from __future__ import annotations

import json
import os
from dataclasses import dataclass

from ...errors import RecoveryError
from ...letta.entities import RUNNING_WORK
from ...postgres.connection import psycopg2, sql
from . import images

_NOTHING = "nothing was changed"


@dataclass
class _Row:
    """Everything that a plan changes in one row."""

    table: str
    id: str
    values: dict
    added: bool
    before: dict | None = None


def write(context, plan, fetch_now, undo_file=""):
    """Write a plan's changes and commit. The images for taking them back are on disk before that.

    :param context: :class:`..validate_context.Context` whose transaction the plan was made in.
    :param fetch_now: function (statement, params) -> rows, as they are by now, past the transaction's snapshot.
    :param undo_file: path, empty for none.
    :raises RecoveryError: ``locked`` when somebody changed a row meanwhile, ``load_failed`` when a row cannot be written; nothing was.
    """
    rows, connection, cursor = _rows(plan), context.connection, context.cursor
    written = False
    try:
        for row in rows:
            _write_row(cursor, context, row)
        _check_quiet(context, plan, fetch_now)
        if undo_file:
            taken = [(row.table, row.id, row.before, images.take(cursor, context, row.table, row.id)) for row in rows]
            written = True
            images.write(undo_file, connection.info.dbname, context.schema, taken)
        connection.commit()
    except BaseException as exc:
        connection.rollback()
        if written and os.path.exists(undo_file):
            os.unlink(undo_file)
        if isinstance(exc, psycopg2.Error):
            raise _refused(exc) from None
        raise


def _rows(plan):
    """Return the plan's changes row by row: two changes of one row are written at once, an image is taken once."""
    found: dict = {}
    for change in plan.changes:
        row = found.setdefault((change.table, change.id), _Row(change.table, change.id, {}, change.added))
        row.values.update(change.values)
    return list(found.values())


def _write_row(cursor, context, row):
    known = context.tables[row.table]
    values = {name: _adapted(value) for name, value in row.values.items() if name in known}
    table = sql.Identifier(context.schema, row.table)
    if row.added:
        names = sql.SQL(", ").join(map(sql.Identifier, values))
        places = sql.SQL(", ").join([sql.Placeholder()] * len(values))
        cursor.execute(sql.SQL("insert into {} ({}) values ({})").format(table, names, places), list(values.values()))
        return
    row.before = images.take(cursor, context, row.table, row.id)
    pairs = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in values)
    cursor.execute(sql.SQL("update {} set {} where id = %s").format(table, pairs), [*values.values(), row.id])
    if cursor.rowcount != 1:
        raise RecoveryError("load_failed", "%s %s is not one row" % (row.table, row.id), now=_NOTHING, next_step="validate the database")


def _adapted(value):
    return json.dumps(value) if isinstance(value, (dict, list)) else value


def _check_quiet(context, plan, fetch_now):
    """Look, past the snapshot, whether an agent whose context is rewritten began to work: its next checkpoint would undo that."""
    agents = {change.id for change in plan.changes if change.table == "agents" and "message_ids" in change.values}
    agents |= {change.values["agent_id"] for change in plan.changes if change.table == "messages"}
    table, column, values = next((work.table, work.column, list(work.open_values)) for work in RUNNING_WORK if work.table == "runs")
    if not agents or table not in context.tables:
        return
    closed = [change.id for change in plan.changes if change.table == table]
    busy = fetch_now(
        sql.SQL("select agent_id from {} where agent_id = any(%s) and {} = any(%s) and not id = any(%s)").format(
            sql.Identifier(context.schema, table), sql.Identifier(column)
        ),
        (sorted(agents), values, closed),
    )
    if busy:
        raise _busy("%s began to work meanwhile" % ", ".join(sorted({row[0] for row in busy})[:3]))


def _busy(what):
    return RecoveryError("locked", what, now=_NOTHING, next_step="run the same command again, best with Letta's servers stopped")


def _refused(exc):
    if exc.pgcode in ("40001", "40P01", "55P03"):  # serialization failure, deadlock, lock not available
        return _busy("somebody changed a row while it was reconciled")
    # The message may quote a row; class, code and constraint do not.
    told = " ".join(part for part in (type(exc).__name__, exc.pgcode, exc.diag.constraint_name) if part)
    return RecoveryError(
        "load_failed", "a row could not be written: %s" % told, now=_NOTHING,
        next_step="ansible-playbook playbooks/validate.yml shows what is wrong with the database",
    )  # fmt: skip


def take_back(context, path, check=False):
    """Bring every row back to what it was before a reconciliation, and commit.

    :param path: the undo file. :param check: leave everything as it is in the end. :returns: {table: rows}.
    :raises RecoveryError: ``usage`` for a file that cannot be used here, ``locked`` when a row was changed since; nothing was changed.
    """
    head, rows = images.read(path)
    connection, cursor = context.connection, context.cursor
    if head["schema"] != context.schema or any(image["table"] not in context.tables for image in rows):
        what = "the undo file is of schema %s, the tables are in %s" % (head["schema"], context.schema)
        raise RecoveryError("usage", what, now=_NOTHING, next_step="name the database that was reconciled")
    try:
        changed = [image for image in rows if images.take(cursor, context, image["table"], image["id"]) != image["after"]]
        if changed:
            told = ", ".join("%s %s" % (image["table"], image["id"]) for image in changed[:3])
            raise RecoveryError(
                "locked", "%d of %d rows are not what the reconciliation left: %s" % (len(changed), len(rows), told), now=_NOTHING,
                next_step="they were changed since, or this was undone already: what is newer is not overwritten",
            )  # fmt: skip
        counts: dict = {}
        for image in reversed(rows):
            images.put_back(cursor, context, image)
            counts[image["table"]] = counts.get(image["table"], 0) + 1
        (connection.rollback if check else connection.commit)()
    except BaseException as exc:
        connection.rollback()
        if isinstance(exc, psycopg2.Error):
            raise _refused(exc) from None
        raise
    return counts
