# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contexts of agents and conversations, pure: which calls wait for a return, what must leave, and how a lost context is found again."""
from __future__ import annotations

from dataclasses import dataclass

SYSTEM, TOOL, APPROVAL = "system", "tool", "approval"
# Letta counts tokens by asking a model; four letters to one is what it falls back to.
LETTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Entry:
    """One message of a context.

    :param sound: it exists, is not deleted and belongs to the agent.
    :param calls: ids of its tool calls, None for one without an id. :param returns: ids of the calls it returns from.
    """

    id: str
    role: str = ""
    sound: bool = True
    calls: tuple = ()
    returns: tuple = ()

    @property
    def asks(self):
        """Whether it is a request for approval."""
        return self.role == APPROVAL and bool(self.calls)


@dataclass(frozen=True)
class Answer:
    """A tool message that is missing behind ``entry``, for these of its calls."""

    entry: Entry
    calls: tuple


def entry_of(message_id, row, agent_id):
    """Return the :class:`Entry` of a message's row (dict, JSON columns as plain data), or of None where there is no row."""
    if row is None:
        return Entry(message_id, sound=False)
    role = row["role"]
    returns = []
    if role == TOOL:
        returns = [row.get("tool_call_id")] + [item.get("tool_call_id") for item in _dicts(row.get("tool_returns"))]
    elif role == APPROVAL:  # tools that the client runs send their returns with the approval
        returns = [item.get("tool_call_id") for item in _dicts(row.get("approvals")) if item.get("status")]
    calls = [item.get("id") for item in _dicts(row.get("tool_calls"))] if role in ("assistant", APPROVAL) else []
    sound = row["agent_id"] == agent_id and not row["is_deleted"]
    return Entry(message_id, role, sound, tuple(calls), tuple(dict.fromkeys(item for item in returns if item)))


def _dicts(value):
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def settle(entries):
    """Bring a context to a state in which every call has its return and every return its call.

    :param entries: :class:`Entry`, in order.
    :returns: (kept, cut): kept is entries and :class:`Answer` in order; cut is [(entry, why)]. A request for approval at the end,
        and the calls of the same answer before it, wait for a person and stay.
    """
    cut = [(entry, "it does not exist, is deleted or another agent's") for entry in entries if not entry.sound]
    kept = [entry for entry in entries if entry.sound]
    while True:
        entry, why = _misfit(kept)
        if entry is None:
            break
        kept.remove(entry)
        cut.append((entry, why))
    answers = _missing(kept)
    settled: list = []
    for place, entry in enumerate(kept):
        settled.append(entry)
        settled += answers.get(place, ())
    return settled, cut


def _misfit(kept):
    """Return (entry that cannot stay, why), or (None, "")."""
    called: set = set()
    for entry in kept:
        if None in entry.calls:
            return entry, "it calls a tool without an id, so nothing can answer it"
        if entry.role == TOOL and not (entry.returns and called.issuperset(entry.returns)):
            return entry, "it returns from a tool call that the context does not hold"
        called.update(entry.calls)
    return None, ""


def _missing(kept):
    """Return {place: [Answer]} of what is missing behind the entry at a place."""
    answers: dict = {}
    waiting = kept[-2:] if kept and kept[-1].asks else []
    for place, entry in enumerate(kept):
        if not entry.calls or entry in waiting:
            continue
        returned = {call for later in kept[place + 1 :] for call in later.returns}
        open_calls = tuple(call for call in dict.fromkeys(entry.calls) if call not in returned)
        if not open_calls:
            continue
        while place + 1 < len(kept) and (kept[place + 1].role == TOOL or (kept[place + 1].role == APPROVAL and not kept[place + 1].calls)):
            place += 1  # noqa: PLW2901 (behind what answers it already)
        answers.setdefault(place, []).append(Answer(entry, open_calls))
    return answers


def waiting_calls(entries):
    """Return (request, ids of every call that waits with it) of a context that ends with a request for approval, else (None, ()).

    :param entries: as :func:`settle` returns them.
    """
    last = entries[-1] if entries else None
    if not isinstance(last, Entry) or not last.asks:
        return None, ()
    entries = [entry for entry in entries if isinstance(entry, Entry)]
    before = entries[-2].calls if len(entries) > 1 and entries[-2].role == "assistant" else ()
    returned = {call for entry in entries for call in entry.returns}
    calls = [call for call in (*entries[-1].calls, *before) if call is not None and call not in returned]
    return entries[-1], tuple(dict.fromkeys(calls))


@dataclass(frozen=True)
class Stored:
    """One message of an agent outside of conversations, as a lost context is found from it.

    :param summary: it stands for everything before it. :param letters: how long it is.
    """

    id: str
    role: str
    text: str = ""
    summary: bool = False
    letters: int = 0


def rebuilt(stored, system, autoclear, window):
    """Return the ids of a context made anew from the messages that are stored.

    :param stored: :class:`Stored` in the order of their sequence. :param system: the agent's system prompt, None or empty if unknown.
    :param autoclear: the agent sends nothing but its system message. :param window: tokens its model takes, None if unknown.
    :returns: ids, the system message first; empty when no system message is stored. Older messages are left out from where a summary
        stands for them, or from where the model's window is full; the first one kept begins a turn.
    """
    first, compiled = _system_message(stored, system)
    if first is None:
        return []
    if autoclear:
        return [first.id]
    place = max((number for number, item in enumerate(stored) if item.summary), default=0)
    room = (window or 10**9) * LETTERS_PER_TOKEN - first.letters
    kept: list = []
    for item in reversed(stored[place:]):
        room -= item.letters
        if room < 0:
            break
        kept.insert(0, item)
    begins = ("user", "summary", SYSTEM)
    while kept and kept[0].role not in begins:
        kept.pop(0)
    return [first.id] + [item.id for item in kept if item is not first and item not in compiled]


def _system_message(stored, system):
    """Return (newest message compiled from the agent's prompt, all such); others of that role are words of a client."""
    candidates = [item for item in stored if item.role == SYSTEM]
    start = (system or "").strip()[:200]
    compiled = [item for item in candidates if start and item.text.startswith(start)]
    return (compiled[-1] if compiled else candidates[0] if candidates else None), compiled
