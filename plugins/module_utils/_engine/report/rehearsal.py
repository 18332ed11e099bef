# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of a rehearsal in, its report out: one verdict, whether the promise holds, and the trend. Pure; writes nothing.

Three verdicts: ``failed`` means that a backup or the procedure is bad, ``error`` that there is no verdict and it is to be tried again.
"""
from __future__ import annotations

from .clean import as_dicts, clean_count, clean_dict, clean_list, clean_number, clean_text, iso, when

PASSED, FAILED, ERROR = VERDICTS = ("passed", "failed", "error")
HOLDS, BROKEN, UNKNOWN = "holds", "broken", "unknown"
TREND = 26  # half a year of weekly rehearsals
NAME = 200


def build(records, history=(), target=None):
    """Return the report of one rehearsal.

    :param records: one dict per rehearsed set, with the keys of the history (docs/monitoring.md); all optional.
    :param history: records of earlier rehearsals of this target, oldest first; those of this one may be among them.
    :param target: the production target it stands for, ``db1/letta``.
    :returns: dict in plain JSON types: the keys of :func:`summary`, ``sets`` (the records, cleaned), ``trend`` (the last
        :data:`TREND` rehearsals), ``last_success_at``, ``errors_in_a_row``, ``warnings``.
    """
    sets = [clean_record(record) for record in as_dicts(clean_list(records), "set")]
    report = dict(summary(sets), sets=sets, target=clean_text(target, NAME, None) or _first(sets, "target"))
    earlier = [clean_record(record) for record in clean_list(history) if isinstance(record, dict)]
    runs = _rehearsals([item for item in earlier if item["target"] in (None, report["target"])], report)
    good = [run["finished_at"] for run in runs if run["verdict"] == PASSED and run["finished_at"]]
    report["trend"] = runs[-TREND:]
    report["last_success_at"] = max(good) if good else None
    report["errors_in_a_row"] = next((n for n, run in enumerate(reversed(runs)) if run["verdict"] != ERROR), len(runs))
    report["warnings"] = [text for item in sets for text in _contradictions(item)]
    return report


def summary(records):
    """Return the verdict on a whole rehearsal.

    :param records: its sets, as :func:`clean_record` returns them (others are cleaned first).
    :returns: ``rehearsal``, ``place``, ``host``, ``finished_at``, ``verdict``, ``counts`` per verdict, ``rto`` of the slowest and ``rpo``
        of the newest set that passed (``seconds``, ``target``, ``met``), ``downtime_seconds`` (the longest), and ``promise``: ``holds``,
        ``broken``, or ``unknown`` where something could not be tried.
    """
    sets = [clean_record(record) for record in records]
    counts = {verdict: sum(item["verdict"] == verdict for item in sets) for verdict in VERDICTS}
    passed = [item for item in sets if item["verdict"] == PASSED]
    # Nothing rehearsed proves nothing: that is no verdict, never a success.
    verdict = FAILED if counts[FAILED] else ERROR if counts[ERROR] or not sets else PASSED
    rto, rpo = _promise(sets, "rto", max), _promise(sets, "rpo", min)
    if counts[ERROR] and rpo["met"] is False:
        rpo["met"] = None  # the set that could not be tried may be the newer one: that alarms nobody
    broken = verdict == FAILED or False in (rto["met"], rpo["met"])
    promise = BROKEN if broken else HOLDS if verdict == PASSED else UNKNOWN
    downtimes = [item["seconds"]["downtime"] for item in passed if item["seconds"]["downtime"] is not None]
    return {
        "rehearsal": _first(sets, "rehearsal"), "place": _first(sets, "place"), "host": _first(sets, "host"),
        "finished_at": max((item["finished_at"] for item in sets if item["finished_at"]), default=None),
        "verdict": verdict, "promise": promise, "counts": counts, "rto": rto, "rpo": rpo,
        "downtime_seconds": max(downtimes) if downtimes else None,
    }  # fmt: skip


def clean_record(record):
    """Return one record with every key of the history, in plain JSON types; what is missing or odd is None or empty."""
    record = clean_dict(record)
    verdict = clean_text(record.get("verdict"), 20)
    seconds, letta, revision = (clean_dict(record.get(key)) for key in ("seconds", "letta", "revision"))
    agents = clean_dict(record.get("agents"))
    texts = ("rehearsal", "place", "host", "target", "set")
    return {
        **{key: clean_text(record.get(key), NAME, None) for key in texts},
        "finished_at": iso(when(record.get("finished_at"))), "taken_at": iso(when(record.get("taken_at"))),
        "policies": [clean_text(policy, 40, "?") for policy in clean_list(record.get("policies"))[:20]],
        "letta": {key: clean_text(letta.get(key), 40, None) for key in ("from", "to")},
        "revision": {key: clean_text(revision.get(key), 40, None) for key in ("from", "to")},
        "size_bytes": clean_count(record.get("size_bytes")),
        # A verdict that is missing is none.
        "verdict": verdict if verdict in VERDICTS else ERROR,
        "failure_class": clean_text(record.get("failure_class"), 60), "reason": clean_text(record.get("reason"), 1000),
        "seconds": {
            **{key: _positive(seconds.get(key)) for key in ("total", "downtime", "serve", "partial")},
            "phases": {clean_text(name, 40, "?"): _positive(value) for name, value in clean_dict(seconds.get("phases")).items()},
        },
        "throughput_mib_s": _positive(record.get("throughput_mib_s")),
        "tables": _counts(record.get("tables"), ("equal", "explained", "differ")),
        "checks": _counts(record.get("checks"), ("pass", "warn", "fail")),
        "volumes": _counts(record.get("volumes"), ("equal", "counted", "missing")),
        "agents": {key: [clean_text(agent, NAME, "?") for agent in clean_list(agents.get(key))] for key in ("restored", "failed")},
        "figures": _figures(record.get("figures")), "baseline": _figures(record.get("baseline")),
        "rto": _target(record.get("rto")), "rpo": _target(record.get("rpo")),
    }  # fmt: skip


def figures_set(sets):
    """Return the set whose figures are shown and exported: the latest by policy, else the first that passed, with figures; or None."""
    measured = [item for item in sets if item["verdict"] == PASSED and item["figures"]]
    return next((item for item in measured if "latest" in item["policies"]), measured[0] if measured else None)


def _rehearsals(records, current):
    """Return one summary per rehearsal, oldest first, the current one last."""
    groups = {}
    for record in records:
        groups.setdefault(record["rehearsal"] or record["finished_at"], []).append(record)
    groups.pop(current["rehearsal"], None)
    runs = sorted((summary(group) for group in groups.values()), key=lambda run: run["finished_at"] or "")
    return runs + [{key: current[key] for key in summary([])}]


def _promise(sets, key, decides):
    """Return what decides of the sets that passed, judged anew: ``met`` is never taken over from a record that says otherwise."""
    seconds = [item[key]["seconds"] for item in sets if item["verdict"] == PASSED and item[key]["seconds"] is not None]
    target = next((item[key]["target"] for item in sets if item[key]["target"] is not None), None)
    return _target({"seconds": decides(seconds) if seconds else None, "target": target})


def _target(part):
    part = clean_dict(part)
    seconds, target = _positive(part.get("seconds")), _positive(part.get("target"))
    return {"seconds": seconds, "target": target, "met": seconds <= target if None not in (seconds, target) else None}


def _contradictions(item):
    """Say aloud where a record does not fit together; never make it fit."""
    bad = [("%d tables differ", item["tables"]["differ"]), ("%d checks failed", item["checks"]["fail"]),
           ("%d volumes did not come back", item["volumes"]["missing"]),
           ("%d agents did not come back", len(item["agents"]["failed"]))]  # fmt: skip
    if item["verdict"] != PASSED:
        return []
    return ["%s passed, yet %s" % (item["set"] or "a set", text % count) for text, count in bad if count]


def _counts(value, keys):
    return {key: clean_count(clean_dict(value).get(key)) or 0 for key in keys}


def _figures(value):
    """Return {query: {"median_ms", "p95_ms", "count"}}; empty where nothing was measured."""
    rows = {clean_text(name, 40, "?"): clean_dict(row) for name, row in list(clean_dict(value).items())[:20]}
    return {name: dict({key: _positive(row.get(key)) for key in ("median_ms", "p95_ms")}, count=clean_count(row.get("count")))
            for name, row in rows.items()}  # fmt: skip


def _positive(value):
    number = clean_number(value)
    return number if number is not None and number >= 0 else None


def _first(sets, key):
    return next((item[key] for item in sets if item[key]), None)
