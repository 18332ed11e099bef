# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups of agents."""
from __future__ import annotations

from .base import Check, Probe

GROUPS = Probe(
    checks=(
        Check(
            "groups.members",
            "the two lists of members of every group agree",
            "{count} groups whose agent_ids and groups_agents name different agents",
            "set both lists to the members the group should have",
            step="relations",
        ),
        Check(
            "groups.turns_counter",
            "every sleeptime group with a frequency counts its turns",
            "{count} sleeptime groups have a frequency and no counter: the next turn of the agent fails",
            "set groups.turns_counter to -1",
            step="relations",
            needs={"groups": ("manager_type", "sleeptime_agent_frequency", "turns_counter")},
        ),
        Check(
            "groups.last_processed",
            "the last message every group worked on exists",
            "{count} groups name a last message that does not exist: their background agent starts from nowhere",
            "set groups.last_processed_message_id to NULL or to a message of the managing agent",
            step="relations",
            needs={"groups": ("last_processed_message_id",), "messages": ("id",)},
        ),
    ),
    needs={"groups": ("id", "agent_ids", "manager_type"), "groups_agents": ("group_id", "agent_id")},
    maybe={
        "frequency": ("groups", "sleeptime_agent_frequency", "null::int"),
        "counter": ("groups", "turns_counter", "0"),
        "last": ("groups", "last_processed_message_id", "null::text"),
    },
    sql="""
        select 'groups.members', g.id from {s}.groups g
        where array(select distinct e from json_array_elements_text(
                  case when json_typeof(g.agent_ids) = 'array' then g.agent_ids else '[]'::json end) as t(e) order by 1)
              is distinct from
              array(select distinct ga.agent_id::text from {s}.groups_agents ga where ga.group_id = g.id order by 1)
        union all
        select 'groups.turns_counter', id from {s}.groups
        where manager_type = 'sleeptime' and {frequency} > 0 and {counter} is null
        union all
        select 'groups.last_processed', g.id from (select id, {last} as last from {s}.groups) as g
        where g.last is not null and not exists (select from {s}.messages m where m.id = g.last)""",
)

PROBES = (GROUPS,)
