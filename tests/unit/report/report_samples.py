"""Facts of runs as a playbook assembles them: a restore that succeeded, one that failed, a plan."""
from __future__ import annotations

import copy

TABLES = [
    ("letta.agents", 412), ("letta.block", 1630), ("letta.blocks_agents", 1644), ("letta.identities", 12), ("letta.messages", 300000),
    ("letta.conversations", 88), ("letta.archives", 9), ("letta.archival_passages", 15000), ("letta.sources", 7), ("letta.files", 64),
    ("letta.file_contents", 64), ("letta.source_passages", 5120), ("letta.tools", 57), ("letta.tools_agents", 4944), ("letta.providers", 2),
    ("letta.organizations", 1), ("letta.users", 3), ("letta.alembic_version", 1),
]

PLAN = {
    "set_id": "lb-20261120T020000Z-4f2a9c", "taken_at": "2026-11-20T02:00:00Z", "verified_at": "2026-11-20T22:14:00Z",
    "why": "the newest set that passed verification", "host": "db1", "database": "letta", "kind": "replace", "mode": "swap",
    "window": {"seconds": 83520, "messages": 4118, "agents": ["billing-7", "intake-2"]},
    "schema": {
        "from_revision": "1c28e167b74f", "from_release": "0.16.7–0.16.8", "to_revision": "1c28e167b74f", "to_release": "0.16.8",
        "verdict": "equal, no migration needed",
    },
    "disk": {"need_bytes": 44023414784, "free_bytes": 103079215104}, "stops": ["letta1", "letta2"], "expected_seconds": 720,
    "expected_downtime_seconds": 25, "keep_previous": "7 days",
    "undo": "ansible-playbook playbooks/rollback.yml -e letta_restore_id=r-7f3c",
    "steps": [
        {"name": "assess", "detail": "checksums and table of contents of the set", "expected_seconds": 40},
        {"name": "stage", "detail": "load into letta__restore_r-7f3c with 4 workers, prove by digest", "expected_seconds": 620},
        {"name": "migrate", "detail": "nothing to do", "expected_seconds": 0},
        {"name": "cutover", "detail": "stop letta1, letta2; fence off sessions; rename; start", "expected_seconds": 25},
        {"name": "verify", "detail": "read back through the API and the database", "expected_seconds": None},
    ],
    "rejected": [{"id": "lb-20261121T020000Z-9c01aa", "reason": "database/4012.dat.gz does not match its checksum"}],
    "warnings": ["the collation version of the server is newer than that of the set"],
}

SUCCESS = {
    "run_id": "r-7f3c", "playbook": "restore-full.yml", "status": "succeeded", "failure_class": "ok", "host": "db1",
    "started_at": "2026-11-21T02:02:00Z", "finished_at": "2026-11-21T02:14:07Z",
    "backup": {
        "id": "lb-20261120T020000Z-4f2a9c", "taken_at": "2026-11-20T02:00:00Z", "letta_version": "0.16.8",
        "alembic_revision": "1c28e167b74f",
        "rejected": [{"id": "lb-20261121T020000Z-9c01aa", "reason": "database/4012.dat.gz does not match its checksum"}],
    },
    "target": {"host": "db1", "database": "letta", "alembic_revision": "1c28e167b74f"},
    "phases": [
        {"name": "assess", "status": "done", "seconds": 38.2, "started_at": "2026-11-21T02:02:00Z", "detail": "31 files, 12.4 GiB read"},
        {"name": "stage", "status": "done", "seconds": 598.4, "started_at": "2026-11-21T02:02:39Z", "detail": "20.3 GiB with 4 workers"},
        {"name": "migrate", "status": "skipped", "seconds": None, "detail": "schema is equal"},
        {"name": "validate", "status": "done", "seconds": 41.0, "started_at": "2026-11-21T02:12:38Z", "detail": "14 checks"},
        {"name": "reconcile", "status": "skipped", "seconds": None, "detail": "not part of this release"},
        {"name": "cutover", "status": "done", "seconds": 21.7, "started_at": "2026-11-21T02:13:20Z", "detail": "letta1, letta2 stopped"},
        {"name": "verify", "status": "done", "seconds": 24.9, "started_at": "2026-11-21T02:13:42Z", "detail": "412 agents read back"},
    ],
    "downtime_seconds": 19.3,
    "tables": [{"name": n, "rows_expected": r, "rows_restored": r, "digest": "equal", "explanation": None} for n, r in TABLES] + [
        {"name": "letta.runs", "rows_expected": 912, "rows_restored": 912, "digest": "explained", "explanation": "3 reconciled"},
        {"name": "letta.steps", "rows_expected": 4400, "rows_restored": 4400, "digest": "explained", "explanation": "4 closed"},
    ],
    "checks": [
        {"id": "sequence.above_columns", "status": "pass", "detail": "message_seq_id stands above messages.sequence_id", "count": 0},
        {"id": "settings.search_path", "status": "pass", "detail": "search_path of the database is letta", "count": 0},
        {"id": "messages.missing", "status": "warn", "detail": "agents name messages that are not there", "count": 2,
         "examples": ["agent-3f0c", "agent-91aa"]},
    ],
    "reconciled": [{"entity": "run", "id": "run-1", "action": "closed as failed", "reason": "was running when the backup was taken"}],
    "redis": {"dropped": 3, "kept": 41},
    "undo": {"command": PLAN["undo"], "valid_until": "2026-11-28T02:14:00Z"},
    "plan": PLAN, "tools": {"pg_restore": "18.6", "PostgreSQL": "18.6", "ansible-core": "2.19.14"},
}

FAILURE = {
    "run_id": "r-81d0", "playbook": "restore-full.yml", "status": "failed", "failure_class": "backup_corrupt", "host": "db1",
    "message": "database/4012.dat.zst of lb-20261120T020000Z-4f2a9c does not match its checksum (byte range 0-4194304)",
    "now": "live database untouched, nothing stopped, no side database left",
    "next_step": "ansible-playbook playbooks/restore-full.yml -e letta_backup_id=lb-20261119T020000Z-77b01e",
    "started_at": "2026-11-21T02:02:00Z", "finished_at": "2026-11-21T02:02:41Z",
    "backup": SUCCESS["backup"], "target": SUCCESS["target"],
    "phases": [
        {"name": "assess", "status": "failed", "seconds": 38.2, "started_at": "2026-11-21T02:02:00Z", "detail": "stopped at file 17 of 31"},
        {"name": "stage", "status": "not run", "seconds": None},
        {"name": "cutover", "status": "not run", "seconds": None},
    ],
}

PLANNED = {
    "run_id": "r-c001", "playbook": "restore-full.yml", "status": "planned", "failure_class": "ok", "started_at": "2026-11-21T02:02:00Z",
    "backup": SUCCESS["backup"], "target": SUCCESS["target"], "plan": PLAN,
    "undo": {"command": PLAN["undo"], "valid_until": None},
}

# What a hostile or merely odd database may put into names and messages.
NASTY = [
    "{{ lookup('pipe', 'id') }}", "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "it's \"quoted\" \\ and `ticks`",
    "$(id); DROP TABLE x", "a" * 10000, "\x1b[31mred\x1b[0m", "line\nbreak", "\x00nul", "\ud800 lone surrogate", "emoji 🦙 ünïcode",
    "]]>", "\u202egnp.exe", None, 7, 1.5, True, float("nan"), float("inf"), [], {}, b"\xff\xfe", object(),
]


def success(**changes):
    """Return the facts of a good run, with changes."""
    return dict(copy.deepcopy(SUCCESS), **changes)
