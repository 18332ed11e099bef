"""letta_redis_restore: full by the playbook: what Redis held comes back, goes again by rollback, and may fail without harm."""
from __future__ import annotations

import sys

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.redisserver import RedisServer
from tests.integration.restore_kit import add_writes
from tests.integration.test_redis_align import LETTAS, fill
from tests.lab import ROOT, places
from tests.lab.valkey import EmbeddedValkey

pytestmark = pytest.mark.slow
PASSWORD = "redis's {{ pass }} $(word)"
# Stops and starts the Redis of the test as an operator's script would.
CONTROL = """#!%(python)s
import sys
sys.path.insert(0, %(root)r)
from tests.lab.valkey import EmbeddedValkey
server = EmbeddedValkey(%(base)r, port=%(port)d, password=%(password)r, appendonly=True)
if sys.argv[1] == "status":
    sys.exit(0 if server.running() else 3)
server.start() if sys.argv[1] == "start" else server.stop()
"""


@pytest.fixture
def redis(world, tmp_path):
    """A Redis with an append-only file on a host of its own, which a set was taken of; then others went on writing."""
    port, base = places.free_port(), tmp_path / "redis"
    server = EmbeddedValkey(base, port=port, password=PASSWORD, appendonly=True)
    control = world.folder / "redis-control"
    control.write_text(CONTROL % {"python": sys.executable, "root": str(ROOT), "base": str(base), "port": port, "password": PASSWORD})
    control.chmod(0o755)
    world.variables = {
        "letta_redis_host": server.host, "letta_redis_port": port, "letta_redis_password": PASSWORD,
        "letta_redis_restore": "full", "letta_redis_service_manager": "command",
        **{"letta_redis_service_%s" % verb: [str(control), verb] for verb in ("start", "stop", "status")},
    }  # fmt: skip
    try:
        server.start()
        server.foreign = fill(server.client())
        world.backup(redis=RedisServer(server.host, server.port, PASSWORD))
        server.client().flushall()
        server.client().set("since the backup", "1")
        add_writes(world.live)
        yield server
    finally:
        server.destroy()


def keys(server):
    return set(server.client(decode_responses=False).scan_iter(count=1000))


def check(report, name):
    return next(item for item in report["checks"] if item["id"] == name)


def test_what_redis_held_comes_back_without_lettas_keys_and_goes_again_by_rollback(world, redis):
    world.others = {"letta_redis": ["redis1"]}
    played = world.play("restore-full.yml").ok()
    assert "stop Redis %s:%d/0 for all that use it" % (redis.host, redis.port) in played.output
    assert keys(redis) == redis.foreign
    assert played.report["redis"]["dropped"] == sum(LETTAS.values())
    restored = check(played.report, "redis.restored")
    assert (restored["status"], "what was there before is" in restored["detail"]) == ("pass", True)
    assert PASSWORD not in played.output + str(played.report)
    assert not list(world.folder.rglob("dump.rdb")) or all("store/lb-" in str(path) for path in world.folder.rglob("dump.rdb"))
    back = world.play("rollback.yml").ok()
    assert keys(redis) == {b"since the backup"}
    assert check(back.report, "redis.restored")["status"] == "pass"


@pytest.mark.fault(34, "down")
def test_a_redis_that_will_not_stop_keeps_what_it_holds_and_the_restore_completes(world, redis):
    world.variables["letta_redis_service_stop"] = ["true"]
    world.variables["letta_service_stop_timeout"] = 1
    played = world.play("restore-full.yml").ok()
    assert played.report["status"] == "succeeded"
    restored = check(played.report, "redis.restored")
    assert (restored["status"], "will not stop" in restored["detail"]) == ("warn", True), restored["detail"]
    assert "it runs with what it held before" in restored["detail"]
    assert keys(redis) == {b"since the backup"}
