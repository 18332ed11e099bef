"""How a rehearsal ends: a failure and the lack of a verdict are told apart by exit codes that Ansible has already."""
from __future__ import annotations

import pytest

from tests.unit.action.test_controller_actions import play

FULL = {"seconds": 60, "failure": None, "report": {"status": "succeeded", "tables": [{"digest": "equal"}], "downtime_seconds": 1}}


def rehearsed(base, failure=None, rto=900):
    step = {"head": {"rehearsal": "rh-20261121T213000Z-4f2a9c", "set": "lb-1", "policies": ["latest"], "target": "db1/letta"},
            "full": {"failure": failure, "seconds": 3} if failure else FULL, "finished_at": "2026-11-21T21:41:00Z"}  # fmt: skip
    judge = {"state": "judged", "steps": [step], "rto": rto}
    folder = str(base / "rh-20261121T213000Z-4f2a9c")
    write = {"state": "written", "records": "{{ judged.records }}", "folder": folder, "target": "db1/letta"}
    name = "letta_ops.recovery.rehearsal_report"
    return play(base, [{name: judge, "register": "judged"}, {name: write}])


@pytest.mark.parametrize(
    ("failure", "rto", "code", "said"),
    [
        (None, 900, 0, "the promise holds"),
        ({"failure_class": "backup_corrupt", "message": "one byte"}, 900, 2, "one byte"),
        ({"failure_class": "preflight", "message": "no answer"}, 900, 4, "NO VERDICT"),
        (None, 5, 2, "MISSED A TARGET"),
    ],
)
def test_the_exit_code_says_passed_failed_or_no_verdict(tmp_path, failure, rto, code, said):
    found, out = rehearsed(tmp_path, failure, rto)
    assert (found, said in out) == (code, True), out
    assert (tmp_path / "latest-rehearsal" / "report.html").exists()
