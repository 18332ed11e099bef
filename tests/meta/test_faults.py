"""docs/faults.md keeps its word: no fault without a test or a reason, no test of a fault that nobody declared, every guard still there."""
from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from tests.lab import servers
from tests.meta.collection import ROOT

FAMILIES = yaml.safe_load((ROOT / "tests" / "faults" / "families.yml").read_text(encoding="utf-8"))
MUTATIONS = yaml.safe_load((ROOT / "tests" / "faults" / "mutations.yml").read_text(encoding="utf-8"))


def test_every_fault_has_a_test_or_a_reason_and_the_page_is_what_the_tests_say():
    argv = [sys.executable, str(ROOT / "tools" / "faults.py"), "check"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_what_was_noted_of_other_servers_is_of_those_that_the_tests_know_and_nothing_failed_there():
    noted = json.loads((ROOT / "tests" / "faults" / "servers.json").read_text(encoding="utf-8"))
    known = {"%s %s" % (name, other.release) for variable, name in ((servers.POSTGRES, "PostgreSQL"), (servers.REDIS, "Redis"))
             for other in servers.OTHERS[variable].values()}  # fmt: skip
    assert set(noted) <= known
    assert [(server, name) for server, files in noted.items() for name, entry in files.items() if entry.get("failed")] == []
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    assert [server for server in known if "\n| %s | " % server not in page] == []


def test_there_are_forty_two_families_each_with_what_happens_and_what_is_true_afterwards():
    families = [family for group in FAMILIES["groups"] for family in group["families"]]
    assert len(families) == 42
    for family in families:
        assert all(family[key] for key in ("fault", "happens", "afterwards", "failure_class")), family


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_guard_that_was_taken_away_once_is_still_there(name):
    entry = MUTATIONS[name]
    text = (ROOT / entry["file"]).read_text(encoding="utf-8")
    assert text.count(entry["take"]) == 1
    assert entry["leave"] != entry["take"]
    for test in entry["falls"]:
        path, function = test.split("[")[0].split("::")
        assert "def %s(" % function in (ROOT / path).read_text(encoding="utf-8")
