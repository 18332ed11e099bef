"""What a restore made of a set of Letta 0.11.7."""
from __future__ import annotations

import pytest

from tests.lab.staging import claims


@pytest.fixture(scope="module")
def found():
    return claims.agents()


def test_the_run_says_that_it_succeeded():
    assert claims.report()["status"] == "succeeded"


def test_it_restored_the_set_of_the_old_release():
    assert claims.report()["backup"]["id"] == claims.sets()[-1]


def test_the_set_was_of_the_old_schema():
    assert claims.report()["backup"]["alembic_revision"] != claims.HEAD


def test_the_live_schema_is_that_of_the_servers():
    assert claims.query(claims.server(), "SELECT version_num FROM alembic_version") == [(claims.HEAD,)]


@pytest.mark.parametrize("name", claims.SERVERS)
def test_every_server_is_of_the_release_of_the_schema(name):
    assert claims.api(name).api("GET", "/v1/health/")["version"] == "0.16.8"


def test_nothing_stays_of_what_a_server_of_the_wrong_release_wrote():
    assert claims.query(claims.server(), "SELECT id FROM block WHERE label = 'wrong'") == []


def test_the_agents_of_the_set_are_there():
    rows = claims.query(claims.server(), "SELECT id FROM agents")
    assert {agent for (agent,) in rows} == set(claims.manifest(claims.sets()[-1])["agents"])


def test_the_servers_tell_of_no_other_agents(found):
    assert set(found.values()) <= set(claims.manifest(claims.sets()[-1])["agents"])


@pytest.mark.parametrize("name", claims.SERVERS)
def test_every_agent_can_be_read(found, name):
    api = claims.api(name)
    assert [api.api("GET", "/v1/agents/%s" % agent)["id"] for agent in found.values()] == list(found.values())


def test_no_row_differs_without_explanation():
    assert {table["digest"] for table in claims.report()["tables"]} <= {"equal", "explained"}


def test_what_changed_is_explained_by_a_migration():
    assert [table for table in claims.report()["tables"] if table["digest"] == "explained" and table["explanation"]]


def test_no_secret_stays_in_plain_text_alone():
    rows = claims.query(claims.server(), "SELECT count(*) FROM agent_environment_variables WHERE value_enc IS NULL AND value <> ''")
    assert rows == [(0,)]


def test_no_message_was_lost():
    expected = claims.manifest(claims.sets()[-1])["tables"]["letta.messages"]["rows"]
    assert claims.query(claims.server(), "SELECT count(*) FROM messages")[0][0] >= expected
