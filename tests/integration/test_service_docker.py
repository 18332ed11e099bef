"""The driver ``docker`` against containers of a real engine; the server in them is a stand-in that says so."""
from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.drivers.docker_engine import moment
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.services import ServiceOptions, ensure_service
from tests.lab import places
from tests.lab.engine import PYTHON, ROOT

pytestmark = pytest.mark.slow
STAND_IN = str(ROOT / "tests" / "lab" / "stand_in.py")
URI = "postgresql://letta:pg-pass-1@db1/letta"
TOKEN = "a-token-nobody-may-see"
TENTH = 100_000_000  # nanoseconds


class Stage:
    """Containers of one test, with a folder that they write to and that steers them."""

    def __init__(self, engine, folder):
        self.engine = engine
        self.folder = folder
        self.port = places.free_port()
        self.made = []
        self.tag = secrets.token_hex(3)

    def container(self, name, port=None, **more):
        """A stand-in, created and not started; ``compose`` is (project, service, depends_on)."""
        project, service, depends_on = more.pop("compose", ("", "", ""))
        if project:
            words = {"project": project, "service": service, "depends_on": depends_on, "oneoff": "False", "container-number": "1"}
            more["labels"] = {"com.docker.compose.%s" % key: value for key, value in words.items()}
        environment = {"LETTA_PG_URI": URI, "LETTA_TOKEN": TOKEN, **more.pop("environment", {})}
        made = self.engine.create(
            "%s-%s" % (name, self.tag), [PYTHON, STAND_IN, str(port or self.port), str(self.folder)],
            writable=[self.folder], environment=environment, **more,
        )  # fmt: skip
        self.made.append(made)
        return made

    def options(self, container=None, **more):
        name = container if isinstance(container, str) else container.name if container else ""
        more = {"container": name, "start_timeout": 15, "stop_timeout": 15, **more}
        more.setdefault("api_url", "http://127.0.0.1:%d" % self.port)
        return ServiceOptions(manager="docker", docker_host=self.engine.address, **more)

    def set(self, name):
        (self.folder / name).touch()

    def unset(self, name):
        (self.folder / name).unlink()

    def signals(self):
        told = self.folder / "signals"
        return [line.split() for line in told.read_text().splitlines()] if told.exists() else []

    def healthcheck(self):
        test = ["CMD", PYTHON, STAND_IN, "check", str(self.folder)]
        return {"test": test, "interval": 3 * TENTH, "timeout": 30 * TENTH, "retries": 1}


@pytest.fixture
def stage(engine, tmp_path):
    stage = Stage(engine, tmp_path)
    yield stage
    for container in stage.made:
        container.remove(force=True)


def status(container):
    container.reload()
    return container.status


def test_a_container_is_started_until_it_serves_and_stopped_until_it_is_gone(stage):
    container = stage.container("letta")
    assert ensure_service(stage.options(container), "started", check=True)["changed"] is True
    assert status(container) == "created"
    before = time.time()
    up = ensure_service(stage.options(container), "started")
    assert (up["changed"], up["was"], up["is"], up["health"]["read"]) == (True, "stopped", "running", 200)
    assert before <= up["told_at"] <= up["started_at"] <= up["proven_at"] <= time.time()
    assert up["detail"] == "container %s is running" % container.name
    assert (up["containers"], up["image"]) == ([container.name], container.image.id)
    assert ensure_service(stage.options(container), "started")["changed"] is False
    stage.set("lingers")
    down = ensure_service(stage.options(container), "stopped")
    assert (down["changed"], down["is"], down["started_at"]) == (True, "stopped", None)
    assert status(container) == "exited"
    assert container.attrs["State"]["ExitCode"] == 0
    assert ensure_service(stage.options(container), "stopped")["changed"] is False
    assert len(stage.signals()) == 1


def test_a_restarted_container_began_later_so_that_an_old_one_can_be_told_from_it(stage):
    container = stage.container("letta")
    first = ensure_service(stage.options(container), "started")
    container.restart()
    between = time.time()
    second = ensure_service(stage.options(container), "status")
    assert first["started_at"] < second["started_at"] <= between


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_a_restart_policy_does_not_bring_a_stopped_container_back(stage, policy):
    container = stage.container("letta", restart_policy={"Name": policy})
    ensure_service(stage.options(container), "started")
    # Proof that the policy works: the process is killed behind the engine's back.
    os.kill(container.client.api.inspect_container(container.id)["State"]["Pid"], 9)
    assert places.wait_for(lambda: container.client.api.inspect_container(container.id)["RestartCount"] == 1, 10)
    ensure_service(stage.options(container), "started")
    ensure_service(stage.options(container), "stopped")
    time.sleep(2)
    assert status(container) == "exited"
    assert ensure_service(stage.options(container), "status")["is"] == "stopped"


