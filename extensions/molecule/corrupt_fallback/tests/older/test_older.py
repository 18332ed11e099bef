"""The newest set is damaged and the store with its copy is cut off."""
from __future__ import annotations

from tests.lab.staging import claims


def test_the_run_says_that_it_succeeded():
    assert claims.report()["status"] == "succeeded"


def test_the_older_set_was_restored():
    assert claims.report()["backup"]["id"] == claims.sets()[-2]


def test_the_damaged_set_is_told_with_the_reason():
    rejected = {item["id"]: item["reason"] for item in claims.report()["backup"]["rejected"]}
    assert "checksum" in rejected[claims.sets()[-1]]


def test_the_store_that_did_not_answer_is_told():
    assert "letta-staging-store" in str(claims.report())


def test_its_rows_are_live():
    assert claims.unequal(claims.sets()[-2], claims.explained()) == []


def test_everything_reads_back_as_at_the_older_backup():
    assert claims.read_differently("older") == []


def test_the_agent_of_between_the_backups_is_gone():
    assert "late" not in claims.agents()
