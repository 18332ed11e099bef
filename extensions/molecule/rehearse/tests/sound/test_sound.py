"""Both sets were rehearsed on the database host."""
from __future__ import annotations

from tests.lab.staging import claims


def test_both_sets_passed():
    assert claims.rehearsed() == dict.fromkeys(claims.sets(), "passed")


def test_each_brought_an_agent_back():
    assert [len(record["agents"]["restored"]) for record in claims.history()] == [1, 1]


def test_the_volume_of_each_came_back_equal():
    assert [record["volumes"] for record in claims.history()] == [{"equal": 1, "counted": 0, "missing": 0}] * 2


def test_each_was_served_by_the_release_of_the_system():
    assert {record["letta"]["to"] for record in claims.history()} == {"0.16.8"}


def test_an_agent_answered_and_was_timed():
    assert all(record["figures"]["api_send_message"]["median_ms"] > 0 for record in claims.history())


def test_no_folder_of_the_throw_away_systems_is_left():
    found = claims.host(claims.DATABASE).check_output("find /var/tmp /tmp /run -maxdepth 2 -name '*letta?rehearsal*'")
    assert found == ""


def test_no_process_of_the_throw_away_systems_is_left():
    assert "letta_rehearsal" not in claims.host(claims.DATABASE).check_output("ps -eo args")


def test_the_running_system_has_the_rows_it_had():
    assert claims.changed_since_kept() == set()
