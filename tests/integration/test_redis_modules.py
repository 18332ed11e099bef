"""The modules for Redis as Ansible runs them: through main(), in check mode, refused in full and without the password."""
from __future__ import annotations

import json

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime import redis as aligning
from ansible_collections.letta_ops.recovery.plugins.modules import letta_service, redis_align, redis_clients_info
from tests.lab.modules import run_main

AGENT = "agent-6a0ff4d6-6f9e-4f0c-8d0b-1d4b8a3c2e11"
DATABASE = 7


@pytest.fixture
def call(monkeypatch, capsys, redis_server):
    """Run a module against database 7; returns its result."""

    def run(module, check=False, **params):
        login = {"redis_host": redis_server.host, "redis_port": redis_server.port}
        if module is not letta_service:
            login.update(redis_password=redis_server.password, redis_database=DATABASE)
        run_main(monkeypatch, module, dict(login, **params), check=check)
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def client(redis_server):
    made = redis_server.client(db=DATABASE, single_connection_client=True)
    made.flushdb()
    made.mset({"conversation:lock:" + AGENT: "token", "memory_repo:lock:" + AGENT.replace("6a", "7a"): "x", "conversation:lock:mine": "x"})
    yield made
    made.flushdb()
    made.close()


def test_redis_align_counts_in_check_mode_then_drops_then_changes_nothing(call, client):
    counted = call(redis_align, check=True)
    assert (counted["changed"], counted["dropped"], counted["kept"], client.dbsize()) == (True, 2, 1, 3)
    limited = call(redis_align, agents=[AGENT])
    assert (limited["changed"], limited["dropped"], limited["kept"]) == (True, 1, 2)
    assert (call(redis_align)["dropped"], client.keys()) == (1, ["conversation:lock:mine"])
    again = call(redis_align)
    assert (again["changed"], again["dropped"], again["kept"]) == (False, 0, 1)


def test_redis_align_refuses_with_a_class_and_a_next_step_and_without_the_password(call):
    refused = call(redis_align, redis_password="a wrong word")
    assert (refused["failed"], refused["failure_class"]) == (True, "preflight")
    assert "NEXT: compare letta_redis_user" in refused["msg"]
    assert "a wrong word" not in json.dumps(refused)


def test_without_the_library_both_say_what_to_install(call, monkeypatch):
    monkeypatch.setattr(aligning, "REDIS_IMPORT_ERROR", ImportError("No module named redis"))
    for module in (redis_align, redis_clients_info):
        refused = call(module)
        assert "redis" in refused["msg"]
        assert "python3-redis" in refused["next_step"]


def test_redis_clients_info_finds_the_server_where_letta_service_says_it_comes_from(call, client):
    source = call(letta_service, state="status")["redis_source"]
    assert source["address"] == "127.0.0.1"
    client.ping()  # a connection as a server's: the same library, the same database
    found = call(redis_clients_info, servers={"letta1": source})
    assert (found["changed"], [item["proven"] for item in found["servers"]]) == (False, [True])
    since = call(redis_align, check=True)["client_id"]
    found = call(redis_clients_info, servers={"letta1": source}, since=since)
    assert [item["proven"] for item in found["servers"]] == [False]
    assert "since it was stopped" in found["servers"][0]["detail"]
