# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines an operator reads in the terminal. Pure functions returning lists of lines; no colour, labels in one column."""
from __future__ import annotations

import textwrap
from datetime import datetime, timezone

from ..progress import human_bytes
from . import rehearsed
from .clean import about, as_dicts, clean_count, clean_dict, clean_list, clean_number, clean_text, minute, plural, span, thousands, when
from .timeline import shares

WIDTH = 110
LABEL = 7
MAX_NAMES, MAX_REASONS = 5, 10
SHORT = 80


def labelled(label, text, wrap=True):
    """Return ``text`` behind a label, folded to :data:`WIDTH`; commands stay on one line (``wrap=False``) so that they can be copied."""
    first, rest = label.ljust(LABEL), " " * LABEL
    if not wrap:
        return [(first + text).rstrip()]
    folded = textwrap.wrap(text, WIDTH - LABEL, break_long_words=False, break_on_hyphens=False) or [""]
    return [((first if not index else rest) + line).rstrip() for index, line in enumerate(folded)]


def names(values, most=MAX_NAMES):
    """Return names for a sentence, each cut to 80 characters: ``billing-7, intake-2 and 3 more``."""
    values = [clean_text(value, SHORT, "?") for value in clean_list(values)]
    shown = ", ".join(values[:most])
    return shown + (" and %s more" % thousands(len(values) - most) if len(values) > most else "")


def plan_lines(plan, now=None):
    """Return the plan of a restore for the terminal.

    :param plan: the plan dict; missing keys shorten the text.
    :param now: the time from which ages are told (aware datetime), the current one by default.
    """
    plan = clean_dict(plan)
    lines = labelled("PLAN", _headline(plan, now or datetime.now(timezone.utc)))
    parts = ((_runs, "runs"), (secrets_line, "secrets"))
    cost = _fallback(clean_list(plan.get("rejected")))
    schema = schema_line(clean_dict(plan.get("schema"))) + rehearsed.of_migrations(plan)
    body = [cost, _loss(plan), schema, *(tell(clean_dict(plan.get(name))) for tell, name in parts), _means(plan)]
    if plan.get("why"):
        body.insert(0, clean_text(plan["why"], 1000))
    for text in body:
        if text:
            lines += labelled("", text)
    lines += _steps(clean_list(plan.get("steps")))
    lines += rejected_lines(plan.get("rejected"))
    lines += warning_lines(plan.get("warnings"))
    if plan.get("undo"):
        lines += labelled("UNDO", clean_text(plan["undo"], 2000), wrap=False)
    return lines


def _headline(plan, now):
    host, database = clean_text(plan.get("host"), SHORT, "?"), clean_text(plan.get("database"), SHORT, "?")
    target = "%s/%s" % (host, database)
    set_id = clean_text(plan.get("set_id"), SHORT, "?")
    verified = when(plan.get("verified_at"))
    known = "verified %s ago" % span((now - verified).total_seconds()) if verified else "never verified"
    known += rehearsed.of_set(plan, now)
    kind = plan.get("kind")
    if kind == "unchanged":
        return "nothing to do: %s already holds %s" % (target, set_id)
    if kind == "rollback":
        run = clean_text(plan.get("run_id"), SHORT, "?")
        return "take restore %s (of %s) back -> %s becomes the database of before" % (run, set_id, target)
    verb = "go on with the interrupted restore of" if kind == "resume" else "restore"
    mode = ", in place" if plan.get("mode") == "in_place" else ""
    return "%s %s (%s%s) -> %s%s" % (verb, set_id, known, mode, target, ", which does not exist yet" if kind == "fresh" else "")


def _loss(plan):
    if plan.get("kind") in ("unchanged", "fresh"):
        return ""
    window = clean_dict(plan.get("window"))
    seconds, messages, agents = clean_number(window.get("seconds")), clean_count(window.get("messages")), clean_list(window.get("agents"))
    if seconds is None and messages is None and not agents:
        return ""
    parts = []
    if messages is not None:
        parts.append(plural(messages, "message"))
    if agents:
        parts.append("%s created since (%s)" % (plural(len(agents), "agent"), names(agents)))
    length = "%s of live data" % span(seconds) if seconds is not None else "live data"
    return "loses %s%s" % (length, ": " + ", ".join(parts) if parts else "")


def _fallback(rejected):
    """What the set costs that is taken in place of the newest one, which was passed over."""
    newest = as_dicts(rejected[:1], "id")
    cost = clean_text(clean_dict(newest[0].get("loss")).get("text"), 500) if newest else ""
    if not cost:
        return ""
    return "falls back past %s (%s), which costs %s" % (plural(len(rejected), "set"), clean_text(newest[0].get("id"), SHORT, "?"), cost)


