# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reconciliation does to one context, an agent's own or a conversation's; pure."""
from __future__ import annotations

from ...letta import contexts, replies, work
from .changes import DENY, noted

_LOST = "the context was lost; it is made anew of the messages that are stored"
_CALL = "the call has no return: most models refuse such a context"
_NO_SYSTEM = "no system message of it is stored: reset its messages through the API, or restore it from a set where it was whole"


def settle_context(plan, context, found, options):
    """Bring a context to a consistent end.

    :param context: :class:`.look_contexts.Context`. :returns: row of the request for approval it waits with, or None.
    """
    entries, lost = _entries(context)
    if context.headless and not lost:
        plan.left.append(noted("conversation" if context.conversation_id else "agent", context.owner, _NO_SYSTEM))
        if context.conversation_id is None:
            return None
    kept, cut = contexts.settle(entries)
    rows, ids = _answered(context, kept, found)
    request, calls = contexts.waiting_calls(kept)
    if request is not None and options.approvals == DENY:
        denied = _denied(context, request, calls, found)
        rows, ids = rows + denied, ids + [row["id"] for row, _why in denied]
        _close_asking(plan, context.messages[request.id], found)
    elif request is not None:
        reason = "it waits for an approval, which can still be given or denied"
        plan.waiting.append(noted("conversation" if context.conversation_id else "agent", context.owner, reason))
    if rows or cut or ids != context.ids or _unordered(context):
        _write(plan, context, found, rows, ids, cut, lost)
    return context.messages[request.id] if request is not None else None


def _entries(context):
    """Return (entries of the context, whether its beginning had to be found again among the stored messages)."""
    entries = [contexts.entry_of(message, context.messages.get(message), context.agent_id) for message in context.ids]
    if not context.headless or context.conversation_id is not None:
        return entries, False
    found = contexts.rebuilt(context.stored, context.system, context.autoclear, context.window)
    if not found:
        return entries, False
    tail = [entry for entry in entries if entry.id != found[0]]
    if any(entry.sound for entry in entries):  # only its head is lost: what is there was chosen by Letta
        found = found[:1]
    else:
        tail = []
    return [contexts.entry_of(message, context.messages[message], context.agent_id) for message in found] + tail, True


def _unordered(context):
    places = [context.links[message]["position"] for message in context.ids] if context.links else []
    return any(second <= first for first, second in zip(places, places[1:]))


def _answered(context, kept, found):
    """Return ([(row of a new message, reason)], ids of the whole context in order)."""
    rows, ids = [], []
    for item in kept:
        if isinstance(item, contexts.Entry):
            ids.append(item.id)
            continue
        asking = dict(context.messages[item.entry.id], conversation_id=context.conversation_id)
        for row in replies.tool_messages(asking, item.calls, found.now, found.has("messages", "approvals")):
            rows.append((row, _CALL))
            ids.append(row["id"])
    return rows, ids


def _denied(context, request, calls, found):
    asking = dict(context.messages[request.id], conversation_id=context.conversation_id)
    why = "nobody will answer the request for approval %s" % request.id
    rows = [replies.denial(asking, [call for call in calls if call in request.calls], found.now)]
    return [(row, why) for row in rows + replies.denied_calls(asking, calls, found.now, found.has("messages", "approvals"))]


def _close_asking(plan, asking, found):
    """Close the run that ended with the request as Letta does when it is cancelled; one that is still open is closed with the others."""
    run = found.asking_runs.get(asking["run_id"])
    if run is None or (run["status"], run["stop_reason"]) != work.ASKED_FOR_APPROVAL:
        return
    status, reason = work.CLOSINGS["runs"]
    plan.change(
        "runs", run["id"], "closed as %s (was %s)" % (status, run["status"]), "its request for approval was denied", status=status,
        stop_reason=reason, updated_at=found.now,
    )  # fmt: skip


def _write(plan, context, found, rows, ids, cut, lost):
    """Note the changes of a context: new messages, then the list that names them."""
    for row, why in rows:
        action = "denial added" if row["role"] == contexts.APPROVAL else "error return added"
        plan.add("messages", row, "%s to the context of %s" % (action, context.owner), why)
    if context.conversation_id is not None:
        _write_conversation(plan, context, found, {row["id"]: why for row, why in rows}, ids, cut)
        return
    told = ["%d messages added" % len(rows)] if rows else []
    told += ["%d messages cut: %s" % (len(cut), "; ".join("%s %s" % (entry.id, why) for entry, why in cut[:3]))] if cut else []
    told += ["begins with the stored system message again" if any(item in ids for item in context.ids) else "made anew"] if lost else []
    reason = _LOST if lost else "the context was not consistent"
    action = "context of %d messages: %s" % (len(ids), "; ".join(told) or "put in order")
    plan.change("agents", context.agent_id, action, reason, message_ids=ids, updated_at=found.now)


def _write_conversation(plan, context, found, added, ids, cut):
    """Give a conversation's rows rising positions; what is cut stays as a row outside of the context."""
    for entry, why in cut:
        row = context.links[entry.id]
        plan.change("conversation_messages", row["id"], "taken out of the context", why, in_context=False, updated_at=found.now)
    last = None
    for number, message in enumerate(ids):
        link = context.links.get(message)
        place = link["position"] if link else _place_behind(context, last, ids[number + 1 :])
        place = place if last is None or place > last else last + 1
        if link is None:
            row = {
                "id": replies.new_id("conv_msg"), "conversation_id": context.conversation_id, "agent_id": context.agent_id,
                "message_id": message, "position": place, "in_context": True, "organization_id": context.organization_id,
                "is_deleted": False, "created_at": found.now, "updated_at": found.now,
            }  # fmt: skip
            plan.add("conversation_messages", row, "message %s taken into %s" % (message, context.conversation_id), added[message])
        elif link["position"] != place:
            action = "moved from position %d to %d" % (link["position"], place)
            plan.change("conversation_messages", link["id"], action, "no two messages may share a position", position=place,
                        updated_at=found.now)  # fmt: skip
        last = place


def _place_behind(context, last, later):
    """Return a position for a new message: behind everything ever said where it is the last of the context."""
    behind = -1 if last is None else last
    return behind + 1 if any(message in context.links for message in later) else max(behind, context.top) + 1
