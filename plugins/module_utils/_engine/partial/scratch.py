# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A slice of an older backup, brought to live's schema: in a scratch database with the archive's own schema, by Letta's own migrations."""
from __future__ import annotations

import os
from contextlib import closing

from ..errors import LIVE_UNTOUCHED, RecoveryError
from ..letta import closure
from ..postgres import binarycopy, load, olderserver, sidedb
from ..postgres.catalog import quote_ident, quote_table
from ..postgres.connection import connect, conninfo, psycopg2, release_of
from ..postgres.listing import use_list
from ..postgres.tools import ToolFailed, run_tool
from ..restore.journal import NoJournal
from ..restore.migrate import migrate
from .slices import ROLE, Slice
from .workbench import Workbench

PURPOSE = "slice"


def bring_forward(server, cut, archive, tools, facts, options, progress):
    """Migrate a slice.

    :param server: admin :class:`Server`. :param cut: :class:`Slice` as cut from the archive.
    :param facts: ``database`` part of the manifest. :param options: :class:`MigrateOptions` (``database``: name for the scratch database).
    :returns: (:class:`Slice` in ``<folder>/migrated``, findings of the migration).
    :raises RecoveryError: as :func:`restore.migrate.migrate`; the scratch database is dropped in any case.
    """
    oid, _warnings = sidedb.create_side_database(server, options.database, facts["owner_here"], dict(facts, settings=facts.get("settings")))
    scratch = server.database(options.database)
    try:
        _define(scratch, archive, tools, facts["owner_here"], ("pre-data",))
        _fill(scratch, cut, options.schema)
        _define(scratch, archive, tools, facts["owner_here"], ("post-data",))
        _refer(scratch, archive)
        outcome = migrate(server, options, NoJournal(), progress)
        return _take_out(scratch, cut), outcome["findings"]
    except psycopg2.Error as exc:
        raise RecoveryError(
            "load_failed", "the rows wanted could not be brought forward in %s: %s" % (options.database, sidedb.first_line(exc)),
            now=LIVE_UNTOUCHED, next_step="restore the whole set beside: ansible-playbook playbooks/restore-full.yml --tags stage,migrate",
        ) from None  # fmt: skip
    finally:
        sidedb.drop_database(server, options.database, oid)


def _define(scratch, archive, tools, owner, sections):
    """Run the archive's definitions of these sections, foreign keys apart."""
    foreign = {entry.id for entry in archive.entries if entry.type == "FK CONSTRAINT"}
    wanted = [number for number in load.entries_to_load(archive) if number not in foreign]
    further, forgiven = olderserver.way(tools, release_of(scratch))
    with use_list("%d;\n" % number for number in wanted) as listing:
        argv = [tools.path("pg_restore"), *further, "--no-owner", "--no-password", "--use-list=" + listing]
        argv += ["--section=" + section for section in sections] + ["--dbname=" + conninfo(scratch.dbname)]
        argv += ["--role=" + owner] if owner != scratch.user else []
        try:
            run_tool(argv + [archive.path], scratch, env={"PGOPTIONS": load.session_options(1)}, forgiven=forgiven)
        except ToolFailed as exc:
            raise RecoveryError(
                "load_failed", "the archive's schema could not be made in %s: %s" % (scratch.dbname, load.first_error(exc.stderr)),
                now=LIVE_UNTOUCHED,
            ) from None


def _fill(scratch, cut, schema):
    with closing(connect(scratch, autocommit=False)) as conn, conn.cursor() as cursor:
        for table, facts in cut.tables.items():
            if not facts["rows"]:
                continue
            names, (options, encoding) = ", ".join(map(quote_ident, facts["columns"])), cut.form(table)
            cursor.execute("select pg_catalog.set_config('client_encoding', %s, false)", (encoding,))
            # The role of a row is worked out again afterwards: migrations move rows between tables.
            with open(cut.path(table), "rb") as stream:
                rows = _bare(stream, len(facts["columns"])) if options else _bare_lines(stream)
                cursor.copy_expert("copy %s (%s) from stdin%s" % (quote_table(schema, table), names, options), _Joined(rows))
        conn.commit()


def _refer(scratch, archive):
    """Add the foreign keys by name, for migrations that drop them, without asking rows that refer to what was left behind."""
    with closing(connect(scratch)) as conn, conn.cursor() as cursor:
        for entry in archive.entries:
            if entry.type == "FK CONSTRAINT":
                cursor.execute(entry.definition.rstrip().rstrip(";").removesuffix(" NOT VALID") + " NOT VALID")


def _take_out(scratch, cut):
    """Cut the same closure out of the migrated rows."""
    folder = os.path.join(cut.folder, "migrated")
    os.mkdir(folder, 0o700)
    made = Slice(folder, cut.roots)
    with closing(connect(scratch, autocommit=False, canonical=True)) as conn, conn.cursor() as cursor:
        bench = Workbench(cursor, scratch.dbname)
        bench.roots = cut.roots
        bench.present = [table for table in closure.tables_in_order() if table in bench.tables]
        bench.survey_all()
        for table in bench.present:
            names = [quote_ident(name) for name in bench.tables[table].columns]
            with made.create(table) as stream:
                cursor.copy_expert(
                    "copy (select f.%s, %s from %s f join %s t on %s) to stdout"
                    % (
                        ROLE, ", ".join("t." + name for name in names), bench.found(table), bench.live(table),
                        bench.same_key(table, "f", "t"),
                    ),
                    stream,
                )  # fmt: skip
            made.tables[table] = {"columns": list(bench.tables[table].columns), "rows": cursor.rowcount}
    made.save()
    return made


def _bare_lines(stream):
    return (line.partition(b"\t")[2] for line in stream)


def _bare(stream, width):
    yield binarycopy.HEADER
    for _row, fields in binarycopy.rows(stream, width + 1):
        yield binarycopy.row_of(fields[1:])
    yield binarycopy.TRAILER


class _Joined:
    """Reads the rows of a slice's file, without their role; memory: one row."""

    def __init__(self, rows):
        self._lines, self._rest = rows, b""

    def read(self, size=-1):
        """Return up to ``size`` bytes, for COPY."""
        parts, length = [self._rest], len(self._rest)
        while size < 0 or length < size:
            line = next(self._lines, None)
            if line is None:
                break
            parts.append(line)
            length += len(parts[-1])
        data = b"".join(parts)
        if size < 0:
            self._rest = b""
            return data
        self._rest = data[size:]
        return data[:size]
