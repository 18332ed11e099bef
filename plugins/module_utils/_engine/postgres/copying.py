# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""COPY into a database that is being loaded, by connections of our own; the text of one large table over several of them."""
from __future__ import annotations

import threading
import zlib
from contextlib import closing, contextmanager

from . import members, packing
from .archive import corrupt, data_columns
from .catalog import quote_ident, quote_table
from .connection import connect, lost, psycopg2
from .copytext import CopyError
from .refused import load_failed
from .schedule import SHARED_ROWS, Stopped, Task
from .sidedb import first_line

_CHUNK = 256 << 10


@contextmanager
def session(server, owner, settings, encoding):
    """Open a connection that loads.

    :param server: whose default database it is. :param owner: the role to work as. :param settings: of the server, ``{name: value}``.
    :param encoding: of text that is sent, by PostgreSQL's name.
    """
    with closing(connect(server, "letta_ops load")) as conn, conn.cursor() as cursor:
        for name, value in dict(settings, search_path="", client_encoding=encoding).items():
            cursor.execute("select pg_catalog.set_config(%s, %s, false)", (name, value))
        if owner != server.user:
            cursor.execute("set role %s" % quote_ident(owner))
        yield conn


def copy_in(conn, table, columns, read, stopped, options=""):
    """Send rows to a table; returns their number.

    :param table: (schema, name). :param read: function (size) -> bytes, empty at the end; what it raises is raised.
    :param stopped: a :class:`threading.Event` that ends it. :param options: of the statement.
    :raises RecoveryError: ``load_failed`` when the server refuses a row. :raises Stopped:
    """
    stream = _Kept(read, stopped)
    statement = "copy %s (%s) from stdin%s" % (quote_table(*table), ", ".join(map(quote_ident, columns)), options)
    try:
        with conn.cursor() as cursor:
            cursor.copy_expert(statement, stream, _CHUNK)
            return cursor.rowcount
    except psycopg2.Error as exc:
        if stream.error is not None:  # it reaches the server and comes back as the server's own
            raise stream.error from None
        text = "loading %s.%s of %s failed: %s" % (*table, conn.info.dbname, first_line(exc))
        raise lost("database %s" % conn.info.dbname, exc) or load_failed(text, exc) from None


def rows_of(schema, name):
    """Return the name of the tasks that load a table's rows."""
    return "rows of %s.%s" % (schema, name)


def readable(archive, entry):
    """Tell whether the rows of an entry can be read here, without pg_restore."""
    return members.file_of(archive, entry) is not None


def text_tasks(server, owner, archive, entry, settings, jobs):
    """Return tasks for :mod:`schedule` that load one table of an archive together, as many as ``jobs``, see :func:`rows_of`.

    Whoever of them is free takes the next lines: one unpacks, the server's own work, which is most of it, is shared. They can be
    divided as others cannot, so they begin last.
    """
    path = members.file_of(archive, entry)
    shared = _Shared(members.blocks(path))

    def run(stopped):
        with session(server, owner, settings, archive.encoding()) as conn:
            try:
                copy_in(conn, (entry.schema, entry.name), data_columns(entry), shared.read, stopped)
            except (CopyError, packing.Damaged, OSError, zlib.error, members.inflate.error) as exc:
                raise corrupt("%s, table %s.%s" % (archive.path, entry.schema, entry.name), exc) from None

    name = rows_of(entry.schema, entry.name)
    return [Task(archive.member_bytes(entry) / jobs, run, name, rank=SHARED_ROWS) for _number in range(jobs)]


class _Shared:
    """Hands out blocks of lines, each to one taker."""

    def __init__(self, blocks):
        self._blocks, self._lock = iter(blocks), threading.Lock()

    def read(self, _size):
        with self._lock:
            return next(self._blocks, b"")


class _Kept:
    """Reads until it is stopped, and keeps the error that ended it.

    What comes is handed on in small parts: libpq makes room for all that it is given at once, several times over.
    """

    def __init__(self, read, stopped):
        self._read, self._stopped, self.error = read, stopped, None
        self._left = memoryview(b"")

    def read(self, size=-1):
        """Return up to ``size`` bytes."""
        try:
            if self._stopped.is_set():
                raise Stopped
            if not self._left:
                self._left = memoryview(self._read(size))
            part, self._left = self._left[: size if size >= 0 else None], self._left[size:] if size >= 0 else memoryview(b"")
            return bytes(part)
        except Exception as exc:
            self.error = exc
            raise
