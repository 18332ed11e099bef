# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Per-agent digests: everything that belongs to one agent, in one line that can be compared."""
from __future__ import annotations

import hashlib
import json

from ..letta import entities

# Rows that hang on an agent's archive instead of the agent itself.
ARCHIVE_KEY_COLUMNS = {"archives": "id", "archival_passages": "archive_id", "passage_tags": "archive_id"}
LINK_TABLE = "archives_agents"
# What the rules of a closure ask of tables with vectors, those of before 0.11.0 too.
VECTOR_KEYS = {
    "archival_passages": ("archive_id",), "source_passages": ("source_id", "file_id"), "agent_passages": ("agent_id",),
}  # fmt: skip
PASSAGES = "archival_passages"


def group_columns(columns, schema):
    """Return ``{"schema.table": column}``: by what the digest of each table is also summed up.

    :param columns: ``{"schema.table": [column]}`` of the database or archive.
    :param schema: the schema Letta lives in; other schemas have no agents.
    """
    groups = {}
    for name, names in columns.items():
        place, table = name.split(".", 1)
        column = entities.agent_group_column(table, names) or ARCHIVE_KEY_COLUMNS.get(table)
        if place == schema and column in names:
            groups[name] = column
    return groups


def key_columns(schema):
    """Return ``{"schema.table": [column]}``: by what the rows of tables with vectors are looked for when single agents come back."""
    return {"%s.%s" % (schema, table): columns for table, columns in VECTOR_KEYS.items()}


def agent_digests(digests, columns, names, links):
    """Build the ``agents`` part of a manifest.

    :param digests: ``{"schema.table": TableDigest}`` with groups by :func:`group_columns`.
    :param columns: the result of :func:`group_columns` those digests were made with.
    :param names: ``{agent id: name}``.
    :param links: ``[(agent id, archive id)]``.
    :returns: ``{agent id: {"name", "digest": "sha256:…"}}``. The digest is over the sorted JSON list of
        ``[table, rows, digest]`` of the agent's rows and of ``[table/archive id, rows, digest]`` of its archives' rows.
    """
    parts = {agent: [] for agent in names}
    archives = {}
    for agent, archive in links:
        archives.setdefault(archive, []).append(agent)
    for name, column in columns.items():
        table = name.split(".", 1)[1]
        by_archive = ARCHIVE_KEY_COLUMNS.get(table) == column
        for key, (rows, digest) in digests[name].groups.items() if name in digests else ():
            if by_archive:
                for agent in archives.get(key, ()):
                    parts.get(agent, []).append(["%s/%s" % (table, key), rows, digest])
            elif key in parts:
                parts[key].append([table, rows, digest])
    return {agent: {"name": names[agent], "digest": _sha(parts[agent])} for agent in sorted(names)}


def passage_digests(digests, schema):
    """Return the ``archives`` part of a manifest: ``{archive id: [rows, digest] of its passages}``; archives without any are left out."""
    found = digests.get("%s.%s" % (schema, PASSAGES))
    return {key: list(value) for key, value in sorted(found.groups.items()) if key} if found else {}


def _sha(parts):
    text = json.dumps(sorted(parts), separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode("utf-8")).hexdigest()
