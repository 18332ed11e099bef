# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a partial restore as an operator reads it: what comes back, what live loses, what others use too. Never a value."""
from __future__ import annotations

from datetime import datetime, timezone

from .clean import as_dicts, clean_count, clean_dict, clean_list, clean_text, minute, plural, span, thousands, when
from .text import SHORT, labelled, names, rejected_lines, schema_line, secrets_line, warning_lines

MOST = 12
# Tables as a person calls them.
THINGS = {
    "block": "block", "archives": "archive", "sources": "source", "files": "file", "tools": "tool", "identities": "identity",
    "groups": "group", "agents": "agent", "providers": "provider", "mcp_server": "MCP server",
}  # fmt: skip
DECISIONS = {"kept": "live's stays", "overwritten": "becomes what was saved, for all of them", "copied": "comes back as a copy"}


def thing_name(item):
    """Return how a row of ``entities`` or ``shared`` is called: ``block human``."""
    kind = clean_text(item.get("kind") or item.get("table"), 40)
    name = clean_text(item.get("name"), SHORT) or clean_text(item.get("id"), SHORT)
    return "%s %s" % (THINGS.get(kind, kind), name) if name else "rows of %s" % kind


def is_partial(plan):
    """Tell whether a plan is one of these."""
    return clean_dict(plan).get("scopes") is not None


def plan_lines(plan, now=None):
    """Return the plan for the terminal.

    :param plan: the plan dict of :func:`partial.begin.plan`; missing keys shorten the text.
    :param now: the time from which ages are told (aware datetime), the current one by default.
    """
    plan = clean_dict(plan)
    lines = labelled("PLAN", _headline(plan, now or datetime.now(timezone.utc)))
    if plan.get("why"):
        lines += labelled("", "%s%s" % (clean_text(plan["why"], 300), _taken(plan)))
    lines += labelled("", schema_line(clean_dict(plan.get("schema")))) if plan.get("schema") else []
    told = secrets_line(clean_dict(plan.get("secrets")))
    lines += labelled("", told) if told else []
    lines += _agents(plan) + _replaced(plan) + _entities(plan) + _loses(plan) + _rows(plan) + _shared(plan) + _mapped(plan)
    lines += _notes(plan) + _why(plan)
    lines += rejected_lines(plan.get("rejected")) + warning_lines(plan.get("warnings"))
    if plan.get("undo"):
        lines += labelled("UNDO", clean_text(plan["undo"], 2000), wrap=False)
    return lines


def _headline(plan, now):
    target = "%s/%s" % (clean_text(plan.get("host"), SHORT, "?"), clean_text(plan.get("database"), SHORT, "?"))
    set_id = clean_text(plan.get("set_id"), SHORT, "?")
    what = _what(plan)
    if plan.get("kind") == "partial_rollback":
        run = clean_text(plan.get("undoes"), SHORT, "?")
        return "take partial restore %s (of %s) back -> %s: %s as before" % (run, set_id, target, what)
    if plan.get("kind") == "unchanged":
        return "nothing to do: in %s %s as saved in %s already" % (target, what + (" is" if what.startswith("1 ") else " are"), set_id)
    verified = when(plan.get("verified_at"))
    known = "verified %s ago" % span((now - verified).total_seconds()) if verified else "never verified"
    return "bring %s back from %s (%s) -> %s, which goes on running" % (what, set_id, known, target)


def _what(plan):
    kinds = [clean_text(scope, 20).rstrip("s") for scope in clean_list(plan.get("scopes"))]
    named = sorted(clean_text(name, SHORT, "?") for name in clean_dict(plan.get("names")).values())
    kind = kinds[0] if len(kinds) == 1 else "thing"
    if kind in ("message", "link"):
        return "the %ss of %s (%s)" % (kind, plural(len(named), "agent"), names(named))
    return "%s (%s)" % (plural(len(named), kind), names(named)) if named else "the %ss" % kind


def _taken(plan):
    taken = minute(when(plan.get("taken_at")))
    return ", taken %s" % taken if taken else ""


