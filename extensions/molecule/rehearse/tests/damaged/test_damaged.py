"""The newest set was damaged before both were rehearsed again."""
from __future__ import annotations

from tests.lab.staging import claims


def test_the_damaged_set_failed_and_the_other_passed():
    older, newest = claims.sets()
    assert claims.rehearsed() == {older: "passed", newest: "failed"}


def test_the_reason_names_the_file():
    (failed,) = [record for record in claims.history() if record["verdict"] == "failed"]
    assert "does not match its checksum" in failed["reason"]
