"""What a catalog has that nobody decided about: tables, foreign keys and references that the closure of a partial restore must know."""
from __future__ import annotations

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import closure, references

_NEVER_ALONE = (closure.LINK, closure.NAMED, closure.POINTER)


def undecided_tables(tables):
    """Return the tables that no rule selects from and that are not declared outside, or that are both."""
    ruled = {rule.table for rule in closure.RULES}
    return sorted(name for name in tables if (name in ruled) == bool(closure.OUTSIDE.get(name)))


def unfollowed_keys(tables, foreign):
    """Return ``{(table, column)}`` of foreign keys of which a row may come without the row that it names.

    :param tables: {name: columns}. :param foreign: [(table, columns, parent, parent's columns)].

    A key is followed when, for each role in which rows of the table come, a rule brings the parent of such a row, or the row came
    by this very key. Links come only when both ends are there, what is only named is never written, and a pointer is of a row that lives.
    """
    left = set()
    for table, columns, parent, parent_columns in foreign:
        rules = [rule for rule in closure.RULES if rule.table == table and rule.column in tables[table] and rule.role not in _NEVER_ALONE]
        pairs = [("%s.%s" % (table, column), there) for column, there in zip(columns, parent_columns)]
        for role in {rule.role for rule in rules}:
            brought = any(
                rule.table == parent and (rule.of, rule.column) in pairs and role in closure.FOLLOWS[rule.role] for rule in closure.RULES
            )
            came = [rule.column in columns and parent == _parent_of(rule) for rule in rules if rule.role == role]
            if not brought and not all(came):
                left |= {(table, column) for column in columns}
    return left


def undecided_keys(tables, foreign):
    """Return the foreign keys that no rule follows and for which no reason is declared."""
    return sorted(key for key in unfollowed_keys(tables, foreign) if not closure.FOREIGN_KEYS_LEFT.get(key))


def undecided_columns(tables, foreign):
    """Return the columns that look like references, or may hold some, and of which nothing is declared.

    :param tables: {name: {column: SQL type}}.
    """
    keyed = {(table, column) for table, columns, _parent, _there in foreign for column in columns}
    found = []
    for table, columns in tables.items():
        for column, kind in columns.items():
            place = (table, column)
            if kind in ("json", "jsonb"):
                known = place in references.INSIDE_JSON or column in references.HOLDS_NO_IDS
            elif column.endswith(("_id", "_ids")):
                known = place in keyed or place in references.SOFT or column in references.NAMES_NOTHING
            else:
                known = True
            found += [] if known else [place]
    return sorted(found)


def misplaced_references(foreign):
    """Return the columns declared as references without a foreign key that have one."""
    keyed = {(table, column) for table, columns, _parent, _there in foreign for column in columns}
    return sorted(keyed & (set(references.SOFT) | set(references.INSIDE_JSON)))


def _parent_of(rule):
    """Return the table whose rows' keys a rule asks for; None for a root of which no rule brings the rows."""
    table, _column = closure.source_of(rule)
    if table:
        return table
    table, column = closure.ROOT_ROWS[rule.of]
    return table if any((other.table, other.column, other.of) == (table, column, rule.of) for other in closure.RULES) else None
