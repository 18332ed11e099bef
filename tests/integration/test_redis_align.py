"""Redis after a restore, on a real server: Letta's keys go, everybody else's stay, and each refusal is one clear sentence."""
from __future__ import annotations

import re
import secrets
import subprocess
import time
from dataclasses import replace

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import redis_keys
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.redisserver import RedisServer
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.reach import source_of
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.redis import align
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.redisuse import uses
from tests.lab import places, servers
from tests.lab.letta_install import letta_home
from tests.lab.tls_front import certificate, tls_front
from tests.lab.valkey import EmbeddedValkey

DATABASE = 5
UUID, OTHER = "6a0ff4d6-6f9e-4f0c-8d0b-1d4b8a3c2e11", "0b6f3c0e-8f5c-4d8e-9f6e-7f0a3f0c9d22"
LETTAS = {"run_map": 3, "lock": 3, "stream": 1, "cache": 2}


def fill(client):
    """Write one key of each kind as Letta does, and look-alikes of other applications; returns the names of the latter."""
    client.set("agent:send_message:run_id:agent-%s" % UUID, "run-%s" % UUID)
    client.set("otid:run:a client's {{ word }}", "run-%s" % UUID, ex=10800)
    client.set("otid:run:other", "run-%s" % OTHER, ex=10800)
    client.set("conversation:lock:conv-%s" % UUID, "token", px=300000)
    client.set("conversation:lock:agent-%s" % OTHER, "token", px=300000)
    client.set("memory_repo:lock:agent-%s" % UUID, "commit:0", px=60000)
    client.xadd("sse:run:run-%s" % UUID, {"data": "chunk"})
    client.set("letta_cache:actor_id:user-%s" % UUID, "{}", ex=600)
    client.set("token_counter:tiktoken_text_tokens:gpt-4o:0123456789abcdef", "7", ex=3600)
    client.set("agent:7", "mine")
    client.set("otid:run:mine", "no run")
    client.lpush("otid:run:list", "run-%s" % UUID)
    client.sadd("beta:include", "x")
    client.set(b"\xff\x00", "binary")
    return {b"agent:7", b"otid:run:mine", b"otid:run:list", b"beta:include", b"\xff\x00"}


@pytest.fixture
def server(redis_server):
    return RedisServer(redis_server.host, redis_server.port, redis_server.password, timeout=5, database=DATABASE)


@pytest.fixture
def client(redis_server):
    """A client of an emptied database of its own, answers in bytes."""
    import redis

    made = redis.Redis(redis_server.host, redis_server.port, db=DATABASE, password=redis_server.password)
    made.flushdb()
    yield made
    made.flushdb()
    made.close()


def refusal(server):
    with pytest.raises(RecoveryError) as caught:
        align(server)
    error = caught.value
    assert (error.failure_class, bool(error.next_step)) == ("preflight", True)
    assert server.address in error.message
    assert not server.password or server.password not in str(error.as_dict())
    return error


@pytest.mark.fault(34, "foreign", "locks")
def test_lettas_keys_go_and_those_of_others_stay_in_this_and_other_databases(server, client, redis_server):
    foreign = fill(client)
    elsewhere = redis_server.client(db=DATABASE + 1)
    elsewhere.flushdb()
    elsewhere.set("conversation:lock:agent-%s" % UUID, "token")
    counted = align(server, check=True)
    assert (counted["changed"], counted["dropped"], counted["kept"]) == (True, 9, len(foreign))
    assert len(client.keys()) == 9 + len(foreign)
    done = align(server)
    assert set(client.keys()) == foreign
    assert {name: count["dropped"] for name, count in done["classes"].items()} == dict(LETTAS, foreign=0)
    assert (done["dropped"], done["kept"], done["address"]) == (9, 5, "%s:%d/%d" % (server.host, server.port, DATABASE))
    assert elsewhere.dbsize() == 1
    elsewhere.flushdb()
    again = align(server)
    assert (again["changed"], again["dropped"], again["kept"]) == (False, 0, 5)


def test_a_limit_drops_the_keys_of_some_agents_conversations_and_runs_alone(server, client):
    fill(client)
    before = set(client.keys())
    only = redis_keys.Only(
        frozenset(["agent-%s" % OTHER]), frozenset(["conv-%s" % UUID]), frozenset(["run-%s" % UUID])
    )
    done = align(server, only)
    gone = before - set(client.keys())
    assert gone == {
        b"conversation:lock:agent-%s" % OTHER.encode(), b"conversation:lock:conv-%s" % UUID.encode(),
        b"sse:run:run-%s" % UUID.encode(), b"otid:run:a client's {{ word }}",
    }  # fmt: skip
    assert (done["dropped"], done["kept"]) == (4, len(before) - 4)
    assert sum(count["kept"] for count in done["classes"].values()) == done["kept"]


@pytest.mark.fault(34, "foreign")
def test_among_a_hundred_thousand_foreign_keys_lettas_are_found_in_bounded_batches(server, client):
    foreign = 100_000
    client.eval("for n = 1, %d do redis.call('SET', 'conversation:lock:' .. n, 'x') end" % foreign, 0)
    for _number in range(2500):
        client.set("sse:run:run-%s" % _uuid(), "x")
    client.config_resetstat()
    done = align(server)
    calls = client.info("commandstats")
    assert (done["dropped"], done["kept"], client.dbsize()) == (2500, foreign, foreign)
    assert calls["cmdstat_scan"]["calls"] >= 90
    assert calls["cmdstat_unlink"]["calls"] >= 3
    assert "cmdstat_keys" not in calls and "cmdstat_flushdb" not in calls
    assert done["seconds"] < 20
    print("100 000 foreign keys: %.2f s" % done["seconds"])


