# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reconciliation is asked to do, and what it decides, as plain data."""
from __future__ import annotations

from dataclasses import dataclass, field

from ...letta.work import ENTITIES

REPORT, APPLY = "report", "apply"
KEEP, DENY = "keep", "deny"


@dataclass(frozen=True)
class Options:
    """How to reconcile.

    :param idle_seconds: for how long nothing may have happened at what is closed; 0 where nobody works, as in a side database.
    :param approvals: requests for approval that wait are kept (``keep``) or denied (``deny``).
    """

    idle_seconds: int = 0
    approvals: str = KEEP


@dataclass(frozen=True)
class Change:
    """One row that is changed or added.

    :param values: column -> new value, JSON as plain data; of an added row all that is known. Columns a release lacks are left out.
    :param action: what is done, in words. :param reason: why.
    """

    table: str
    id: str
    values: dict
    action: str
    reason: str
    added: bool = False

    def as_dict(self):
        """Return the change in the words of report.json."""
        return {"entity": ENTITIES[self.table], "id": self.id, "action": self.action, "reason": self.reason}


@dataclass
class Plan:
    """What is to be done, and what is left as it is.

    :ivar changes: :class:`Change`, in the order in which they are written.
    :ivar waiting: requests for approval that stay. :ivar alive: what is under way, by its looks.
    :ivar left: what cannot be put right. Each is a list of {"entity", "id", "reason"}.
    """

    changes: list = field(default_factory=list)
    waiting: list = field(default_factory=list)
    alive: list = field(default_factory=list)
    left: list = field(default_factory=list)

    def change(self, table, row_id, action, reason, **values):
        """Note that a row is changed."""
        self.changes.append(Change(table, row_id, values, action, reason))

    def add(self, table, row, action, reason):
        """Note that a row is added."""
        self.changes.append(Change(table, row["id"], row, action, reason, added=True))

    def counts(self):
        """Return {table: (rows changed, rows added)}."""
        found: dict = {}
        for table in dict.fromkeys(change.table for change in self.changes):
            mine = [change for change in self.changes if change.table == table]
            added = {change.id for change in mine if change.added}
            found[table] = (len({change.id for change in mine} - added), len(added))
        return found


def noted(entity, row_id, reason):
    """Return an entry of what is left as it is."""
    return {"entity": entity, "id": row_id, "reason": reason}


def in_words(counts):
    """Return counts of one table as its explanation: ``3 reconciled, 1 added``."""
    changed, added = counts
    parts = ["%d reconciled" % changed] if changed else []
    return ", ".join(parts + (["%d added" % added] if added else []))
