# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows as they were before a reconciliation and as it left them: one JSON line each, enough to take it back."""
from __future__ import annotations

import json
import os

from ... import durable
from ...errors import RecoveryError
from ...postgres.connection import sql

FORMAT = 1


def take(cursor, context, table, row_id):
    """Return a row as {column: PostgreSQL's own text of its value, or None}, or None where there is none.

    Text, since Letta's JSON may hold what PostgreSQL takes in but cannot give back through its functions for JSON.
    """
    names = sorted(context.tables[table])
    columns = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in names)
    cursor.execute(sql.SQL("select {} from {} where id = %s").format(columns, sql.Identifier(context.schema, table)), (row_id,))
    found = cursor.fetchone()
    return dict(zip(names, found)) if found else None


def write(path, database, schema, images):
    """Write images durably, readable by nobody else.

    :param images: [(table, id, row before or None, row after)] as :func:`take` returns them, in the order of the changes.
    """
    lines = [{"format": FORMAT, "database": database, "schema": schema, "rows": len(images)}]
    lines += [{"table": table, "id": row_id, "before": before, "after": after} for table, row_id, before, after in images]
    durable.make_private_dir(os.path.dirname(os.path.abspath(path)))
    durable.write_private(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode("utf-8"))


def read(path):
    """Return (head, [image as dict]) of an undo file.

    :raises RecoveryError: ``usage`` when it cannot be read as one, whole.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            head, *images = [json.loads(line) for line in stream]
        whole = head["format"] == FORMAT and head["rows"] == len(images)
        whole = whole and all({"table", "id", "before", "after"} == set(image) for image in images)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise _unreadable(path, type(exc).__name__) from None
    if not whole:
        raise _unreadable(path, "it is cut short, or of another format")
    return head, images


def _unreadable(path, why):
    step = "name the undo file that the report of the reconciliation names"
    return RecoveryError("usage", "the undo file %s cannot be read (%s)" % (path, why), now="nothing was changed", next_step=step)


def put_back(cursor, context, image):
    """Bring one row back to its image before."""
    table = sql.Identifier(context.schema, image["table"])
    if image["before"] is None:
        cursor.execute(sql.SQL("delete from {} where id = %s").format(table), (image["id"],))
        return
    pairs = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in image["before"])
    cursor.execute(sql.SQL("update {} set {} where id = %s").format(table, pairs), [*image["before"].values(), image["id"]])