def schema_line(schema):
    """Return what happens to the schema, in one sentence; empty when nothing is known."""
    if not schema:
        return ""

    def side(which):
        release = clean_text(schema.get(which + "_release"), SHORT)
        revision = clean_text(schema.get(which + "_revision"), SHORT)
        return "%s (%s)" % (release, revision) if release and revision else release or revision or "?"

    verdict = clean_text(schema.get("verdict"), 500)
    count, rewriting = clean_count(schema.get("migrations")), clean_count(schema.get("changes_data"))
    if count:
        verdict = "%d migration%s, %d change data" % (count, "" if count == 1 else "s", rewriting or 0)
    begin, end = side("from"), side("to")
    text = "schema %s" % begin if begin == end else "schema %s -> %s" % (begin, end)
    return text + (": " + verdict if verdict else "")


def _runs(runs):
    """Which Letta will run afterwards: the image by digest or the package by version, and what is known to run now."""
    version, image = clean_text(runs.get("version"), SHORT), clean_text(runs.get("image"), 200)
    told = sorted((clean_text(name, SHORT), clean_text(found, SHORT)) for name, found in clean_dict(runs.get("running")).items())
    if not version and not image:
        return ""
    text = "will run Letta %s" % version if version else "will run"
    text += " from image %s" % image if image else " (package letta==%s)" % version
    same = [name for name, found in told if found == version]
    silent = [name for name, found in told if not found]
    text += "; %s now" % ("%s runs it" % names(same) if len(same) == 1 else "%s run it" % names(same)) if same else ""
    return text + ("; %s did not answer" % names(silent) if silent else "")


def secrets_line(secrets):
    """What is proven of the encryption key. That nothing is proven stands among the warnings, with the counts."""
    total = clean_dict(secrets.get("total"))
    opened, untried = clean_count(total.get("under_key")), clean_count(total.get("unchecked"))
    if not opened or secrets.get("verdict") not in ("proven", "sampled"):
        return ""
    text = "%s under the given key" % (plural(opened, "secret") + (" opens" if opened == 1 else " open"))
    return text + (", %s more of the same columns were not tried" % thousands(untried) if untried else "")


def _means(plan):
    """What it takes: room, servers to stop, time without service, how long the old database stays."""
    parts = []
    disk = clean_dict(plan.get("disk"))
    need, free = clean_count(disk.get("need_bytes")), clean_count(disk.get("free_bytes"))
    if need is not None:
        parts.append("disk need %s, free %s" % (human_bytes(need), human_bytes(free) if free is not None else "unknown"))
    if plan.get("kind") != "unchanged":
        stops = clean_list(plan.get("stops"))
        parts.append("stops %s" % names(stops) if stops else "stops no server")
    whole, down = clean_number(plan.get("expected_seconds")), clean_number(plan.get("expected_downtime_seconds"))
    if down is not None:
        parts.append("downtime %s%s" % (about(down), " of %s" % span(whole) if whole is not None else ""))
    elif whole is not None:
        parts.append("takes %s" % about(whole))
    parts += rehearsed.of_times(plan)
    if plan.get("keep_previous"):
        parts.append("undo kept %s" % clean_text(plan["keep_previous"], 40))
    return " · ".join(parts)


def _steps(steps):
    lines = []
    for number, step in enumerate(as_dicts(steps[:50], "name")):
        seconds = clean_number(step.get("expected_seconds"))
        text = clean_text(step.get("name"), 40, "?").ljust(10)
        text += " " + clean_text(step.get("detail"), 300)
        text += "  (%s)" % about(seconds) if seconds is not None else ""
        lines += labelled("" if number else "STEPS", text)
    return lines


def rejected_lines(rejected):
    """Return one line per backup set that was passed over, with its reason."""
    lines, rows = [], clean_list(rejected)
    for number, row in enumerate(as_dicts(rows[:MAX_REASONS], "id")):
        text = "%s: %s" % (clean_text(row.get("id"), SHORT, "?"), clean_text(row.get("reason"), 500, "no reason given"))
        lines += labelled("" if number else "REJECT", text)
    if len(rows) > MAX_REASONS:
        lines += labelled("", "and %s more" % thousands(len(rows) - MAX_REASONS))
    return lines


def warning_lines(warnings):
    """Return one line per warning."""
    lines = []
    for warning in clean_list(warnings)[:MAX_REASONS]:
        lines += labelled("WARN", clean_text(warning, 1000))
    return lines


def progress_lines(facts):
    """Return one line on the last phase of the run: ``STAGE   done in 12.3 s · 49 tables``."""
    phases = [phase for phase in clean_list(clean_dict(facts).get("phases")) if isinstance(phase, dict)]
    if not phases:
        return []
    phase = phases[-1]
    seconds, detail = clean_number(phase.get("seconds")), clean_text(phase.get("detail"), 500)
    parts = [clean_text(phase.get("status"), 40, "unknown") + (" in %s" % span(seconds) if seconds is not None else "")]
    parts += [detail] if detail else []
    return labelled(clean_text(phase.get("name"), 20, "?").upper() + " ", " · ".join(parts))


