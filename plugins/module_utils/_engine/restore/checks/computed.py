# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that are computed, not declared as SQL; their sentences are made where they are computed. Here is what they mean."""
from __future__ import annotations

from ...letta.entities import VECTOR_DIMS
from .base import Check


def _check(name, step, meaning, advice, severity="fail"):
    return Check(name, meaning, "", advice, step, severity)


_VECTORS = "every vector is %d wide" % VECTOR_DIMS
_REEMBED = "restore the passages from a set where they were whole"

COMPUTED = (
    _check("schema.found", "schema", "a schema of the database holds Letta's tables", "check letta_db_name; the database may be empty"),
    _check("revision.known", "schema", "the database names one Alembic revision, one of Letta's", "see docs/migrations.md"),
    _check("revision.expected", "schema", "the revision is the one that the release needs", "restore with the release that will run"),
    _check("schema.constraints", "integrity", "every constraint is validated", "VALIDATE CONSTRAINT, after mending the rows it names"),
    _check(
        "schema.primary_keys", "integrity", "every table of entities has its primary key",
        "restore again: a load was cut short; rows may be missing too",
    ),
    _check("schema.indexes", "integrity", "every index is valid and ready", "REINDEX INDEX"),
    _check(
        "schema.collations", "integrity", "every index is sorted as the collation library sorts now",
        "REINDEX DATABASE, then ALTER DATABASE … REFRESH COLLATION VERSION (a restore beside live builds every index anew)", "warn",
    ),
    _check(
        "integrity.amcheck", "integrity", "pg_amcheck finds no damage in tables and indexes (where the extension amcheck is installed)",
        "REINDEX a damaged index; a damaged table is restored from a set. Look for failing disks",
    ),
    _check("names.search_path", "integrity", "Letta's role finds Letta's tables by their bare names", "ALTER DATABASE … SET search_path"),
    _check(
        "names.vector", "integrity", "the extension vector is where Letta's role sees it",
        "ALTER EXTENSION vector SET SCHEMA, or install it: CREATE EXTENSION vector",
    ),
    _check("sequence.message_seq_id", "integrity", "the sequence of messages is above every message", "setval to the highest value"),
    _check("vectors.agent_passages", "integrity", _VECTORS, _REEMBED),
    _check("vectors.archival_passages", "integrity", _VECTORS, _REEMBED),
    _check("vectors.source_passages", "integrity", _VECTORS, _REEMBED),
    _check("vectors.dimensions", "integrity", "there is no table of passages to look at", "nothing"),
    _check(
        "queries.agents", "queries", "the first page of agents is the one recorded at backup time",
        "compare agents with the set; restore again if rows are missing",
    ),
    _check(
        "queries.messages", "queries", "a page of one agent's messages is the one recorded at backup time",
        "compare the agent's messages with the set; restore again if rows are missing",
    ),
    _check(
        "queries.passages", "queries", "searches for the nearest passages give the answers recorded at backup time",
        "compare the passages with the set; look at pgvector's version",
    ),
)  # fmt: skip
