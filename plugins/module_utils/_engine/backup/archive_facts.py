# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dump says about the database it came from: everything a manifest needs, without a server."""
from __future__ import annotations

import re
from contextlib import closing

from ..errors import RecoveryError
from ..postgres.archive import read_rows, table_columns
from ..postgres.archive_digest import digest_archive
from ..postgres.rowsums import in_words
from ..progress import Progress
from . import agents

SILENT = Progress(None)

_SETVAL = re.compile(r"setval\('.*',\s*(-?\d+),\s*(true|false)\)", re.DOTALL)
_NEXTVAL = re.compile(r"nextval\('((?:[^']|'')+)'(?:::regclass)?\)")
_OWNED_BY = re.compile(r"OWNED BY (.+);")


def sequence_values(archive):
    """Return ``{"schema.sequence": {"last_value", "is_called"}}`` as restoring the archive leaves them."""
    values = {}
    for entry in archive.entries:
        match = _SETVAL.search(entry.definition) if entry.type == "SEQUENCE SET" else None
        if match:
            values["%s.%s" % (entry.schema, entry.name)] = {"last_value": int(match.group(1)), "is_called": match.group(2) == "true"}
    return values


def letta_schema(archive):
    """Return the schema that holds ``alembic_version``. :raises RecoveryError: ``schema`` when there is none, or several."""
    found = [name.rsplit(".", 1)[0] for name in archive.tables() if name.rsplit(".", 1)[1] == "alembic_version"]
    if len(found) == 1:
        return found[0]
    what = "no table alembic_version" if not found else "alembic_version in several schemas (%s)" % ", ".join(found)
    raise RecoveryError("schema", "%s holds %s: this is no dump of a Letta database" % (archive.path, what), "nothing was adopted")


def revisions(archive, tools, schema):
    """Return the rows of ``alembic_version``, sorted."""
    return sorted(row[0] for row in rows(archive, tools, schema, "alembic_version", ("version_num",)))


def rows(archive, tools, schema, table, wanted):
    """Return the ``wanted`` columns of a table as a list of tuples; empty when the archive has no such rows or columns."""
    name = "%s.%s" % (schema, table)
    if name not in {"%s.%s" % (entry.schema, entry.name) for entry in archive.data_entries()}:
        return []
    columns, stream = read_rows(archive, tools, name)
    with closing(stream):
        if not set(wanted) <= set(columns):
            return []
        places = [columns.index(column) for column in wanted]
        return [tuple(row[place] for place in places) for row in stream]


def content(archive, tools, progress=SILENT):
    """Read revision, tables, sequences and agents out of an archive.

    :param archive: an opened archive.
    :returns: ``{"schema", "revisions", "tables", "sequences", "agents", "archives"}`` as a manifest holds them.
    :raises RecoveryError: ``schema`` for a dump that is not Letta's, ``backup_corrupt`` when its text is damaged.
    """
    schema = letta_schema(archive)
    columns = table_columns(archive)
    with_rows = {"%s.%s" % (entry.schema, entry.name) for entry in archive.data_entries()}
    groups = agents.group_columns({name: found for name, found in columns.items() if name in with_rows}, schema)
    digests = digest_archive(archive, tools, groups, progress)
    names = dict(rows(archive, tools, schema, "agents", ("id", "name")))
    links = rows(archive, tools, schema, agents.LINK_TABLE, ("agent_id", "archive_id"))
    owners = sequence_columns(archive)
    return dict(
        schema=schema,
        revisions=revisions(archive, tools, schema),
        tables=in_words(digests),
        sequences={name: dict(value, column=owners.get(name)) for name, value in sorted(sequence_values(archive).items())},
        agents=agents.agent_digests(digests, groups, names, links),
        archives=agents.passage_digests(digests, schema),
    )


def sequence_columns(archive):
    """Return ``{"schema.sequence": "schema.table.column"}`` from ownership and defaults, plain names only."""
    found = {}
    for entry in archive.entries:
        if entry.type == "SEQUENCE OWNED BY":
            match = _OWNED_BY.search(entry.definition)
            found["%s.%s" % (entry.schema, entry.name)] = match.group(1).replace('"', "") if match else None
        elif entry.type == "TABLE":
            for line in entry.definition.splitlines():
                match = _NEXTVAL.search(line)
                if match:
                    column = line.split()[0].strip('"')
                    found.setdefault(match.group(1).replace('"', ""), "%s.%s.%s" % (entry.schema, entry.name, column))
        elif entry.type == "DEFAULT":
            match = _NEXTVAL.search(entry.definition)
            if match:
                table, _space, column = entry.name.rpartition(" ")
                found.setdefault(match.group(1).replace('"', ""), "%s.%s.%s" % (entry.schema, table, column))
    return {name: column for name, column in found.items() if column}