def prove_lines(report):
    """Return the verdict on the tables, with the reason of each that is not equal."""
    tables, verdict = report["tables"], report["verdict"]
    if not tables:
        return []
    explained = ["%s: %s" % (_bare(t["name"]), clean_text(t["explanation"], SHORT, "?")) for t in tables if t["digest"] == "explained"]
    reasons = " (%s)" % ", ".join(explained[:MAX_NAMES] + (["…"] if len(explained) > MAX_NAMES else [])) if explained else ""
    text = "%s: %d equal, %d explained%s, %d differ" % (
        plural(len(tables), "table"), verdict["equal"], verdict["explained"], reasons, verdict["differs"])
    lines = labelled("PROVE", text)
    for group in report["table_groups"]:
        proven = group["equal"] + group["explained"]
        lines += labelled("", "%-20s %2d of %2d tables proven, %s" % (group["name"], proven, group["tables"], plural(group["rows"], "row")))
    for table in [t for t in tables if t["digest"] == "differs"][:MAX_REASONS]:
        lines += labelled("", "DIFFERS %s: %s rows expected, %s restored. %s" % (
            table["name"], thousands(table["rows_expected"]), thousands(table["rows_restored"]), table["explanation"]))
    return lines


def recap_lines(report, report_path=None, profile=False):
    """Return the end of a run: phases, verdict, checks, downtime, undo line; for a failed run the failure instead of DONE.

    :param report: what :func:`collect.build_report` returned.
    :param report_path: where the HTML report was written, as the operator can open it.
    :param profile: tell how much of the time was Ansible's own.
    """
    phases = ["%s %s" % (phase["name"], _phase_word(phase)) for phase in report["phases"]]
    lines = labelled("PHASES", " · ".join(phases)) if phases else []
    if profile and report["seconds"] is not None:
        lines += labelled("TIME", shares(report))
    lines += prove_lines(report)
    lines += _check_lines(report) + _redis_lines(report["redis"]) + warning_lines(report["warnings"])
    if report["status"] == "failed":
        return lines + failure_lines(report, report_path)
    parts = ["status %s" % report["status"]]
    if report["downtime_seconds"] is not None:
        parts.append("downtime %s" % span(report["downtime_seconds"]))
    if report["seconds"] is not None:
        parts.append("whole run %s" % span(report["seconds"]))
    if report_path:
        parts.append("report %s" % report_path)
    lines += labelled("DONE", " · ".join(parts))
    lines += labelled("NOW", report["now"]) if report["now"] else []
    lines += labelled("NEXT", report["next_step"], wrap=False) if report["next_step"] else []
    return lines + _undo_lines(report)


def failure_lines(report, report_path=None):
    """Return what failed, what is true now and what to type next."""
    lines = labelled("FAIL", "%s · %s" % (report["failure_class"], report["message"] or "no reason was recorded"))
    lines += labelled("NOW", report["now"] or "not known: look at the journal of run %s before anything else" % report["run_id"])
    if report["next_step"]:
        lines += labelled("NEXT", report["next_step"], wrap=False)
    if report_path:
        lines += labelled("REPORT", report_path, wrap=False)
    return lines


def _bare(table):
    return table.rsplit(".", 1)[-1]


def _phase_word(phase):
    if phase["seconds"] is None or phase["status"] not in ("done", "ok", "succeeded"):
        took = " after %s" % span(phase["seconds"]) if phase["seconds"] is not None and phase["status"] == "failed" else ""
        return phase["status"] + took
    return span(phase["seconds"])


def _check_lines(report):
    verdict = report["verdict"]
    if not report["checks"]:
        return []
    lines = labelled("CHECKS", "%d passed, %s, %d failed" % (verdict["pass"], plural(verdict["warn"], "warning"), verdict["fail"]))
    for check in [c for c in report["checks"] if c["status"] != "pass"][:MAX_REASONS]:
        lines += labelled("", "%s %s: %s" % (check["status"], check["id"], check["detail"]))
    return lines


def _redis_lines(redis):
    dropped, kept = clean_count(redis["dropped"]), clean_count(redis["kept"])
    return [] if dropped is None else labelled("REDIS", "%s of Letta dropped, %s kept" % (plural(dropped, "key"), thousands(kept)))


def _undo_lines(report):
    undo = report["undo"]
    if not undo["command"]:
        return []
    until = minute(when(undo["valid_until"])) or clean_text(undo["valid_until"], 60)
    return labelled("UNDO", undo["command"] + ("     (until %s)" % until if until else ""), wrap=False)
