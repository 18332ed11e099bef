"""A restore with Redis: Letta's keys are gone before the first server starts; Redis out of reach costs nothing but a warning."""
from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_redis_align import LETTAS, UUID, fill
from tests.lab import ROOT, places
from tests.lab.valkey import EmbeddedValkey

pytestmark = pytest.mark.slow
# A Letta server that is two files: whether it runs, and what it found in Redis when it was started.
FAKE_LETTA = """#!%(python)s
import pathlib, sys
folder = pathlib.Path(__file__).parent
state = folder / "service"
if sys.argv[1] == "status":
    sys.exit(0 if state.read_text() == "running" else 3)
if sys.argv[1] == "start":
    import redis
    client = redis.Redis(port=%(port)d, password=%(password)r, socket_timeout=2)
    try:
        found = client.exists("agent:send_message:run_id:agent-%(uuid)s")
    except redis.RedisError as exc:
        found = type(exc).__name__
    (folder / "found").write_text(str(found))
state.write_text({"start": "running", "stop": "stopped"}[sys.argv[1]])
"""
PASSWORD = "redis's {{ pass }} $(word)"


@pytest.fixture
def shared_redis(tmp_path):
    """A Redis of its own that other applications use too, with a password that is awkward for every quoting."""
    server = EmbeddedValkey(tmp_path, port=places.free_port())
    try:
        server.start().client().config_set("requirepass", PASSWORD)
        server.password = PASSWORD
        yield server
    finally:
        server.destroy()


def check(report, name):
    return next(item for item in report["checks"] if item["id"] == name)


@pytest.mark.fault(34, "down", "locks")
def test_a_restore_drops_lettas_keys_before_the_start_and_a_rollback_without_redis_completes(world, shared_redis):
    program = world.folder / "fake-letta"
    program.write_text(FAKE_LETTA % {"python": sys.executable, "port": shared_redis.port, "password": PASSWORD, "uuid": UUID})
    program.chmod(0o755)
    (world.folder / "service").write_text("running")
    world.hosts = {"letta1": {"letta_service_%s" % verb: [str(program), verb] for verb in ("start", "stop", "status")}}
    world.variables = {
        "letta_service_manager": "command", "letta_redis_host": shared_redis.host, "letta_redis_port": shared_redis.port,
        "letta_redis_password": PASSWORD,
    }  # fmt: skip
    import redis

    client = redis.Redis(shared_redis.host, shared_redis.port, password=PASSWORD)
    foreign, lettas = fill(client), sum(LETTAS.values())
    client.persist("memory_repo:lock:agent-%s" % UUID)  # it lives for a minute, and a slow machine takes longer to get there

    played = world.play("restore-full.yml").ok()
    assert set(client.keys()) == foreign
    assert (world.folder / "found").read_text() == "0", "the server was started before its old keys were gone"
    assert played.report["redis"] == {"dropped": lettas, "kept": len(foreign)}
    assert "drop Letta's keys in Redis %s:%d/0 (about %d," % (shared_redis.host, shared_redis.port, lettas) in played.output
    assert "REDIS  %d keys of Letta dropped, %d kept" % (lettas, len(foreign)) in played.output
    assert "%d keys of Letta dropped" % lettas in (world.reports / "latest" / "report.html").read_text()
    assert check(played.report, "redis.aligned")["status"] == "pass"
    used = check(played.report, "redis.used")
    assert (used["status"], used["examples"]) == ("warn", ["letta1"]), "nothing of it is connected: that cannot pass"
    assert PASSWORD not in played.output

    client.set("agent:send_message:run_id:agent-%s" % UUID, "run-%s" % UUID)
    client.close()
    shared_redis.stop()
    played = world.play("rollback.yml").ok()
    assert played.report["status"] == "rolled_back"
    assert (world.folder / "service").read_text() == "running"
    assert played.report["redis"] == {"dropped": None, "kept": None}
    flagged = check(played.report, "redis.aligned")
    assert flagged["status"] == "warn"
    assert "does not answer" in flagged["detail"]
    assert PASSWORD not in played.output + str(played.report)

    again = EmbeddedValkey(Path(shared_redis.home).parent, port=shared_redis.port).start()  # what was there is there: it saved
    again.client().config_set("requirepass", PASSWORD)
    type_later(world, flagged["detail"].partition("servers stopped: ")[2])
    client = redis.Redis(shared_redis.host, shared_redis.port, password=PASSWORD)
    assert set(client.keys()) == foreign
    client.close()


def type_later(world, line):
    """Type the line of a report in a shell, with the world's inventory."""
    assert line.startswith("ansible db1 -m letta_ops.recovery.redis_align ")
    argv = shlex.split(line)
    argv[0] = str(Path(sys.executable).with_name("ansible"))
    env = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"))
    done = subprocess.run([*argv, "-i", str(world.folder / "hosts.yml")], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dropped: 1" in done.stdout
    assert PASSWORD not in done.stdout
