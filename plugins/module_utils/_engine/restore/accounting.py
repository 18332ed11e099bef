# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Before and after a migration: every change of a row is explained by a revision that lies between, or it is a failure. Pure."""
from __future__ import annotations

from ..findings import FAIL, PASS, Finding
from ..letta import releases
from ..letta.entities import VERSION_TABLE, bare_name
from ..letta.row_changes import ADDED, DROPPED, FILLED, MOVED, ROWS, VALUES, changes_between, moved_between

_SHOWN = 4


def account(before, after, between):
    """Explain what a migration did to the rows of a database.

    :param before, after: of :func:`postgres.columns.digest_columns`.
    :param between: revisions that were run, oldest first.
    :returns: (report rows [{"name", "rows_expected", "rows_restored", "digest": equal|explained|differs, "explanation",
        "was": name before, None for a new table}], [Finding])
    """
    ledger = _Ledger(changes_between(between))
    moved = moved_between(between)
    rows, taken = [], set()
    for name in sorted(before):
        schema, dummy, table = name.rpartition(".")
        target = "%s.%s" % (schema, moved.get(table, table))
        taken.add(target)
        rows.append(dict(_table(name, target, before[name], after.get(target), ledger), was=name))
    rows += [dict(_new(name, after[name], ledger), was=None) for name in sorted(set(after) - taken)]
    bad = [row["name"] for row in rows if row["digest"] == "differs"]
    explained = sum(1 for row in rows if row["digest"] == "explained")
    if bad:
        detail = "%d tables changed in a way that no migration explains: %s" % (len(bad), ", ".join(bad[:8]))
        return rows, [Finding("migrate.rows", FAIL, detail, len(bad), bad)]
    detail = "%d tables unchanged, %d changed as the migrations say" % (len(rows) - explained, explained)
    return rows, [Finding("migrate.rows", PASS, detail)]


class _Ledger:
    """The changes that the revisions run are known to make."""

    def __init__(self, changes):
        self.changes = changes

    def of(self, *kinds, table=None):
        return [c for c in self.changes if c.kind in kinds and (table is None or c.table == table)]

    def reasons(self, changes):
        texts = ["%s (%s, %s)" % (c.why, c.revision, releases.revision_info(c.revision).release) for c in changes]
        return "; ".join(dict.fromkeys(texts))


def _row(name, expected, found, verdict, explanation):
    return {"name": name, "rows_expected": expected, "rows_restored": found, "digest": verdict, "explanation": explanation}


def _table(name, target, before, after, ledger):
    """Return the report row of a table that was there before."""
    table, was = bare_name(target), bare_name(name)
    if was == VERSION_TABLE:
        return _row(name, before.rows, after.rows if after else None, "explained" if after else "differs", "names the new revision")
    if after is None:
        dropped = ledger.of(DROPPED, table=was)
        verdict = "explained" if dropped else "differs"
        return _row(name, before.rows, None, verdict, ledger.reasons(dropped) or "the table is gone, and no migration drops it")
    texts, unexplained = [], []
    if target != name:
        texts.append(ledger.reasons([c for c in ledger.of(MOVED) if c.table == table]))
    if before.rows != after.rows:
        known = ledger.of(ROWS, FILLED, table=table)
        (texts if known else unexplained).append(ledger.reasons(known) or "%d rows before, %d after" % (before.rows, after.rows))
    _columns(table, before, after, ledger, texts, unexplained)
    if unexplained:
        return _row(target, before.rows, after.rows, "differs", "; ".join(unexplained))
    return _row(target, before.rows, after.rows, "explained" if texts else "equal", "; ".join(dict.fromkeys(texts)))


def _columns(table, before, after, ledger, texts, unexplained):
    """Add to ``texts`` what changed in columns and is known, to ``unexplained`` what is not."""
    # Where rows come or go, or the identity of rows is another, every column's sum changes: rows are explained as a whole.
    comparable = before.rows == after.rows and before.identity == after.identity
    known = {column: c for c in ledger.of(VALUES, table=table) for column in c.columns}
    gone = [column for column in before.columns if column not in after.columns]
    lost = [column for column in gone if not ledger.of(DROPPED, table="%s.%s" % (table, column))]
    if lost:
        unexplained.append("columns are gone, and no migration drops them: %s" % ", ".join(lost[:_SHOWN]))
    texts += [ledger.reasons(ledger.of(DROPPED, table="%s.%s" % (table, column))) for column in gone if column not in lost]
    changed = [c for c in before.columns if c in after.columns and before.columns[c] != after.columns[c]] if comparable else []
    strange = [column for column in changed if column not in known]
    if strange:
        unexplained.append("values changed, and no migration changes them: %s" % ", ".join(strange[:_SHOWN]))
    if before.rows == after.rows and not comparable and not ledger.of(ROWS, MOVED, table=table):
        unexplained.append("the rows are told apart by other columns than before: %s" % ", ".join(after.identity))
    touched = [known[column] for column in changed if column in known]
    texts += [ledger.reasons([change]) for change in dict.fromkeys(touched)]
    added = [column for column in after.columns if column not in before.columns]
    if added:
        texts.append("%d column%s added: %s%s" % (
            len(added), "" if len(added) == 1 else "s", ", ".join(added[:_SHOWN]), " …" if len(added) > _SHOWN else ""))


def _new(name, after, ledger):
    """Return the report row of a table that was not there before."""
    known = ledger.of(ADDED, FILLED, table=bare_name(name))
    filled = [c for c in known if c.kind == FILLED]
    if not known or (after.rows and not filled):
        why = "no migration makes this table" if not known else "a new table with %d rows that no migration writes" % after.rows
        return _row(name, 0, after.rows, "differs", why)
    return _row(name, 0, after.rows, "explained", ledger.reasons(filled if after.rows else known))
