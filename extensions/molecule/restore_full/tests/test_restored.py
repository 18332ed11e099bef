"""What a full restore of the newest set made of the system."""
from __future__ import annotations

import pytest

from tests.lab.staging import claims

NEWEST = -1
MEMORY = "/var/lib/letta/memory"


def test_the_run_says_that_it_succeeded():
    assert claims.report()["status"] == "succeeded"


def test_it_warns_of_nothing():
    assert claims.report()["warnings"] == []


def test_it_restored_the_newest_set():
    assert claims.report()["backup"]["id"] == claims.sets()[NEWEST]


def test_the_rows_are_those_of_the_set():
    assert claims.unequal(claims.sets()[NEWEST], claims.explained()) == []


def test_every_table_was_proven_before_the_cutover():
    assert {table["digest"] for table in claims.report()["tables"]} <= {"equal", "explained"}


def test_everything_reads_back_as_at_the_backup():
    assert claims.read_differently("newer") == []


def test_the_agent_of_after_the_backup_is_gone():
    assert "after" not in claims.agents()


def test_letta_s_locks_in_redis_are_gone():
    assert {key for key in claims.redis() if key.startswith(("conversation:lock:", "agent:send_message:"))} == set()


def test_no_side_database_is_left():
    assert not [name for name in claims.databases() if "side" in name or "new" in name]


def test_the_files_of_the_volume_are_back():
    host = claims.host(claims.SERVERS[0])
    found = host.check_output("cd %s && find . -type f | sort", MEMORY).split()
    assert found == ["./index.json", "./notes/deep/second.md", "./notes/first.md"]


def test_the_volume_belongs_to_letta_alone():
    folder = claims.host(claims.SERVERS[0]).file(MEMORY)
    assert (folder.user, folder.group, folder.mode) == ("letta", "letta", 0o750)


def test_a_file_of_the_volume_has_its_owner_and_mode():
    file = claims.host(claims.SERVERS[0]).file(MEMORY + "/notes/first.md")
    assert (file.user, file.group, file.mode) == ("letta", "letta", 0o640)


def test_a_file_of_the_volume_has_its_content():
    assert claims.host(claims.SERVERS[0]).file(MEMORY + "/notes/deep/second.md").content_string == "caf\u00e9 {{ braces }} $(word)\n"


def test_the_report_says_how_long_nobody_was_served():
    assert 0 < claims.report()["downtime_seconds"] < 600


@pytest.mark.writes
@pytest.mark.parametrize("name", claims.SERVERS)
def test_an_agent_of_the_set_answers(name):
    assert claims.answers(claims.remembered()["made"]["agents"]["busy"], name)
