# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What in a Letta database makes a server call somebody, or would let it: emptied in a throw-away copy before a server sees it.

Columns as of Letta 0.16.8 and before; a copy has those of its own schema. Secrets are all of :data:`.ciphers.COLUMNS`.
"""
from __future__ import annotations

from .ciphers import COLUMNS

# An address that no resolver knows (RFC 2606).
NOWHERE = "http://rehearsal.invalid/"
CHAT_MODEL, EMBEDDING_MODEL = "gpt-4o-mini", "text-embedding-3-small"

# (table, column, new value or None for NULL). Below one, Letta 0.16.8 starts no background turn (groups/sleeptime_multi_agent_v4.py); a
# restore puts back a zero, which it takes for its own.
VALUES = (
    ("groups", "sleeptime_agent_frequency", -1),
    ("runs", "callback_url", None),
    ("jobs", "callback_url", None),
    ("mcp_server", "server_url", NOWHERE),
    ("mcp_server", "stdio_config", None),
    ("mcp_oauth", "server_url", NOWHERE),
    ("mcp_oauth", "authorization_url", None),
    ("providers", "base_url", NOWHERE),
    # Overrides of an agent's model.
    ("conversations", "model", None),
    ("conversations", "model_settings", None),
    ("agents", "compaction_settings", None),
)


def model_settings(url):
    """Return ``{(table, column): keys to set in its JSON}`` that lead every agent to the model service at ``url``.

    Without reasoning, since Letta then uses chat completions; the dimension of vectors stays what it is.
    """
    chat = {
        "model": CHAT_MODEL, "handle": "openai/" + CHAT_MODEL, "model_endpoint_type": "openai", "model_endpoint": url,
        "provider_name": "openai", "provider_category": "base", "model_wrapper": None, "enable_reasoner": False, "reasoning_effort": None,
        "max_reasoning_tokens": 0, "verbosity": None,
    }  # fmt: skip
    vectors = {
        "embedding_endpoint_type": "openai", "embedding_endpoint": url, "embedding_model": EMBEDDING_MODEL,
        "handle": "openai/" + EMBEDDING_MODEL,
    }  # fmt: skip
    return {("agents", "llm_config"): chat, **{(table, "embedding_config"): vectors for table in ("agents", "archives", "sources")}}


def secret_columns():
    """Return ``[(table, column)]`` of everything that holds a secret, encrypted or from before there was encryption."""
    return [(table, column) for table, pairs in sorted(COLUMNS.items()) for pair in sorted(pairs.items()) for column in pair]
