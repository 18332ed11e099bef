# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the secrets of a slice open under the key of the servers that will read them; no value is shown or kept."""
from __future__ import annotations

from ..letta import ciphers
from ..letta.memory import GIT_TAG
from ..postgres.copytext import CODECS, NULL, unescape
from ..restore import keycheck


def check_key(cut, set_id, key, progress):
    """Try the key on every encrypted value of a slice.

    :param cut: a :class:`~.slices.Slice`. :param key: ``LETTA_ENCRYPTION_KEY`` of the servers, or empty.
    :returns: (counts for the plan, warnings) as :func:`restore.keycheck.check_key`.
    :raises RecoveryError: ``key_mismatch`` with counts.
    """
    columns = {}
    for table, known in ciphers.COLUMNS.items():
        there = cut.tables.get(table, {}).get("columns", [])
        for name in [name for name in known if name in there]:
            columns["%s.%s" % (table, name)] = column = keycheck.Column()
            for value in values(cut, table, name):
                column.add(value)
    return keycheck.judge(columns, set_id, key, progress)


def values(cut, table, column):
    """Yield one column of a slice's table, text or None; memory: one row."""
    place = cut.tables[table]["columns"].index(column) + 1  # behind the role
    codec = CODECS.get(cut.encoding, "utf-8")
    with open(cut.path(table), "rb") as stream:
        for line in stream:
            field = line.rstrip(b"\n").split(b"\t")[place]
            yield None if field == NULL else unescape(field).decode(codec)


def git_backed(cut):
    """Return the ids of agents of the slice whose memory is in a git repository of a volume, of which the blocks are a copy."""
    if "agents_tags" not in cut.tables:
        return []
    rows = zip(values(cut, "agents_tags", "agent_id"), values(cut, "agents_tags", "tag"))
    return sorted({agent for agent, tag in rows if tag == GIT_TAG})
