"""The driver ``systemd`` against real units, in a machine that a real systemd has booted; the server in them is a stand-in that says so."""
from __future__ import annotations

import json
import secrets
import time

import pytest

from tests.lab.engine import PYTHON, PYTHONPATH, ROOT

pytestmark = pytest.mark.slow
STAND_IN = str(ROOT / "tests" / "lab" / "stand_in.py")
TOKEN = "a-token-nobody-may-see"
MAIN = "from ansible_collections.letta_ops.recovery.plugins.modules import letta_service; letta_service.main()"


class Machine:
    """The booted machine; ``folder`` is seen on both sides under one path."""

    def __init__(self, container, folder):
        self.container = container
        self.folder = folder
        self.ports = iter(range(21000, 22000))  # its network is its own

    def run(self, *argv):
        done = self.container.exec_run(list(argv))
        return done.exit_code, done.output.decode("utf-8", "replace").strip()

    def module(self, check=False, **arguments):
        """Run the module inside; returns what it says."""
        arguments = {"manager": "systemd", "api_token": TOKEN, "_ansible_check_mode": check, "_ansible_remote_tmp": "/tmp", **arguments}
        given = self.folder / "arguments.json"
        given.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        argv = ["/bin/sh", "-c", '"$0" -c "$1" < "$2"', PYTHON, MAIN, str(given)]
        done = self.container.exec_run(argv, environment={"PYTHONPATH": PYTHONPATH})
        text = done.output.decode("utf-8", "replace")
        assert TOKEN not in text
        return json.loads(text)


class Unit:
    """A service of its own on the machine, with a folder whose files make it misbehave."""

    def __init__(self, machine, limit="StartLimitIntervalSec=0", **settings):
        self.machine = machine
        self.name = "letta-%s" % secrets.token_hex(3)
        self.folder = machine.folder / self.name
        self.folder.mkdir()
        self.port = next(machine.ports)
        self.common = {"unit": self.name, "api_url": "http://127.0.0.1:%d" % self.port, "start_timeout": 15, "stop_timeout": 15}
        self.write(".service", "[Unit]", limit, "[Service]", **{
            "ExecStart": "%s %s %d %s" % (PYTHON, STAND_IN, self.port, self.folder), "Environment": "LETTA_TOKEN=%s" % TOKEN, **settings,
        })  # fmt: skip

    def write(self, suffix, *lines, **settings):
        text = "\n".join([*lines, *("%s=%s" % pair for pair in settings.items())]) + "\n"
        source = self.machine.folder / (self.name + suffix)
        source.write_text(text)
        assert self.machine.run("/bin/cp", str(source), "/etc/systemd/system/")[0] == 0
        assert self.machine.run("systemctl", "daemon-reload")[0] == 0

    def set(self, name):
        (self.folder / name).touch()

    def module(self, state, **more):
        return self.machine.module(state=state, **{**self.common, **more})

    def show(self, what):
        return self.machine.run("systemctl", "show", "--value", "--property=%s" % what, self.name)[1]

    def signals(self):
        told = self.folder / "signals"
        return told.read_text().split() if told.exists() else []


