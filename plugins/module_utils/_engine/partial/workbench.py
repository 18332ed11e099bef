# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One transaction on the live database, with the slice in temporary tables beside what live has of the same closure.

``pg_temp."s_<table>"`` holds the rows to come, ``pg_temp."l_<table>"`` which rows of live belong to the closure. Nothing but
temporary tables is written here; they go with the transaction.
"""
from __future__ import annotations

from contextlib import contextmanager

from ..backup import versions
from ..errors import LIVE_UNTOUCHED, RecoveryError
from ..letta import closure
from ..letta.closure import Rule
from ..postgres.catalog import quote_ident, quote_table
from ..postgres.connection import connect, lost, psycopg2
from ..postgres.relations import insert_order, read_relations
from ..postgres.rowsums import record_text
from ..postgres.sidedb import first_line
from .slices import ROLE

# Columns that Letta or a restore moves on by itself: they are no difference.
COUNTERS = {"block": ("version",)}


class Workbench:
    """The open transaction.

    :ivar tables: {name: :class:`~..postgres.relations.Table`} of live. :ivar foreign: its foreign keys.
    :ivar order: tables so that parents come first. :ivar loose: foreign keys to be set afterwards.
    :ivar present: tables of the slice, in the order of the rules.
    """

    def __init__(self, cursor, database):
        self.cursor, self.database = cursor, database
        self.schema = versions.letta_schema(cursor, database)
        self.tables, self.foreign = read_relations(cursor, self.schema, closure.KEYS)
        self.order, self.loose = insert_order(self.tables, self.foreign)
        self.present = []
        self.roots = {}
        self.added = {}  # {table: [keys]} of rows that a run made, when it is taken back
        self.listed = {}  # {"table.column": [ids]} that a run puts into lists, see links.py
        self.new_order = False  # messages get other sequence numbers than were saved

    def run(self, statement, params=None):
        """Run a statement in which ``{name}`` of a table was filled in by :meth:`live`, :meth:`saved` or :meth:`found`."""
        self.cursor.execute(statement, params)

    def rows(self, statement, params=None):
        """Run a statement and return its rows."""
        self.cursor.execute(statement, params)
        return self.cursor.fetchall()

    def live(self, table):
        """Return the SQL name of a live table."""
        return quote_table(self.schema, table)

    @staticmethod
    def saved(table):
        """Return the SQL name of the rows to come of a table."""
        return 'pg_temp.' + quote_ident("s_" + table)

    @staticmethod
    def found(table):
        """Return the SQL name of the rows of live that belong to the closure."""
        return 'pg_temp.' + quote_ident("l_" + table)

    def digest(self, table, alias):
        """Return the SQL expression of the content of a row, without counters."""
        skipped = COUNTERS.get(table, ()) + (("sequence_id",) if table == "messages" and self.new_order else ())
        return "md5(%s)" % record_text([item for item in self.tables[table].sends if item[0] not in skipped], alias)

    def key_text(self, table, alias):
        """Return the SQL expression of a row's key as one text."""
        return "concat_ws('/', %s)" % ", ".join("%s.%s::text" % (alias, quote_ident(column)) for column in self.tables[table].key)

    def same_key(self, table, left, right):
        """Return the SQL condition that two rows are the same one."""
        columns = map(quote_ident, self.tables[table].key)
        return " and ".join("%s.%s = %s.%s" % (left, column, right, column) for column in columns)

    def load(self, cut):
        """Bring the rows of a slice into temporary tables of live's own types.

        :raises RecoveryError: ``schema`` when a table has other columns here.
        """
        self.roots, self.added = cut.roots, cut.added
        for table in [name for name in closure.tables_in_order() if name in cut.tables]:
            facts = cut.tables[table]
            if table not in self.tables or set(facts["columns"]) != set(self.tables[table].columns):
                raise _other_columns(table, facts["columns"], self.tables.get(table))
            names = ", ".join(map(quote_ident, facts["columns"]))
            self.run(
                "create temporary table %s on commit drop as select ''::text as %s, %s from %s with no data"
                % (quote_ident("s_" + table), ROLE, names, self.live(table))
            )
            self.present.append(table)
            if facts["rows"]:
                options, encoding = cut.form(table)
                self.run("select pg_catalog.set_config('client_encoding', %s, true)", (encoding,))
                with open(cut.path(table), "rb") as stream:
                    self.cursor.copy_expert("copy %s (%s, %s) from stdin%s" % (self.saved(table), ROLE, names, options), stream)
        self.run("select pg_catalog.set_config('client_encoding', 'UTF8', true)")

    def survey(self, sets):
        """Find the rows of live that belong to the closure of ``sets`` ({root: ids}): by the same rules, those that may be rewritten.

        A thing that others may use is looked at only where the slice has it too: what the agent uses besides is not ours.
        """
        self._find(sets, (closure.OWN, closure.POINTER, closure.SHARED, closure.PART), everything=False)

    def survey_all(self):
        """Find the whole closure of the roots, whatever the slice has: this *is* where the slice is taken from."""
        self._find(self.roots, closure.ROLES, everything=True)

    def _find(self, sets, roles, everything):
        self.run("drop table if exists %s" % ", ".join(self.found(table) for table in self.present))
        for table in self.present:
            wanted = [
                (rule, condition)
                for rule in sorted(closure.RULES, key=lambda rule: closure.ROLES.index(rule.role))
                if rule.table == table and rule.role in roles
                for condition in [self._condition(rule, sets, everything)]
                if condition
            ]
            if self.added.get(table):
                made = Rule(table, "", "", closure.OWN, "made by the run that is taken back")
                text = "t.id" if self.tables[table].key == ("id",) else self.key_text(table, "t")
                wanted.append((made, "%s = any(%%(added.%s)s)" % (text, table)))
            columns = ", ".join("t." + quote_ident(name) for name in self.found_columns(table))
            role = "case %s end" % " ".join("when %s then '%s'" % (condition, rule.role) for rule, condition in wanted) if wanted else "''"
            self.run(
                "create temporary table %s on commit drop as select %s as %s, %s, %s as __digest from %s t where %s"
                % (
                    quote_ident("l_" + table), role, ROLE, columns, self.digest(table, "t"), self.live(table),
                    " or ".join("(%s)" % condition for _rule, condition in wanted) or "false",
                ),
                dict({name: list(ids) for name, ids in sets.items()}, **{"added." + name: keys for name, keys in self.added.items()}),
            )  # fmt: skip

    def found_columns(self, table):
        """Return the columns that :meth:`survey` keeps of a table: its key, what rules ask for, and whose row it is."""
        asked = {closure.source_of(rule)[1].partition(":")[0] for rule in closure.RULES if closure.source_of(rule)[0] == table}
        asked |= set(self.tables[table].key) | {"agent_id", "manager_agent_id", "conversation_id", "group_id"}
        asked |= {"file_id", "source_id", "archive_id", "block_id"}
        return sorted(asked & set(self.tables[table].columns))

    def _condition(self, rule, sets, everything):
        """Return the SQL condition of a rule on live's row ``t``; empty when it cannot select one."""
        table, name = closure.source_of(rule)
        if rule.column not in self.tables[rule.table].columns:
            return ""
        column = "t." + quote_ident(rule.column)
        if rule.role in (closure.SHARED, closure.POINTER) and not everything:
            return "%s in (select %s from %s where %s = '%s')" % (column, quote_ident(rule.column), self.saved(rule.table), ROLE, rule.role)
        if table is None:
            return "%s = any(%%(%s)s)" % (column, name) if sets.get(name) else ""
        if table not in self.present or name.partition(":")[0] not in self.tables[table].columns:
            return ""
        # What a run made and is taken back goes with its parts.
        roles = ", ".join("'%s'" % role for role in closure.FOLLOWS[rule.role] + ((closure.OWN,) if self.added else ()))
        name, _colon, path = name.partition(":")
        value = "%s #>> '{%s}'" % (quote_ident(name), path.replace(".", ",")) if path else quote_ident(name)
        return "%s in (select %s from %s where %s in (%s))" % (column, value, self.found(table), ROLE, roles)