def _uuid():
    raw = secrets.token_hex(16)
    return "%s-%s-4%s-a%s-%s" % (raw[:8], raw[8:12], raw[13:16], raw[17:20], raw[20:])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"password": ""}, "wants a password"),
        ({"password": "wr0ng-pass"}, "refuses letta_redis_password"),
        ({"port": 1}, "does not answer"),
        ({"host": "no.such.host.invalid"}, "does not answer"),
        ({"database": 99}, "has no database 99"),
    ],
)
def test_what_stands_in_the_way_is_told_at_once(server, changes, said):
    began = time.monotonic()
    assert said in refusal(replace(server, **changes)).message
    assert time.monotonic() - began < 3


def test_a_user_who_may_not_unlink_is_told_what_to_allow_and_nothing_is_gone(server, client, redis_server):
    fill(client)
    before = client.dbsize()
    client.execute_command("ACL", "SETUSER", "looker", "on", ">s3cret", "~*", "+@all", "-unlink")
    try:
        error = refusal(replace(server, user="looker", password="s3cret"))
        assert "unlink" in error.message.lower()
        assert "+unlink" in error.next_step
        assert client.dbsize() == before
    finally:
        client.execute_command("ACL", "DELUSER", "looker")


@pytest.mark.fault(34, "down")
def test_a_server_that_says_nothing_is_given_up_after_the_time_out_once(server):
    import socket

    with socket.create_server((places.LOOPBACK, 0)) as mute:
        began = time.monotonic()
        assert "does not answer" in refusal(replace(server, port=mute.getsockname()[1], timeout=1)).message
        assert time.monotonic() - began < 2


def test_a_replica_and_a_cluster_are_refused_with_whom_to_ask(tmp_path, redis_server):
    second = EmbeddedValkey(tmp_path).start()
    try:
        second.client().replicaof(redis_server.host, redis_server.port)
        error = refusal(RedisServer(second.host, second.port))
        assert "is a replica of %s:%d" % (redis_server.host, redis_server.port) in error.message
    finally:
        second.destroy()
    port = places.free_port()
    argv = [servers.redis(), "--cluster-enabled", "yes", "--bind", places.LOOPBACK, "--port", str(port), "--dir", str(tmp_path)]
    argv += ["--cluster-port", str(places.free_port())]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd=tmp_path) as node:
        try:
            assert places.wait_for(lambda: places.port_answers(port), 10)
            assert "is a node of a Redis cluster" in refusal(RedisServer(places.LOOPBACK, port)).message
        finally:
            node.kill()


def test_tls_is_spoken_and_certificates_are_checked(server, client, redis_server, tmp_path):
    client.set("agent:send_message:run_id:agent-%s" % UUID, "run-%s" % UUID)
    good, misnamed = certificate(tmp_path), certificate(tmp_path, "192.0.2.1")
    with tls_front(redis_server.port, good) as port:
        behind = replace(server, port=port, tls=True, tls_ca=str(good))
        assert "TLS" in refusal(replace(behind, tls_ca=str(misnamed))).message
        assert "letta_redis_tls" in refusal(replace(behind, tls=False, timeout=1)).next_step
        assert align(behind)["dropped"] == 1
    with tls_front(redis_server.port, misnamed) as port:
        assert "TLS" in refusal(replace(server, port=port, tls=True, tls_ca=str(misnamed))).message


@pytest.mark.slow
def test_every_key_that_the_source_of_a_real_letta_names_is_declared():
    """Reads Letta's source: a release with another prefix fails here."""
    (package,) = (letta_home() / "venv" / "lib").glob("python3*/site-packages/letta")
    constants = (package / "constants.py").read_text(encoding="utf-8")
    prefixes = set(re.findall(r'^(?:REDIS_\w+|\w*(?:LOCK|OTID|REDIS)\w*)_PREFIX = "([^"]+)"', constants, re.MULTILINE))
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        prefixes |= set(re.findall(r'(?:stream_key|redis_key|lock_key) = f"([a-z_:]+):\{', text))
        if "@async_redis_cache(" in text:
            prefixes |= set(re.findall(r'^ +prefix="([a-z_]+)"', text, re.MULTILINE))  # some uses are commented out
    assert len(prefixes) >= 7, prefixes
    declared = [pattern.pattern for pattern in redis_keys.PATTERNS]
    assert [prefix for prefix in prefixes if not any(name.startswith(prefix) for name in declared)] == []


@pytest.mark.slow
def test_a_real_letta_is_seen_to_use_redis_and_not_in_another_one(letta, letta_redis, redis_server):
    letta.api("GET", "/v1/agents/?limit=1")
    servers = {"letta1": source_of(letta_redis.host, letta_redis.port)}
    found = uses(RedisServer(letta_redis.host, letta_redis.port), servers)
    assert [item["proven"] for item in found["servers"]] == [True]
    late = align(RedisServer(letta_redis.host, letta_redis.port), check=True)["client_id"]
    assert [item["proven"] for item in uses(RedisServer(letta_redis.host, letta_redis.port), servers, late)["servers"]] == [False]
    # A client of another library, on the same address and database, is not Letta.
    other = redis_server.client(single_connection_client=True)
    other.execute_command("CLIENT", "SETINFO", "LIB-NAME", "exporter")
    password = redis_server.password
    assert [item["proven"] for item in uses(RedisServer(redis_server.host, redis_server.port, password), servers)["servers"]] == [False]
    other.close()
