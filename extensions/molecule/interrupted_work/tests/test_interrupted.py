"""What a restore made of work that was under way at the backup and that no server will finish."""
from __future__ import annotations

import pytest

from tests.lab.staging import claims


@pytest.fixture(scope="module")
def made():
    return claims.remembered()["made"]


def test_the_run_says_that_it_succeeded():
    assert claims.report()["status"] == "succeeded"


def test_no_run_is_open_any_more():
    assert claims.query(claims.server(), "SELECT id FROM runs WHERE status IN ('created', 'running')") == []


def test_no_step_is_pending_any_more():
    assert claims.query(claims.server(), "SELECT id FROM steps WHERE status = 'PENDING'") == []


def test_the_hanging_run_is_told_as_reconciled(made):
    assert made["runs"]["hanging"] in {item["id"] for item in claims.report()["reconciled"]}


def test_the_hanging_run_is_closed_for_the_api_too(made):
    assert claims.api().api("GET", "/v1/runs/%s" % made["runs"]["hanging"])["status"] in ("failed", "cancelled")


def test_the_hanging_file_is_told_as_reconciled(made):
    assert made["files"]["hanging"] in {item["id"] for item in claims.report()["reconciled"]}


def test_letta_s_keys_of_the_work_are_gone_from_redis(made):
    assert not [key for key in claims.redis() if made["runs"]["hanging"] in key or made["agents"]["busy"] in key]


@pytest.mark.writes
@pytest.mark.parametrize("name", claims.SERVERS)
@pytest.mark.parametrize("key", ["streamed", "support"])
def test_the_agent_answers_again(made, key, name):
    assert claims.answers(made["agents"][key], name)


def test_the_explained_rows_are_those_of_the_work():
    explained = {table["name"] for table in claims.report()["tables"] if table["digest"] == "explained"}
    assert {"letta.runs", "letta.files"} <= explained


def test_no_table_differs_without_explanation():
    assert {table["digest"] for table in claims.report()["tables"]} == {"equal", "explained"}
