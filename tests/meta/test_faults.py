"""docs/faults.md keeps its word: no fault without a test or a reason, no test of a fault that nobody declared, every guard still there."""
from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from tests.meta.collection import ROOT

FAMILIES = yaml.safe_load((ROOT / "tests" / "faults" / "families.yml").read_text(encoding="utf-8"))
MUTATIONS = yaml.safe_load((ROOT / "tests" / "faults" / "mutations.yml").read_text(encoding="utf-8"))


def test_every_fault_has_a_test_or_a_reason_and_the_page_is_what_the_tests_say():
    argv = [sys.executable, str(ROOT / "tools" / "faults.py"), "check"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


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
    assert "def %s(" % entry["test"].split("[")[0] in (ROOT / entry["tests"]).read_text(encoding="utf-8")
