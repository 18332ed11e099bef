"""Records of rehearsals as rehearse.yml writes them, and a made-up half year of them."""
from __future__ import annotations

import copy
from datetime import datetime, timedelta, timezone

TARGET = "db1/letta"
LATEST, OLDEST = "lb-20261120T020000Z-4f2a9c", "lb-20260601T020000Z-77b01e"
FIGURES = {"list_agents": {"median_ms": 4.1, "p95_ms": 6.0, "count": 20},
           "vector_search": {"median_ms": 12.5, "p95_ms": 1410.0, "count": 20}}  # fmt: skip
RECORD = {
    "format": 1, "rehearsal": "rh-20261121T213000Z-4f2a9c", "finished_at": "2026-11-21T21:41:00Z", "place": "embedded", "host": "db1",
    "target": TARGET, "set": LATEST, "taken_at": "2026-11-20T02:00:00Z", "policies": ["latest"],
    "letta": {"from": "0.16.8", "to": "0.16.8"}, "revision": {"from": "1c28e167b74f", "to": "1c28e167b74f"}, "size_bytes": 21 << 30,
    "verdict": "passed", "failure_class": "ok", "reason": "",
    "seconds": {"total": 720.0, "downtime": 1.2, "phases": {"assess": 40.0, "stage": 600.0, "cutover": 1.2}}, "throughput_mib_s": 58.5,
    "tables": {"equal": 49, "explained": 2, "differ": 0}, "checks": {"pass": 30, "warn": 1, "fail": 0},
    "volumes": {"equal": 1, "counted": 0, "missing": 0}, "agents": {"restored": ["agent-1", "agent-2"], "failed": []},
    "figures": FIGURES, "baseline": {"list_agents": {"median_ms": 3.9, "p95_ms": 5.8, "count": 20}},
    "rto": {"seconds": 720.0, "target": 900, "met": True}, "rpo": {"seconds": 5400.0, "target": 86400, "met": True},
}  # fmt: skip


def record(**changes):
    """One rehearsed set, with changes."""
    return dict(copy.deepcopy(RECORD), **changes)


def older(**changes):
    """The oldest set, which needs migrations; no RPO is asked of it."""
    base = {
        "set": OLDEST, "policies": ["oldest", "revisions"], "taken_at": "2026-06-01T02:00:00Z",
        "letta": {"from": "0.11.7", "to": "0.16.8"}, "revision": {"from": "ddb69be34a72", "to": "1c28e167b74f"}, "rpo": None,
        "seconds": {"total": 810.0, "downtime": 2.5, "phases": {"stage": 590.0, "migrate": 38.0}}, "rto": {"seconds": 810.0, "target": 900},
    }
    return record(**dict(base, **changes))


def failed(**changes):
    return record(**dict({
        "verdict": "failed", "failure_class": "backup_corrupt", "reason": "database/4012.dat.zst does not match its checksum",
        "seconds": {"total": 3.0, "downtime": None, "phases": {"assess": 3.0}}, "tables": {}, "checks": {}, "agents": {}, "figures": {},
    }, **changes))


def error(**changes):
    return record(**dict({
        "verdict": "error", "failure_class": "preflight", "reason": "the store s3:letta is silent since 300 s", "set": None,
        "seconds": {}, "tables": {}, "checks": {}, "agents": {}, "figures": {}, "rto": {}, "rpo": {},
    }, **changes))


def half_year(count=20, slow=1.0):
    """Weekly rehearsals up to the one before :data:`RECORD`; some failed, some came to no verdict."""
    records = []
    for number in range(count):
        moment = datetime(2026, 11, 14, 21, 41, tzinfo=timezone.utc) - timedelta(days=7 * (count - 1 - number))
        facts = {"rehearsal": "rh-%d" % number, "finished_at": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}
        seconds = slow * (540.0 + 9 * number + (number * 37) % 50)
        times = {"seconds": {"total": seconds, "downtime": 1.0 + (number * 7 % 10) / 10}, "rto": {"seconds": seconds, "target": 900}}
        if number in (6, 7):
            records.append(error(**facts))
        elif number == 12:
            records += [failed(**facts), older(**dict(facts, **times))]
        else:
            records += [record(**dict(facts, **times)), older(**dict(facts, **times))]
    return records
