# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks ask of a database: one read-only connection and its catalog."""
from __future__ import annotations

from contextlib import closing, contextmanager

from ..findings import FAIL, PASS, Finding
from ..letta import releases
from ..letta.entities import VERSION_TABLE
from ..postgres.connection import connect, sql


@contextmanager
def open_context(server):
    """Give a :class:`Context` on a read-only connection to the server's default database."""
    with closing(connect(server, application_name="letta_ops validate", canonical=True)) as conn:
        conn.set_session(readonly=True, autocommit=True)
        with conn.cursor() as cursor:
            # Names of types and operators then mean PostgreSQL's own; everything of Letta's is named with its schema.
            cursor.execute("set search_path to pg_catalog")
            yield Context(conn, cursor)


class Context:
    """One database under examination.

    :ivar connection: the read-only connection. :ivar cursor: on it.
    :ivar schema: the schema with Letta's tables, or None.
    :ivar tables: table -> set of its columns, in that schema.
    """

    def __init__(self, connection, cursor):
        self.connection, self.cursor, self._names = connection, cursor, {}
        self.schema = self._find_schema()
        self.tables = self._read_columns()

    def fetch(self, text, params=None):
        """Run a statement as it stands and return its rows."""
        self.cursor.execute(text, params)
        return self.cursor.fetchall()

    def rows(self, text, params=None, **names):
        """Run a statement with identifiers filled in (``{s}`` is Letta's schema) and return its rows."""
        identifiers = {key: sql.Identifier(value) for key, value in dict(names, s=self.schema).items() if value is not None}
        return self.fetch(sql.SQL(text).format(**identifiers), params)

    def probe(self, text, maybe):
        """Run a probe's statement and return its rows; see :class:`~.checks.base.Probe` for ``maybe`` and the names in it."""
        if not self._names:
            self._names = dict(s=sql.Identifier(self.schema), position=sql.Literal(self.position()))
        names = dict(self._names)
        for name, (table, column, otherwise) in maybe.items():
            names[name] = sql.Identifier(column) if column in self.tables.get(table, ()) else sql.SQL(otherwise)
        return self.fetch(sql.SQL(text).format(**names))

    def position(self):
        """Return the revision's place in Letta's chain of migrations; behind its end for one that is unknown."""
        found = [releases.position(revision) for revision in self.revisions() or ()]
        return max((place for place in found if place is not None), default=len(releases.all_revisions()) + 1)

    def column(self, text):
        """Run a statement with one ``%s``, the quoted name of Letta's schema, and return its only column."""
        return [row[0] for row in self.fetch(text, (self._quoted_schema(),))]

    def finding(self, check, offenders, passed, failed, severity=FAIL):
        """Return the finding of a list of offenders, which is empty when the check holds."""
        count = len(offenders)
        return Finding(check, severity if count else PASS, failed.replace("{count}", str(count)) if count else passed, count, offenders)

    def not_applicable(self, check, reason):
        """Return the finding of a check that this revision has nothing for."""
        return Finding(check, PASS, "not applicable at this revision: %s" % reason)

    def revisions(self):
        """Return the rows of alembic_version, sorted; None without that table."""
        if self.schema is None or VERSION_TABLE not in self.tables:
            return None
        return sorted(row[0] for row in self.rows("select version_num from {s}.{table}", table=VERSION_TABLE))

    def passage_tables(self):
        """Return ``(table, declared dimensions or -1)`` for each column ``embedding`` of type vector."""
        return self.fetch(
            """select t.relname, a.atttypmod from pg_attribute a join pg_class t on t.oid = a.attrelid join pg_type y on y.oid = a.atttypid
               where t.relnamespace = %s::regnamespace and t.relkind = 'r' and a.attname = 'embedding' and y.typname = 'vector'
                 and not a.attisdropped order by 1""",
            (self._quoted_schema(),),
        )

    def extension_schema(self, name):
        """Return the schema an extension is installed in, or None."""
        rows = self.fetch(
            "select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = %s", (name,)
        )
        return rows[0][0] if rows else None

    def schema_has_table(self, schema, table):
        """Tell whether a table (or view) of that name is in a schema."""
        return bool(
            self.fetch(
                """select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace
                   where n.nspname = %s and c.relname = %s and c.relkind in ('r', 'p', 'v', 'm', 'f')""",
                (schema, table),
            )
        )

    def visible_schemas(self, role):
        """Return the schemas a role looks through in this database, in order, without those it may not use; None for no such role."""
        if not self.fetch("select 1 from pg_roles where rolname = %s", (role,)):
            return None
        wanted = [role if name == "$user" else name for name in split_path(self._search_path(role) or '"$user", public')]
        usable = self.fetch(
            "select nspname from pg_namespace where nspname = any(%s) and has_schema_privilege(%s, oid, 'USAGE')", (wanted, role)
        )
        return [name for name in wanted if (name,) in usable]

    def has_search_path(self, role):
        """Tell whether a search_path is set for the role, this database, or both."""
        return self._search_path(role) is not None

    def may_use_schema(self, role):
        """Tell whether a role may use Letta's schema."""
        return self.fetch("select has_schema_privilege(%s, %s::regnamespace, 'USAGE')", (role, self._quoted_schema()))[0][0]

    def _search_path(self, role):
        # The order in which PostgreSQL lets the settings of databases and roles win.
        rows = self.fetch(
            """select substr(c.line, 13) from pg_db_role_setting s cross join lateral unnest(s.setconfig) as c(line)
               where c.line like 'search_path=%%'
                 and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
                 and s.setrole in (0, (select oid from pg_roles where rolname = %s))
               order by (s.setrole <> 0 and s.setdatabase <> 0) desc, s.setrole <> 0 desc, s.setdatabase <> 0 desc limit 1""",
            (role,),
        )
        return rows[0][0] if rows else None

    def sequence_exists(self, name):
        """Tell whether the sequence is in Letta's schema."""
        return self.sequence_increment(name) is not None

    def sequence_increment(self, name):
        """Return a sequence's step, or None when it does not exist."""
        rows = self.fetch(
            """select q.seqincrement from pg_sequence q join pg_class c on c.oid = q.seqrelid
               where c.relnamespace = %s::regnamespace and c.relname = %s""",
            (self._quoted_schema(), name),
        )
        return rows[0][0] if rows else None

    def column_default(self, table, column):
        """Return the text of a column's default, or an empty string."""
        rows = self.fetch(
            """select pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d join pg_class c on c.oid = d.adrelid
               join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
               where c.relnamespace = %s::regnamespace and c.relname = %s and a.attname = %s""",
            (self._quoted_schema(), table, column),
        )
        return rows[0][0] if rows else ""

    def server_major(self):
        """Return the server's major version, an int."""
        return self.connection.server_version // 10000

    def current_user(self):
        """Return the role of the connection."""
        return self.fetch("select current_user")[0][0]

    def _quoted_schema(self):
        return '"%s"' % self.schema.replace('"', '""')

    def _find_schema(self):
        """Letta's schema: by the database's own name, else ``letta``, else ``public``, else whichever holds its tables."""
        rows = self.fetch(
            """select n.nspname from pg_namespace n join pg_class c on c.relnamespace = n.oid
               where c.relkind = 'r' and c.relname in ('agents', %s) group by n.nspname
               order by count(*) desc, n.nspname = current_database() desc, n.nspname = 'letta' desc, n.nspname = 'public' desc, 1""",
            (VERSION_TABLE,),
        )
        return rows[0][0] if rows else None

    def _read_columns(self):
        tables = {}
        if self.schema is None:
            return tables
        rows = self.fetch(
            """select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
               where c.relnamespace = %s::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped""",
            (self._quoted_schema(),),
        )
        for table, name in rows:
            tables.setdefault(table, set()).add(name)
        return tables


def split_path(text):
    """Return the names of a search_path as PostgreSQL stores it: ``"$user", public`` -> ``["$user", "public"]``."""
    names, name, quoted, at = [], "", False, 0
    while at < len(text):
        letter = text[at]
        if letter == '"':
            if quoted and text[at + 1 : at + 2] == '"':
                name, at = name + '"', at + 1
            else:
                quoted = not quoted
        elif letter == "," and not quoted:
            names, name = names + [name], ""
        elif quoted or not letter.isspace():
            name += letter if quoted else letter.lower()
        at += 1
    return [entry for entry in names + [name] if entry]
