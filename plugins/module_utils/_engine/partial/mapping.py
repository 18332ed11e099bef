# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of a slice that live knows under another id, or that are to get one: everything that names them is rewritten.

Works on the temporary tables of a :class:`~.workbench.Workbench` only.
"""
from __future__ import annotations

from ..letta import references
from ..letta.closure import COPIED, ROLES
from ..letta.entities import ID_PREFIXES
from ..postgres.catalog import quote_ident
from .slices import ROLE

# Things with a name of their own: live's row of that name is the same thing, whatever its id. Starting a Letta server on an
# empty database makes the base tools, providers and the default user with ids that are random but for the user's.
BY_NAME = {
    "tools": ("name", "organization_id"),
    "identities": ("identifier_key", "project_id", "organization_id"),
    "providers": ("name", "organization_id"),
    "mcp_server": ("server_name", "organization_id"),
}
CUSTOM_TOOLS = ("custom", "external_mcp", "external_composio", "external_langchain")
# Parts of a thing that is copied -> the column that leads to it: they need ids of their own too.
PARTS = {
    "block": {"block_history": "block_id"},
    "archives": {"archival_passages": "archive_id", "passage_tags": "archive_id"},
    "sources": {"files": "source_id", "source_passages": "source_id"},
}
# A UUID of version 4 by its shape, the same for the same text: a plan made twice is the same plan.
_UUID = (
    "substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-4' || substr(h, 14, 3) || '-' || substr('89ab', 1 + ascii(substr(h, 17, 1)) %% 4, 1)"
    " || substr(h, 18, 3) || '-' || substr(h, 21, 12)"
)


def prepare(bench):
    """Make the table of ids that change: ``pg_temp.mapping (tbl, old, new)``."""
    bench.run("create temporary table mapping (tbl text, old text, new text, primary key (tbl, old)) on commit drop")


def map_by_name(bench):
    """Map things to live's rows of the same name, drop them from the slice, and never touch base tools that live has:
    every server that starts rewrites them.

    :returns: notes: [{"table", "id", "name", "live", "same"}]: ``same`` is False where a tool of that name does something else.
    """
    notes = []
    for table, columns in BY_NAME.items():
        if table not in bench.present:
            continue
        same = " and ".join("s.%s is not distinct from l.%s" % (quote_ident(name), quote_ident(name)) for name in columns)
        content = "s.source_code is not distinct from l.source_code" if table == "tools" else "true"
        # Base providers of NULL organisation are not held unique: the oldest of the name counts.
        found = bench.rows(
            "insert into pg_temp.mapping select distinct on (s.id) '%s', s.id, l.id from %s s join %s l on %s"
            " where not exists (select from %s o where o.id = s.id) order by s.id, l.created_at, l.id returning old, new"
            % (table, bench.saved(table), bench.live(table), same, bench.live(table))
        )
        for old, new in found:
            name, equal = bench.rows(
                "select s.%s, %s from %s s, %s l where s.id = %%s and l.id = %%s"
                % (quote_ident(columns[0]), content, bench.saved(table), bench.live(table)),
                (old, new),
            )[0]
            notes.append({"table": table, "id": old, "name": name, "live": new, "same": equal})
        bench.run("delete from %s where id in (select old from pg_temp.mapping where tbl = '%s')" % (bench.saved(table), table))
        _rewrite(bench, table)
    if "tools" in bench.present:
        bench.run(
            "update %s s set __role = 'presence' from %s l where l.id = s.id and coalesce(l.tool_type, 'custom') <> all(%%s)"
            % (bench.saved("tools"), bench.live("tools")),
            (list(CUSTOM_TOOLS),),
        )
    return notes


def copy_things(bench, things, mark):
    """Give things, and their parts, new ids; what of the slice named them names the copies.

    :param things: [(table, id)] of :data:`closure.COPIED`. :param mark: text the new ids depend on, and the copies of sources are named by.
    :returns: {(table, id): new id}.
    """
    made = {}
    for table in COPIED:
        ids = [identity for name, identity in things if name == table]
        if not ids:
            continue
        _new_ids(bench, table, "id", ids, mark)
        for part, column in PARTS[table].items():
            if part in bench.present:
                _new_ids(bench, part, column, ids, mark)
        if "files" in PARTS[table] and "file_contents" in bench.present:
            files = [row[0] for row in bench.rows("select id from %s where source_id = any(%%s)" % bench.saved("files"), (ids,))]
            _new_ids(bench, "file_contents", "file_id", files, mark)
        made.update({(table, old): new for old, new in _mapped(bench, table, ids)})
        if table == "sources":
            bench.run(
                "update %s set name = name || ' (' || %%s || ')' where id = any(%%s)" % bench.saved(table), (mark, ids)
            )
    for table in [table for name in PARTS for table in (name, *PARTS[name])] + ["file_contents"]:
        if table in bench.present:
            _rename(bench, table)
    return made


def _mapped(bench, table, ids):
    return bench.rows("select old, new from pg_temp.mapping where tbl = %s and old = any(%s)", (table, ids))


def _new_ids(bench, table, column, ids, mark):
    prefix = ID_PREFIXES[table][0] + "-"
    bench.run(
        "insert into pg_temp.mapping select %%s, id, %%s || %s from (select id, md5(id || %%s) as h from %s where %s = any(%%s)) t"
        " on conflict do nothing" % (_UUID, bench.saved(table), quote_ident(column)),
        (table, prefix, mark, ids),
    )


def _rename(bench, table):
    """Give the mapped rows of a table their new ids, and everything of the slice that names them."""
    bench.run("update %s s set id = m.new from pg_temp.mapping m where m.tbl = '%s' and m.old = s.id" % (bench.saved(table), table))
    _rewrite(bench, table)


def _rewrite(bench, table):
    """Rewrite what refers to the mapped rows of a table, by foreign keys and by what is declared."""
    plain = [
        (key.table, key.columns[key.parent_columns.index("id")], False)
        for key in bench.foreign
        if key.parent == table and "id" in key.parent_columns
    ]
    for name, column, inside in plain + references.to(table):
        if name not in bench.present or column not in bench.tables[name].columns:
            continue
        if inside:
            for old, new in bench.rows("select old, new from pg_temp.mapping where tbl = %s", (table,)):
                bench.run(
                    'update %s set %s = replace(%s::text, %%s, %%s)::json where %s::text like %%s'
                    % (bench.saved(name), quote_ident(column), quote_ident(column), quote_ident(column)),
                    ('"%s"' % old, '"%s"' % new, '%%"%s"%%' % old.replace("_", "\\_")),
                )
            continue
        bench.run(
            "update %s s set %s = m.new from pg_temp.mapping m where m.tbl = '%s' and m.old = s.%s"
            % (bench.saved(name), quote_ident(column), table, quote_ident(column))
        )
        _drop_doubles(bench, name)


def _drop_doubles(bench, table):
    """Two old rows may have become one: keep the stronger."""
    keys = ", ".join(map(quote_ident, bench.tables[table].key))
    roles = ", ".join("'%s'" % role for role in ROLES)
    bench.run(
        f"delete from {bench.saved(table)} where ctid in (select ctid from (select ctid, row_number()"
        f" over (partition by {keys} order by array_position(array[{roles}], {ROLE})) as n from {bench.saved(table)}) t where n > 1)"
    )