def _agents(plan):
    gone = [item for item in as_dicts(clean_list(plan.get("agents")), "id") if not item.get("live")]
    return labelled("", "not in live now: %s" % names([item.get("name") or item.get("id") for item in gone])) if gone else []


def _replaced(plan):
    copies = as_dicts(clean_list(plan.get("replaced")), "id")
    told = names(["%s (%s)" % (item.get("name"), item.get("id")) for item in copies])
    return labelled("", "copies that give way: %s" % told) if copies else []


def _entities(plan):
    lines, rows = [], as_dicts(clean_list(plan.get("entities")), "kind")
    for item in rows[:MOST]:
        counts = [(clean_count(item.get(key)) or 0, word) for key, word in (("add", "added"), ("change", "changed"), ("remove", "removed"))]
        told = ", ".join("%s %s" % (thousands(count), word) for count, word in counts if count)
        lines += labelled("" if lines else "ROWS", "%s: %s" % (thing_name(item), told))
    return lines + (labelled("", "and %s more" % thousands(len(rows) - MOST)) if len(rows) > MOST else [])


def loses_text(plan):
    """Return what live has and loses, in one phrase; empty when it loses nothing."""
    parts = []
    for kind, item in sorted(clean_dict(clean_dict(plan).get("loses")).items()):
        count, newest = clean_count(clean_dict(item).get("count")), minute(when(clean_dict(item).get("newest")))
        name = clean_text(kind, 40).rstrip("s")
        parts.append(plural(count or 0, name) + (" (the newest of %s)" % newest if newest else ""))
    return ", ".join(parts)


def _loses(plan):
    told = loses_text(plan)
    return labelled("LOSES", "live has what was not saved, and loses it: %s" % told) if told else []


def _rows(plan):
    parts = []
    for table, count in clean_dict(plan.get("tables")).items():
        numbers = [(sign, clean_count(clean_dict(count).get(key)) or 0) for sign, key in (("+", "add"), ("~", "change"), ("-", "remove"))]
        parts.append("%s %s" % (clean_text(table, 60), " ".join("%s%s" % (sign, thousands(number)) for sign, number in numbers if number)))
    return labelled("TABLES", " · ".join(parts)) if parts else []


def _shared(plan):
    lines, rows = [], as_dicts(clean_list(plan.get("shared")), "id")
    for item in rows[:MOST]:
        text = "%s differs, and %s too: %s (%s)" % (
            thing_name(item), _use(clean_list(item.get("used_by"))),
            DECISIONS.get(item.get("decision"), clean_text(item.get("decision"), 40)), clean_text(item.get("why"), 200),
        )  # fmt: skip
        lines += labelled("" if lines else "SHARED", text)
    return lines + (labelled("", "and %s more" % thousands(len(rows) - MOST)) if len(rows) > MOST else [])


def _use(users):
    return "%s %s it" % (names(users), "uses" if len(users) == 1 else "use")


def _mapped(plan):
    rows = as_dicts(clean_list(plan.get("mapped")), "id")
    if not rows:
        return []
    kinds = {}
    for item in rows:
        kind = clean_text(item.get("table"), 40)
        kinds.setdefault(THINGS.get(kind, kind), []).append(item)
    told = ", ".join(plural(len(items), kind) for kind, items in sorted(kinds.items()))
    lines = labelled("", "live has other ids, and is used: %s" % told)
    other = [item.get("name") for item in rows if item.get("same") is False]
    return lines + (labelled("WARN", "tools of the same name do something else in live: %s" % names(other)) if other else [])


def _why(plan):
    return [line for text in clean_list(plan.get("rows_asked")) for line in labelled("WHY", clean_text(text, 1000))]


def _notes(plan):
    lines = []
    for item in as_dicts(clean_list(plan.get("notes")), "id")[:MOST]:
        lines += labelled("NOTE", "%s (%s)" % (clean_text(item.get("detail"), 300), thousands(clean_count(item.get("count")) or 0)))
    return lines