@pytest.fixture(scope="module")
def machine(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("machine")
    try:
        container = engine.boot("systemd-%s" % secrets.token_hex(3), writable=[folder])
    except RuntimeError as exc:
        pytest.skip("systemd cannot be booted in a container here: %s" % exc)
    yield Machine(container, folder)
    container.remove(force=True)


def test_a_unit_is_started_until_it_serves_and_stopped_until_it_is_gone(machine):
    unit = Unit(machine)
    assert unit.module("started", check=True)["changed"] is True
    assert unit.show("ActiveState") == "inactive"
    before = time.time()
    up = unit.module("started")
    assert (up["changed"], up["was"], up["is"], up["health"]["read"]) == (True, "stopped", "running", 200)
    # The moments are those of one clock, and the kernel counts starts in hundredths of a second.
    assert before - 0.02 <= up["told_at"] - 0.02 <= up["started_at"] <= up["proven_at"] <= time.time()
    assert up["detail"] == "unit %s.service is active (running)" % unit.name
    assert unit.module("started")["changed"] is False
    unit.set("lingers")
    assert unit.module("stopped", check=True)["is"] == "running"
    down = unit.module("stopped")
    assert (down["changed"], down["is"], down["started_at"]) == (True, "stopped", None)
    assert down["proven_at"] - down["told_at"] >= 2
    assert unit.show("ActiveState") == "inactive"
    assert unit.module("stopped")["changed"] is False
    assert len(unit.signals()) == 2


def test_a_process_that_outlives_its_unit_means_not_stopped(machine):
    unit = Unit(machine, KillMode="process")
    unit.set("leaves_a_child")
    unit.module("started")
    failed = unit.module("stopped", stop_timeout=1)
    left = machine.run("/bin/cat", "/sys/fs/cgroup/systemd%s/cgroup.procs" % unit.show("ControlGroup"))[1]
    if left.isdigit():  # else another layout of control groups
        assert "is inactive (dead), but a process is left of it: %s" % left in failed["msg"]
    assert "will not stop" in failed["msg"]
    assert "a process is left of it" in failed["msg"]


def test_a_unit_that_systemd_had_to_kill_is_stopped_and_told(machine):
    unit = Unit(machine, TimeoutStopSec=1)
    unit.module("started")
    unit.set("deaf")
    down = unit.module("stopped")
    assert (down["is"], down["health"]["ok"]) == ("stopped", False)
    assert "was killed by systemd" in down["detail"]


def test_a_stop_that_takes_longer_than_allowed_is_told_as_such(machine):
    unit = Unit(machine, TimeoutStopSec=60)
    unit.module("started")
    unit.set("deaf")
    failed = unit.module("stopped", stop_timeout=1)
    assert "unit %s.service still is deactivating (stop-sigterm)" % unit.name in failed["msg"]
    machine.run("systemctl", "kill", "--signal=KILL", unit.name)


def test_restart_always_does_not_bring_a_stopped_unit_back_and_a_crash_loop_is_ended_by_a_stop(machine):
    unit = Unit(machine, Restart="always", RestartSec="100ms")
    unit.module("started")
    first = unit.module("status")
    machine.run("/bin/sh", "-c", "kill -9 %s" % unit.show("MainPID"))
    again = unit.module("started")
    assert again["started_at"] > first["started_at"]
    unit.module("stopped")
    time.sleep(1)
    assert unit.show("ActiveState") == "inactive"
    unit.set("crashes")
    failed = unit.module("started", start_timeout=60)
    assert "it was brought back 5 times and went down each time" in failed["msg"]
    assert "it crashed" in failed["msg"]
    assert "token ***" in failed["msg"]
    assert unit.module("status")["is"] == "running"  # it comes back over and over: not stopped before it was told to
    assert unit.module("stopped")["changed"] is True
    time.sleep(1)
    assert unit.show("ActiveState") in ("inactive", "failed")


def test_a_unit_that_failed_is_shown_with_its_journal_and_can_be_started_once_it_is_mended(machine):
    unit = Unit(machine, limit="StartLimitBurst=1")
    unit.set("crashes")
    failed = unit.module("started")
    assert "it started and went down again" in failed["msg"]
    assert "is failed (exit-code)" in failed["msg"]
    assert "it crashed" in failed["msg"]
    (unit.folder / "crashes").unlink()
    assert machine.run("systemctl", "start", unit.name)[0] != 0  # systemd has enough of it
    assert unit.module("stopped")["changed"] is False
    assert unit.module("started")["is"] == "running"
    unit.module("stopped")


def test_a_unit_that_does_not_say_it_is_ready_is_given_its_time_and_not_more(machine):
    unit = Unit(machine, Type="notify", NotifyAccess="all")
    failed = unit.module("started", start_timeout=2)
    assert "still is activating (start) after 2 s" in failed["msg"]
    assert unit.module("stopped")["changed"] is True


def test_a_second_instance_at_the_address_is_neither_taken_for_the_unit_nor_overlooked(machine):
    other, unit = Unit(machine), Unit(machine)
    other.module("started")
    failed = unit.module("started", api_url=other.common["api_url"])
    assert "is inactive (dead), yet something answers at" in failed["msg"]
    failed = unit.module("stopped", api_url=other.common["api_url"], stop_timeout=1)
    assert "is inactive (dead), yet something still answers at" in failed["msg"]
    other.module("stopped")


def test_units_that_could_not_be_stopped_and_started_again_are_refused(machine):
    absent = machine.module(state="stopped", unit="lettuce")
    assert "preflight: this host has no unit lettuce.service" in absent["msg"]
    masked = Unit(machine)
    masked.module("started")
    machine.run("/bin/sh", "-c", f"rm /etc/systemd/system/{masked.name}.service; systemctl mask {masked.name}")
    assert "is masked: it cannot be started" in masked.module("stopped")["msg"]
    assert masked.module("status")["is"] == "running"
    machine.run("systemctl", "stop", masked.name)
    assert masked.module("stopped")["changed"] is False
    assert "systemctl unmask" in masked.module("started")["msg"]
    woken = Unit(machine)
    woken.write(".socket", "[Socket]", ListenStream="127.0.0.1:%d" % next(machine.ports))
    machine.run("systemctl", "start", woken.name + ".socket")
    woken.module("started")
    assert "is started by %s.socket whenever somebody connects" % woken.name in woken.module("stopped", check=True)["msg"]


def test_a_start_that_systemd_refuses_is_told_in_its_words(machine):
    unit = Unit(machine, User="nobody-of-this-name")
    failed = unit.module("started", start_timeout=5)
    assert "217/USER" in failed["msg"] or "Failed to determine user credentials" in failed["msg"]
