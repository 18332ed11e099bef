# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that stand where Letta does not look for them any more."""
from __future__ import annotations

from ...findings import WARN
from ...letta import releases
from ...letta.ciphers import COLUMNS
from .base import Check, Probe

# Up to 0.12 Letta read and wrote the plain columns too.
_SINCE = releases.position(releases.head_of("0.13.0"))


def _probe(table, pairs):
    check = "secrets.%s" % table
    told = " union all ".join(
        "select '%s', id || ' %s' from {s}.%s where {position} >= %d and %s is null and coalesce(%s::text, '') not in ('', 'null')"
        % (check, encrypted, table, _SINCE, encrypted, plain)
        for encrypted, plain in sorted(pairs.items())
    )
    return Probe(
        checks=(
            Check(
                check,
                "no secret of %s is left in the plain column alone" % table,
                "{count} secrets of %s stand in the plain column alone, where an upgrade left them: Letta does not read them" % table,
                "set the value again through the API, or restore with letta_encryption_key, which encrypts what an upgrade leaves",
                step="tools",
                severity=WARN,
            ),
        ),
        needs={table: ("id", *pairs, *pairs.values())},
        sql=told,
    )


PROBES = tuple(_probe(table, pairs) for table, pairs in sorted(COLUMNS.items()))
