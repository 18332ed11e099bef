"""The newest set is damaged and a copy of it lies in the store."""
from __future__ import annotations

from tests.lab.staging import claims


def test_the_run_says_that_it_succeeded():
    assert claims.report()["status"] == "succeeded"


def test_the_newest_set_was_restored():
    assert claims.report()["backup"]["id"] == claims.sets()[-1]


def test_its_rows_are_live():
    assert claims.unequal(claims.sets()[-1], claims.explained()) == []


def test_everything_reads_back_as_at_the_newest_backup():
    assert claims.read_differently("newer") == []


def test_the_damaged_copy_is_told():
    assert "does not match its checksum" in str(claims.report())


def test_the_line_that_undoes_it_is_told():
    assert "rollback.yml" in claims.report()["undo"]["command"]
