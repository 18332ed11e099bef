"""What a rollback made of the system: what was live before the restore is live again."""
from __future__ import annotations

from tests.lab.staging import claims


def test_the_run_says_that_it_was_taken_back():
    assert (claims.report()["playbook"], claims.report()["status"]) == ("rollback.yml", "rolled_back")


def test_the_agent_that_no_set_has_is_back():
    assert "after" in claims.agents()


def test_everything_else_reads_as_before_the_restore():
    found = claims.read_back(claims.api())
    before = claims.remembered()["newer"]
    assert claims.differences(before["agents"], {agent: found["agents"][agent] for agent in before["agents"]}) == []


def test_the_messages_that_were_lost_in_the_restored_database_are_there():
    expected = claims.manifest(claims.sets()[-1])["tables"]["letta.messages"]["rows"]
    assert claims.query(claims.server(), "SELECT count(*) FROM messages")[0][0] >= expected


def test_letta_s_locks_in_redis_are_gone():
    assert {key for key in claims.redis() if key.startswith(("conversation:lock:", "agent:send_message:"))} == set()


def test_the_volume_is_the_one_of_before():
    assert claims.host(claims.SERVERS[0]).file("/var/lib/letta/memory/notes/first.md").content_string == "# First\n"


def test_the_restored_database_is_kept_to_look_at():
    assert len(claims.databases()) == 2
