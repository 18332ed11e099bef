# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory blocks: their labels, sizes and histories."""
from __future__ import annotations

from ...findings import WARN
from .base import Check, Probe

BLOCKS = Probe(
    checks=(
        Check(
            "blocks.limit",
            "every block's text is within its limit",
            "{count} blocks hold more text than their limit: the next edit of such a block is refused",
            "raise the block's limit or shorten its text",
            step="state",
            severity=WARN,
        ),
        Check(
            "blocks.history_pointer",
            "every block's current history entry is its own",
            "{count} blocks point to a history entry that is gone or another block's: undo would bring back a foreign text",
            "set block.current_history_entry_id to NULL or to an entry of the block",
            step="relations",
            needs={"block": ("current_history_entry_id",), "block_history": ("id", "block_id")},
        ),
    ),
    needs={"block": ("id", "value", "limit"), "block_history": ("id", "block_id")},
    maybe={"pointer": ("block", "current_history_entry_id", "null::text")},
    sql="""
        select 'blocks.limit', id from {s}.block where length(value) > "limit"
        union all
        select 'blocks.history_pointer', b.id from (select id, {pointer} as pointer from {s}.block) as b
        left join {s}.block_history h on h.id = b.pointer and h.block_id = b.id where b.pointer is not null and h.id is null""",
)

HISTORY = Probe(
    checks=(
        Check(
            "blocks.history_sequence",
            "every block's history is numbered without gaps",
            "{count} blocks whose history is not numbered 1, 2, 3 …: undo and redo lose their way",
            "number block_history.sequence_number anew per block, in the order of created_at",
            step="relations",
        ),
    ),
    needs={"block_history": ("block_id", "sequence_number")},
    sql="""
        select 'blocks.history_sequence', block_id from {s}.block_history group by block_id
        having min(sequence_number) <> 1 or max(sequence_number) <> count(*) or count(distinct sequence_number) <> count(*)""",
)

LINKS = Probe(
    checks=(
        Check(
            "blocks.labels",
            "every agent's blocks exist under the labels it knows them by, each label once",
            "{count} links of agents to blocks name a block that is gone, another label than the block's, or a label twice",
            "restore the agent, or mend blocks_agents; the foreign key that forbids this is missing",
            step="relations",
        ),
    ),
    needs={"blocks_agents": ("agent_id", "block_id", "block_label"), "block": ("id", "label")},
    sql="""
        select 'blocks.labels', l.agent_id || ' ' || l.block_label from {s}.blocks_agents l
        left join {s}.block b on b.id = l.block_id and b.label = l.block_label where b.id is null
        union all
        select 'blocks.labels', agent_id || ' ' || block_label from {s}.blocks_agents group by agent_id, block_label having count(*) > 1""",
)

PROBES = (BLOCKS, HISTORY, LINKS)
