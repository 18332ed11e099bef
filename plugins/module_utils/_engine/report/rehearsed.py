# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan of a restore says of rehearsals; nothing where there were none. The facts: :func:`backup.rehearsals.expected`."""
from __future__ import annotations

from .clean import clean_count, clean_dict, clean_number, clean_text, plural, span, span_between, when

SENTENCE = 200


def day(moment, now):
    """Return a day for a person: ``11-17``, and with its year when that is not ours; ``on an unknown day``."""
    if not moment:
        return "on an unknown day"
    return moment.strftime("%m-%d" if moment.year == now.year else "%Y-%m-%d")


def of_set(plan, now):
    """Return ``, rehearsal passed 11-17`` for the headline."""
    told = clean_dict(_facts(plan).get("set"))
    date, reason = day(when(told.get("finished_at")), now), clean_text(told.get("reason"), SENTENCE)
    words = {"passed": "passed %s" % date, "failed": "FAILED %s" % date, "error": "gave no verdict %s" % date}
    verdict = clean_text(told.get("verdict"), 20)
    if verdict not in words:
        return ""
    text = ", rehearsal %s" % words[verdict]
    return text + ": %s" % reason if reason and verdict == "failed" else text


def of_migrations(plan):
    """Return ``, rehearsed 38 s`` for the line on the schema, where there is a migration to run."""
    seconds = clean_number(_facts(plan).get("migrate_seconds"))
    if seconds is None or not clean_count(clean_dict(plan.get("schema")).get("migrations")):
        return ""
    return ", rehearsed %s" % span(seconds)


def of_times(plan):
    """Return the times of rehearsals like this restore, as parts of a line."""
    facts = _facts(plan)
    seconds, count = clean_dict(facts.get("seconds")), clean_count(facts.get("like"))
    least, most = clean_number(seconds.get("least")), clean_number(seconds.get("most"))
    if least is None or most is None or not count or plan.get("kind") == "unchanged":
        return []
    which = "the last rehearsal like it" if count == 1 else "the last %s like it" % plural(count, "rehearsal")
    return ["%s took %s" % (which, span_between(least, most))]


def _facts(plan):
    return clean_dict(plan.get("rehearsal"))
