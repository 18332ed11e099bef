# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Letta's migrations do to rows, as data: a change that is not declared here is a failure of the migration.

Tables and columns made and dropped were measured by running each revision; changes of values and rows were read in the
migrations' code and measured on filled databases of 0.8.17 to 0.16.4.
"""
from __future__ import annotations

from dataclasses import dataclass

ADDED, DROPPED, MOVED, FILLED, ROWS, VALUES = "added", "dropped", "moved", "filled", "rows", "values"
# Before it, values that a migration changes are not declared: its databases are brought to this release first.
DECLARED_SINCE = "cce9a6174366"


@dataclass(frozen=True)
class Change:
    """One thing that a revision does to rows.

    :param kind: ``added`` (an empty table is made), ``dropped`` (a table, or ``table.column``), ``moved`` (rows of ``source`` are now
        in ``table``), ``filled`` (rows are written into a new table), ``rows`` (rows come or go), ``values`` (of ``columns``).
    :param why: half a sentence for the report.
    """

    kind: str
    revision: str
    table: str
    why: str
    columns: tuple = ()
    source: str = ""


# (revision, tables made, tables and columns dropped), oldest first.
SCHEMA = (
    ("ddecfe4902bc", "prompts", ""),
    ("f5d26b0526e8", "mcp_oauth", ""),
    ("74e860718e0d", "archival_passages archives archives_agents", "agent_passages archival_passages.agent_id"),
    ("5fb8bba2c373", "step_metrics", ""),
    ("54c76f7cabca", "passage_tags", ""),
    ("5973fd8b8c60", "agents_runs", ""),
    ("567e9fe06270", "runs", "agents_runs job_messages step_metrics.job_id steps.job_id"),
    ("c734cfc0d595", "run_metrics", ""),
    ("c6c43222e2de", "mcp_tools", ""),
    ("2dbb2cf49e07", "provider_models", ""),
    ("27de0f58e076", "conversation_messages conversations", ""),
    ("cf3c4d025dbc", "blocks_tags", ""),
    ("a1b2c3d4e5f7", "blocks_conversations", ""),
    ("a1b2c3d4e5f8", "provider_trace_metadata", ""),
)

CHANGES = (
    Change(MOVED, "74e860718e0d", "archival_passages", "passages belong to archives, no longer to one agent", source="agent_passages"),
    Change(FILLED, "74e860718e0d", "archives", "one archive for each agent with passages"),
    Change(FILLED, "74e860718e0d", "archives_agents", "each such agent owns its archive"),
    Change(VALUES, "eff256d296cb", "mcp_server", "secrets are encrypted", ("token_enc", "custom_headers_enc")),
    Change(VALUES, "eff256d296cb", "mcp_oauth", "secrets are encrypted", ("access_token_enc", "refresh_token_enc", "client_secret_enc")),
    Change(VALUES, "8149a781ac1b", "providers", "secrets are encrypted", ("api_key_enc", "access_key_enc")),
    Change(VALUES, "8149a781ac1b", "sandbox_environment_variables", "secrets are encrypted", ("value_enc",)),
    Change(VALUES, "8149a781ac1b", "mcp_oauth", "secrets are encrypted", ("authorization_code_enc",)),
    Change(VALUES, "9fa274fb0b83", "agents", "agents tagged role:subagent are hidden", ("hidden",)),
)


def moved_between(between):
    """Return ``{table before: table after}`` of the tables whose rows these revisions move."""
    moved = {}
    for change in changes_between(between):
        if change.kind == MOVED:
            first = next((name for name, target in moved.items() if target == change.source), change.source)
            moved[first] = change.table
    return moved


def changes_between(between):
    """Return the :class:`Change` of each revision run, in order.

    :param between: revision ids, oldest first.
    """
    found = []
    for revision in between:
        for name, made, dropped in SCHEMA:
            if name == revision:
                found += [Change(ADDED, revision, table, "a new table") for table in made.split()]
                found += [Change(DROPPED, revision, item, "%s is dropped" % item) for item in dropped.split()]
        found += [change for change in CHANGES if change.revision == revision]
    return found
