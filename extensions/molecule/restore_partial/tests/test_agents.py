"""What a partial restore made of the system: the deleted agents are back, and nobody else changed."""
from __future__ import annotations

import pytest

from tests.lab.staging import claims

BACK = ("support", "careful")


@pytest.fixture(scope="module")
def found():
    return claims.read_back(claims.api())


@pytest.fixture(scope="module")
def before():
    return claims.remembered()


def test_the_run_says_that_it_succeeded():
    assert claims.report()["status"] == "succeeded"


@pytest.mark.parametrize("key", BACK)
def test_the_agent_is_back_with_its_id(before, found, key):
    assert before["made"]["agents"][key] in found["agents"]


@pytest.mark.parametrize("key", BACK)
def test_the_agent_reads_as_before(before, found, key):
    agent = before["made"]["agents"][key]
    assert claims.differences(before["newer"]["agents"][agent], found["agents"][agent]) == []


def test_everybody_else_reads_as_before(before, found):
    back = {before["made"]["agents"][key] for key in BACK}
    others = {agent: facts for agent, facts in before["newer"]["agents"].items() if agent not in back}
    assert claims.differences(others, {agent: found["agents"][agent] for agent in others}) == []


def test_the_agent_of_after_the_first_backups_is_still_there():
    assert "after" in claims.agents()


@pytest.mark.parametrize("name", claims.SERVERS)
def test_the_server_was_not_stopped_for_it(name):
    started = claims.host(name).check_output("systemctl show --value --timestamp=unix --property=ActiveEnterTimestamp letta.service")
    assert int(started.lstrip("@")) < claims.started()


@pytest.mark.writes
def test_the_agent_answers_again(before):
    assert claims.answers(before["made"]["agents"]["support"])


def test_the_database_is_the_one_of_before():
    assert claims.databases() == {"letta"}
