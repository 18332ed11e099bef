# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections of an agent that lives: which there are, and what of a lost list can be told to be lost."""
from __future__ import annotations

from . import closure

# What can be repaired -> the tables that hold it.
KINDS = {
    "messages": ("agents",),
    "blocks": ("blocks_agents", "blocks_conversations", "groups_blocks", "identities_blocks"),
    "tools": ("tools_agents",),
    "sources": ("sources_agents",),
    "files": ("files_agents",),
    "archives": ("archives_agents",),
    "identities": ("identities_agents",),
    "tags": ("agents_tags",),
    "groups": ("groups", "groups_agents"),
}
# Context window of the model -> (files open at a time, characters shown of each) where the agent does not say (read in Letta 0.16.8).
_NO_WINDOW = (5, 50000)
_BY_WINDOW = ((8000, (3, 5000)), (32000, (5, 15000)), (128000, (10, 25000)), (200000, (10, 40000)))
_LARGE_WINDOW = (15, 40000)


def rules_for(roots, traces=False, kinds=()):
    """Return the rules to go by: those of traces only when asked for; where links are repaired, only those of the kinds asked for.

    :param roots: {root: [ids]}. :param kinds: of :data:`KINDS`; empty: all.
    """
    rules = tuple(rule for rule in closure.RULES if traces or rule.role != closure.TRACE)
    if not roots.get(closure.LINKED):
        return rules
    wanted = {table for kind in kinds or KINDS for table in KINDS[kind]}
    return tuple(rule for rule in rules if rule.role not in (closure.LINK, closure.POINTER) or rule.table in wanted)


def file_limits(context_window, max_files_open=None, view_limit=None):
    """Return (files that an agent may have open, characters it is shown of each).

    :param context_window: of its model, or None. :param max_files_open: what the agent says, or None. :param view_limit: the same.
    """
    if context_window:
        most, shown = next((limits for window, limits in _BY_WINDOW if context_window <= window), _LARGE_WINDOW)
    else:
        most, shown = _NO_WINDOW
    return most if max_files_open is None else max_files_open, shown if view_limit is None else view_limit


def lost_of(saved, live, there, first_is_system):
    """Tell what a context has lost: Letta drops messages from its front only, behind the system message.

    What was saved behind the first message that is still in the list, and exists, was therefore lost, as was everything of a list that is
    empty or has the system message only. Where no saved message is left in the list, it has been summarised since: nothing can be told.

    :param saved: ids as saved. :param live: ids now. :param there: set of ids of the agent's messages that exist outside conversations.
    :param first_is_system: whether the first of ``live`` is a system message.
    :returns: (the list to be, [ids put into it]).
    """
    result, put = list(live), []
    if saved and saved[0] in there and saved[0] not in result and not first_is_system:
        result.insert(0, saved[0])
        put.append(saved[0])
    kept = [place for place, item in enumerate(saved) if place and item in live]
    if not kept and len(live) > 1:
        return result, put
    for place in range(kept[0] + 1 if kept else 1, len(saved)):
        if saved[place] in there and saved[place] not in result:
            before = next((item for item in reversed(saved[:place]) if item in result), None)
            result.insert(result.index(before) + 1 if before else 0, saved[place])
            put.append(saved[place])
    return result, put
