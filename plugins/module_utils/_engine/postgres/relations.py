# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of one schema as rows are written into them: columns, keys, what refers to what, and in which order that allows inserts."""
from __future__ import annotations

from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

_COLUMNS = """
    select c.relname, a.attname, not a.attnotnull, pg_catalog.format_type(a.atttypid, a.atttypmod),
           case when x.extname = 'vector' and t.typname in ('vector', 'halfvec', 'sparsevec')
                then array[pn.nspname, p.proname]::text[] end
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_class c on c.oid = a.attrelid and c.relkind = 'r'
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = %(schema)s
    join pg_catalog.pg_type t on t.oid = a.atttypid
    left join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass and d.objid = t.oid and d.deptype = 'e'
    left join pg_catalog.pg_extension x on x.oid = d.refobjid
    left join pg_catalog.pg_proc p on p.oid = t.typsend
    left join pg_catalog.pg_namespace pn on pn.oid = p.pronamespace
    where a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    order by 1, a.attname collate "C"
"""
_UNIQUE = """
    select c.relname, i.indisprimary, i.indnullsnotdistinct,
           (select array_agg(a.attname order by k.position) from unnest(i.indkey) with ordinality as k(attnum, position)
            join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum where k.position <= i.indnkeyatts)::text[]
    from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = %(schema)s
    where i.indisunique and i.indpred is null and i.indexprs is null
    order by 1, i.indisprimary desc, i.indnkeyatts, 4
"""
_FOREIGN = """
    select c.relname, p.relname, f.confdeltype::text,
           (select array_agg(a.attname order by k.position) from unnest(f.conkey) with ordinality as k(attnum, position)
            join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum)::text[],
           (select array_agg(a.attname order by k.position) from unnest(f.confkey) with ordinality as k(attnum, position)
            join pg_catalog.pg_attribute a on a.attrelid = p.oid and a.attnum = k.attnum)::text[]
    from pg_catalog.pg_constraint f
    join pg_catalog.pg_class c on c.oid = f.conrelid
    join pg_catalog.pg_class p on p.oid = f.confrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = %(schema)s
    where f.contype = 'f' order by 1, 2, 4
"""


@dataclass(frozen=True)
class ForeignKey:
    """``table.columns`` refer to ``parent.parent_columns``; ``on_delete`` is one of ``a`` (no action), ``r``, ``c``, ``n``, ``d``."""

    table: str
    columns: tuple
    parent: str
    parent_columns: tuple
    on_delete: str


@dataclass
class Table:
    """One table.

    :param columns: {name: nullable}, sorted by name, bytewise. :param types: {name: SQL type}.
    :param sends: [(name, (schema, function) of pgvector's types or None)], for :func:`digest.record_text`.
    :param key: columns that tell its rows apart: of the primary key, else as the caller declares.
    :param unique: tuples (columns, NULLs count as equal) of every unique index, the primary key among them.
    """

    name: str
    columns: dict = field(default_factory=dict)
    types: dict = field(default_factory=dict)
    sends: list = field(default_factory=list)
    key: tuple = ()
    unique: list = field(default_factory=list)


def read_relations(cursor, schema, keys=None):
    """Read the ordinary tables of a schema.

    :param keys: {table: columns} that count as the key, whatever the catalog says.
    :returns: ({name: :class:`Table`}, [:class:`ForeignKey`]).
    """
    tables = {}
    cursor.execute(_COLUMNS, {"schema": schema})
    for name, column, nullable, kind, send in cursor.fetchall():
        table = tables.setdefault(name, Table(name))
        table.columns[column] = nullable
        table.types[column] = kind
        table.sends.append((column, send))
    nulls = "i.indnullsnotdistinct" if cursor.connection.server_version >= 150000 else "false"
    cursor.execute(_UNIQUE.replace("i.indnullsnotdistinct", nulls), {"schema": schema})
    for name, primary, same_nulls, columns in cursor.fetchall():
        tables[name].unique.append((tuple(columns), same_nulls))
        if primary or not tables[name].key:
            tables[name].key = tuple(columns)
    for name, columns in (keys or {}).items():
        if name in tables and set(columns) <= set(tables[name].columns):
            tables[name].key = tuple(columns)
    cursor.execute(_FOREIGN, {"schema": schema})
    foreign = [ForeignKey(row[0], tuple(row[3]), row[1], tuple(row[4]), row[2]) for row in cursor.fetchall()]
    return tables, foreign


def insert_order(tables, foreign):
    """Return (tables so that parents come before what refers to them, foreign keys left out to make that possible).

    Letta has one circle, between blocks and their history: a key of it that may be NULL is left out, and set afterwards.
    """
    left_out = []
    edges = [key for key in foreign if key.table in tables and key.parent in tables and key.table != key.parent]
    while True:
        sorter = TopologicalSorter({name: set() for name in sorted(tables)})
        for key in edges:
            sorter.add(key.table, key.parent)
        try:
            return list(sorter.static_order()), left_out
        except CycleError as exc:
            circle = exc.args[1]
            inside = [key for key in edges if key.table in circle and key.parent in circle]
            loose = next((key for key in inside if len(key.columns) == 1 and tables[key.table].columns[key.columns[0]]), None)
            if loose is None:
                raise
            left_out.append(loose)
            edges.remove(loose)
