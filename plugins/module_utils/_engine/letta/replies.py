# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages that close what waits in a context, as rows: the shapes are those that Letta writes when a run is cancelled."""
from __future__ import annotations

import json
import uuid
from datetime import timezone

INTERRUPTED = "Error: the tool call was interrupted when the server stopped; whether it had an effect is not known."
# Letta's own words for a call that nobody will approve any more.
DENIED = "The user cancelled the request, so the tool call was denied."
_DENIED_CALL = "Error: request to call tool denied. User reason: %s" % DENIED


def new_id(prefix):
    """Return a fresh id as Letta makes them."""
    return "%s-%s" % (prefix, uuid.uuid4())


def tool_messages(asking, calls, now, together, text=INTERRUPTED):
    """Return rows of tool messages that answer calls with an error.

    :param asking: row of the message that calls (dict): agent, organisation, step, run, model and conversation are taken from it.
    :param calls: ids of calls. :param now: aware datetime.
    :param together: one message for all of them, as releases since 0.13 write and read it; else one for each.
    """
    said = json.dumps({"status": "Failed", "message": text, "time": now.astimezone(timezone.utc).strftime("%Y-%m-%d %I:%M:%S %p UTC+0000")})
    rows = []
    for group in [tuple(calls)] if together else [(call,) for call in calls]:
        returns = [{"tool_call_id": call, "status": "error", "stdout": None, "stderr": None, "func_response": said} for call in group]
        content = [{"type": "text", "text": said} for _call in group]
        name = _name_of(asking, group[0]) if len(group) == 1 else None
        rows.append(_row(asking, "tool", now, tool_call_id=group[0], tool_returns=returns, content=content, name=name))
    return rows


def denial(asking, calls, now):
    """Return the row of an approval message that denies the calls of a request, in the shape of every release that asks.

    :param asking: row of the request. :param calls: ids of the calls that it asks for.
    """
    approvals = [{"type": "approval", "tool_call_id": call, "approve": False, "reason": DENIED} for call in calls]
    return _row(asking, "approval", now, approval_request_id=asking["id"], approve=False, denial_reason=DENIED, approvals=approvals)


def denied_calls(asking, calls, now, together):
    """Return rows of tool messages that say of calls that they were denied; see :func:`tool_messages`."""
    return tool_messages(asking, calls, now, together, _DENIED_CALL)


def _row(asking, role, now, **values):
    taken = ("agent_id", "organization_id", "step_id", "run_id", "model", "group_id", "conversation_id", "_created_by_id")
    row = {name: asking.get(name) for name in taken}
    row.update(_last_updated_by_id=asking.get("_created_by_id"), id=new_id("message"), role=role, tool_calls=[], tool_returns=[])
    row.update(is_deleted=False, created_at=now, updated_at=now)
    return dict(row, **values)


def _name_of(asking, call):
    for item in asking.get("tool_calls") or []:
        if isinstance(item, dict) and item.get("id") == call and isinstance(item.get("function"), dict):
            return item["function"].get("name")
    return None