def test_the_stop_signal_is_the_containers_own(stage):
    container = stage.container("letta", stop_signal="SIGUSR1")
    ensure_service(stage.options(container), "started")
    ensure_service(stage.options(container), "stopped")
    assert stage.signals() == [[str(stage.port), "SIGUSR1"]]


def test_a_container_that_had_to_be_killed_is_stopped_and_told(stage):
    container = stage.container("letta")
    ensure_service(stage.options(container), "started")
    stage.set("deaf")
    down = ensure_service(stage.options(container, stop_timeout=2), "stopped")
    assert down["is"] == "stopped"
    assert "container %s did not end within 2 s of SIGTERM and was killed" % container.name in down["detail"]


def test_a_container_with_a_health_check_is_started_when_that_passes_too(stage):
    container = stage.container("letta", healthcheck=stage.healthcheck())
    up = ensure_service(stage.options(container), "started")
    assert up["detail"] == "container %s is running (healthy)" % container.name
    stage.set("sick")
    assert places.wait_for(lambda: container.client.api.inspect_container(container.id)["State"]["Health"]["Status"] == "unhealthy", 10)
    with pytest.raises(RecoveryError, match=r"is unhealthy by its own health check(.|\n)*health check said: it feels sick"):
        ensure_service(stage.options(container, start_timeout=1), "started")


def test_a_container_that_crashes_is_given_up_early_with_its_log_and_no_secret(stage):
    stage.set("crashes")
    began = time.monotonic()
    for policy, words in (("no", "it started and went down again"), ("always", "it was brought back 5 times and went down each time")):
        container = stage.container(policy, restart_policy={"Name": policy} if policy != "no" else None)
        with pytest.raises(RecoveryError, match=words) as caught:
            ensure_service(stage.options(container, start_timeout=60), "started")
        text = json.dumps(caught.value.as_dict())
        assert "stand-in for Letta: LETTA_PG_URI=***, token ***" in text
        assert "it crashed" in text
        assert TOKEN not in text and "pg-pass-1" not in text
    assert time.monotonic() - began < 40
    # What its policy brings back over and over is not stopped before it was told to.
    assert ensure_service(stage.options(container), "status")["was"] == "running"
    assert ensure_service(stage.options(container), "stopped")["changed"] is True
    assert status(container) == "exited"


def test_something_else_at_the_address_is_not_taken_for_the_container(stage):
    ensure_service(stage.options(stage.container("other")), "started")
    container = stage.container("letta")
    with pytest.raises(RecoveryError, match="is created, yet something answers at"):
        ensure_service(stage.options(container), "started")
    with pytest.raises(RecoveryError, match="yet something still answers"):
        ensure_service(stage.options(container, stop_timeout=1), "stopped")


def test_services_of_a_project_start_after_what_they_depend_on_and_stop_before_it_and_nothing_else_is_touched(stage):
    project = "letta" + stage.tag
    data = stage.container("db", port=places.free_port(), compose=(project, "letta_db", ""), healthcheck=stage.healthcheck())
    data.start()
    other = stage.container("nginx", port=places.free_port(), compose=(project, "letta_nginx", "letta_server:service_started:false"))
    ports = {name: places.free_port() for name in ("a_worker", "letta_server")}
    wants = "letta_db:service_healthy:false"
    first = stage.container("server", ports["letta_server"], compose=(project, "letta_server", wants), healthcheck=stage.healthcheck())
    second = stage.container("worker", ports["a_worker"], compose=(project, "a_worker", "letta_server:service_healthy:true," + wants))
    stage.port = ports["a_worker"]
    options = stage.options(project=project, services=("a_worker", "letta_server"))
    up = ensure_service(options, "started")
    assert up["containers"] == [first.name, second.name]
    assert (status(first), status(second), status(other)) == ("running", "running", "created")
    # The second did not start before the first was healthy.
    probes = first.client.api.inspect_container(first.id)["State"]["Health"]["Log"]
    assert min(moment(probe["End"]) for probe in probes) < moment(second.attrs["State"]["StartedAt"])
    ensure_service(options, "stopped")
    assert [int(port) for port, _signal in stage.signals()] == [ports["a_worker"], ports["letta_server"]]
    assert (status(first), status(second), status(data)) == ("exited", "exited", "running")


def test_a_dependency_that_nobody_will_start_is_named_at_once(stage):
    project = "letta" + stage.tag
    stage.container("db", port=places.free_port(), compose=(project, "letta_db", ""))
    stage.container("letta", compose=(project, "letta_server", "letta_db:service_healthy:false"))
    began = time.monotonic()
    with pytest.raises(RecoveryError, match=r"depends on db-\w+ \(service_healthy\), which is created") as caught:
        ensure_service(stage.options(project=project, services=("letta_server",)), "started")
    assert "letta_service_services" in caught.value.next_step
    assert time.monotonic() - began < 5