@contextmanager
def opened(server, patience=60, name="letta_ops partial"):
    """Yield a :class:`Workbench` in one transaction that is rolled back unless the block commits it.

    :param server: who may write Letta's tables. :param patience: seconds to wait for a lock. :param name: shown by ``pg_stat_activity``.
    :raises RecoveryError: ``preflight`` when a temporary table cannot be made, or the connection is lost; ``load_failed`` with
        PostgreSQL's own words else.
    """
    conn = connect(server, application_name=name, autocommit=False, canonical=True)
    try:
        with conn.cursor() as cursor:
            cursor.execute("set local statement_timeout = 0")
            cursor.execute("set local idle_in_transaction_session_timeout = 0")
            cursor.execute("set local lock_timeout = %s", ("%ds" % patience,))
            cursor.execute("set local row_security = off")
            yield Workbench(cursor, server.dbname)
    except psycopg2.errors.InsufficientPrivilege as exc:
        raise RecoveryError(
            "preflight",
            "role %s may not do this in %s: %s" % (server.user, server.dbname, first_line(exc)),
            now=LIVE_UNTOUCHED,
            next_step="use the owner of Letta's tables; GRANT TEMPORARY ON DATABASE %s TO %s" % (server.dbname, server.user),
        ) from None
    except psycopg2.errors.LockNotAvailable as exc:
        raise RecoveryError(
            "locked", "somebody holds rows of these agents for more than %d s: %s" % (patience, first_line(exc)), now=LIVE_UNTOUCHED,
            next_step="look who it is in pg_stat_activity, wait, and run the same command again",
        ) from None  # fmt: skip
    except psycopg2.Error as exc:
        gone = lost(server, exc)
        if gone:
            raise gone from None
        raise RecoveryError(
            "load_failed", "PostgreSQL refused in %s: %s" % (server.dbname, first_line(exc)), now=LIVE_UNTOUCHED,
            next_step="run the same command again with -vvv",
        ) from None  # fmt: skip
    finally:
        conn.close()


def _other_columns(table, saved, live):
    found = set(live.columns) if live else set()
    named = ", ".join(sorted(set(saved) ^ found)) if live else "the table itself"
    return RecoveryError(
        "schema",
        "table %s of the backup and of the live database differ (%s), though both are at the same revision" % (table, named),
        now=LIVE_UNTOUCHED,
        next_step="restore the whole set beside the live one: ansible-playbook playbooks/restore-full.yml --tags stage,migrate,validate",
    )