def test_who_is_meant_must_be_clear_and_the_database_is_never_meant_unless_named(stage):
    project = "letta" + stage.tag
    data = stage.container("db", compose=(project, "letta_db", ""), ports={"5432/tcp": 5432}, network_mode="none")
    with pytest.raises(RecoveryError, match="the only service of compose project .* looks like the database"):
        ensure_service(stage.options(project=project), "stopped")
    named = stage.options(project=project, services=("letta_db",), api_url="")
    assert ensure_service(named, "status")["containers"] == [data.name]
    stage.container("letta", compose=(project, "letta_server", ""))
    with pytest.raises(RecoveryError, match="has the services letta_db, letta_server, and nobody said which is Letta's"):
        ensure_service(stage.options(project=project), "stopped")
    with pytest.raises(RecoveryError, match="has no container of service server; there are letta_db, letta_server"):
        ensure_service(stage.options(project=project, services=("server",)), "stopped")
    with pytest.raises(RecoveryError, match="no container of a compose project nothing; there are .*letta" + stage.tag):
        ensure_service(stage.options(project="nothing"), "stopped")
    with pytest.raises(RecoveryError, match="no container lettuce; there are .*letta-" + stage.tag):
        ensure_service(stage.options("lettuce"), "stopped")


def test_a_container_that_could_not_be_stopped_and_started_again_is_refused_while_it_still_runs(stage):
    cases = {
        "made with --rm": stage.container("throwaway", auto_remove=True),
        "runs its own PostgreSQL": all_in_one(stage),
        "is paused": stage.container("paused"),
        "would bring it back": stage.container("task", labels={"com.docker.swarm.task.id": "x"}),
    }
    for words, container in cases.items():
        container.start()
        if words == "is paused":
            container.pause()
        options = stage.options(container, api_url="")
        for check in (True, False):
            with pytest.raises(RecoveryError, match=words) as caught:
                ensure_service(options, "stopped", check=check)
            assert caught.value.next_step
        assert ensure_service(options, "status")["is"] == "running"
        container.unpause() if words == "is paused" else None


def all_in_one(stage):
    """As ``docker run letta/letta``: Letta's port and PostgreSQL's in one image, and no LETTA_PG_URI."""
    made = stage.engine.create(
        "aio-" + stage.tag, [PYTHON, STAND_IN, str(places.free_port()), str(stage.folder)], writable=[stage.folder],
        ports={"8283/tcp": None, "5432/tcp": None}, network_mode="none",
    )  # fmt: skip
    stage.made.append(made)
    return made


def run_module(stage, python_code="", **arguments):
    script = python_code + "from ansible_collections.letta_ops.recovery.plugins.modules import letta_service; letta_service.main()"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60,
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {"manager": "docker", "_ansible_remote_tmp": str(stage.folder), **arguments}}),
        env={**os.environ, "PYTHONPATH": str(ROOT / "playbooks" / "collections"), "DOCKER_HOST": stage.engine.address},
    )  # fmt: skip
    return json.loads(done.stdout)


def test_the_module_finds_the_engine_by_docker_host_and_says_what_to_install_without_the_package(stage):
    container = stage.container("letta")
    url = "http://127.0.0.1:%d" % stage.port
    assert run_module(stage, state="started", container=container.name, api_url=url)["is"] == "running"
    missing = run_module(stage, "import sys; sys.modules['docker'] = None; ", state="stopped", container=container.name)
    assert missing["failure_class"] == "preflight"
    assert "python3-docker" in missing["msg"]
    assert run_module(stage, state="stopped", container=container.name, docker_host="unix:///nowhere")["failure_class"] == "preflight"
    assert status(container) == "running"
    assert run_module(stage, state="stopped", container=container.name, api_url=url)["changed"] is True


def test_a_restore_stops_and_starts_the_container_and_finds_a_wrong_name_before_anything_is_loaded(stage, world):
    container = stage.container("letta", restart_policy={"Name": "always"})
    ensure_service(stage.options(container), "started")
    first = container.client.api.inspect_container(container.id)["State"]["StartedAt"]
    url = "http://127.0.0.1:%d" % stage.port
    world.variables = {"letta_service_manager": "docker", "letta_service_docker_host": stage.engine.address}
    world.hosts = {"letta1": {"letta_service_container": "lettuce", "letta_api_url": url}}
    before = world.fingerprint()
    refused = world.play("restore-full.yml").refused("preflight")
    assert "has no container lettuce" in refused.output
    assert world.fingerprint() == before and world.leftovers() == []
    world.hosts["letta1"]["letta_service_container"] = container.name
    played = world.play("restore-full.yml").ok()
    assert 0 < played.report["downtime_seconds"] < 60
    state = container.client.api.inspect_container(container.id)["State"]
    assert state["Running"] and state["StartedAt"] > first
    assert len(stage.signals()) == 1
