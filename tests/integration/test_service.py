"""A service counts as stopped when nothing answers any more, and as started when it can read agents; real processes, real sockets."""
from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime import services
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.services import ServiceOptions, ensure_service

TOKEN = "a-token-nobody-may-see"

# A stand-in for a Letta server: health is free, agents need the token, and files in its folder make it misbehave.
SERVER = """
import http.server, os, sys, time
port, folder, token = int(sys.argv[1]), sys.argv[2], sys.argv[3]
print("starting with", token, "postgresql+asyncpg://letta:pg-pass@db1/letta", flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        has = lambda name: os.path.exists(os.path.join(folder, name))
        if has("hang"):
            time.sleep(60)
        code, body = 200, b"{}"
        if has("redirect"):
            code = 302
        elif self.path != "/v1/health/":
            if self.path != "/v1/agents/?limit=1":
                code = 404
            elif self.headers.get("Authorization") != "Bearer " + token:
                code, body = 401, b'{"detail": "Unauthorized"}'
            elif has("wrong_key"):
                code, body = 400, b'{"detail": "Failed to decrypt data"}'
        elif has("gateway"):
            code = 502
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "http://127.0.0.1:%d/elsewhere" % port)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
if os.path.exists(os.path.join(folder, "crash")):
    time.sleep(1)
    sys.exit("it crashed with " + token)
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""

# The operator's own start, stop and status, around a pid file.
CONTROL = """
import os, signal, subprocess, sys, time
verb, folder, args = sys.argv[1], sys.argv[2], sys.argv[3:]
pidfile = os.path.join(folder, "pid")
def running():
    try:
        pid = int(open(pidfile).read())
        os.kill(pid, 0)
        return pid if open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()[0] != "Z" else 0
    except (OSError, ValueError):
        return 0
with open(os.path.join(folder, "calls"), "a") as calls:
    calls.write(verb + "\\n")
if verb == "status":
    sys.exit(0 if running() else 3)
if verb == "start":
    server = subprocess.Popen([sys.executable, os.path.join(folder, "server.py")] + args, start_new_session=True)
    open(pidfile, "w").write(str(server.pid))
elif not os.path.exists(os.path.join(folder, "stubborn")) and running():
    os.kill(running(), signal.SIGTERM)
"""


class Stage:
    """A folder with the stand-in server and its control script."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "server.py").write_text(SERVER)
        (folder / "control.py").write_text(CONTROL)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = "http://127.0.0.1:%d" % self.port

    def control(self, verb):
        return [sys.executable, str(self.folder / "control.py"), verb, str(self.folder), str(self.port), str(self.folder), TOKEN]

    def options(self, **more):
        values = dict(
            manager="command",
            start=self.control("start"),
            stop=self.control("stop"),
            status=self.control("status"),
            api_url=self.url,
            api_token=TOKEN,
            start_timeout=15,
            stop_timeout=5,
        )
        return ServiceOptions(**{**values, **more})

    def set(self, name):
        (self.folder / name).touch()

    def unset(self, name):
        (self.folder / name).unlink()

    def calls(self):
        path = self.folder / "calls"
        return [] if not path.exists() else [call for call in path.read_text().split() if call != "status"]


@pytest.fixture
def stage(tmp_path):
    stage = Stage(tmp_path)
    yield stage
    (tmp_path / "stubborn").unlink(missing_ok=True)
    subprocess.run(stage.control("stop"), check=True, timeout=10)


@contextmanager
def listener(port):
    """Something on the port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", port)):
        yield


def test_starting_ends_when_agents_can_be_read_and_stopping_when_nothing_answers(stage):
    up = ensure_service(stage.options(), "started")
    assert (up["changed"], up["was"], up["is"]) == (True, "stopped", "running")
    assert up["health"] == {"ok": True, "health": 200, "read": 200, "detail": "healthy, and agents can be read", "version": None}
    down = ensure_service(stage.options(), "stopped")
    assert (down["changed"], down["was"], down["is"]) == (True, "running", "stopped")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", stage.port), timeout=2)


def test_a_second_start_and_a_second_stop_change_nothing_and_run_nothing(stage):
    ensure_service(stage.options(), "started")
    assert ensure_service(stage.options(), "started")["changed"] is False
    ensure_service(stage.options(), "stopped")
    assert ensure_service(stage.options(), "stopped")["changed"] is False
    assert stage.calls() == ["start", "stop"]


def test_check_mode_tells_what_would_change_and_runs_nothing(stage):
    result = ensure_service(stage.options(), "started", check=True)
    assert (result["changed"], result["is"], stage.calls()) == (True, "stopped", [])
    ensure_service(stage.options(), "started")
    result = ensure_service(stage.options(), "stopped", check=True)
    assert (result["changed"], result["is"], stage.calls()) == (True, "running", ["start"])


def test_commands_given_as_strings_are_split_and_meet_no_shell(stage):
    words = {verb: shlex.join(stage.control(verb)) for verb in ("start", "stop")}
    marker = stage.folder / "shell"
    status = "%s; touch %s" % (shlex.join(stage.control("status")), marker)
    result = ensure_service(stage.options(status=status, **words), "started")
    assert result["changed"] is True
    assert not marker.exists()


@pytest.mark.fault(24, "stop")
def test_a_service_that_will_not_stop_is_named_with_what_still_runs(stage):
    ensure_service(stage.options(), "started")
    stage.set("stubborn")
    began = time.monotonic()
    with pytest.raises(RecoveryError) as caught:
        ensure_service(stage.options(stop_timeout=1), "stopped")
    assert time.monotonic() - began < 8
    assert caught.value.failure_class == "preflight"
    assert "will not stop" in caught.value.message
    assert "still says it runs" in caught.value.message


def test_a_port_that_is_still_open_means_not_stopped_whatever_the_status_command_says(stage):
    with listener(stage.port), pytest.raises(RecoveryError, match="something still answers"):
        ensure_service(stage.options(stop_timeout=1), "stopped")


def test_a_proxy_with_nobody_behind_it_does_not_count_as_running(stage):
    ensure_service(stage.options(), "started")
    stage.set("gateway")
    result = ensure_service(ServiceOptions(api_url=stage.url), "status")
    assert result["is"] == "stopped"
    assert result["health"]["health"] == 502


def test_a_foreign_server_on_the_port_is_not_taken_for_ours(stage):
    ensure_service(stage.options(), "started")
    with pytest.raises(RecoveryError, match="yet something answers at"):
        ensure_service(stage.options(status=["false"]), "started")


@pytest.mark.fault(24, "unhealthy")
def test_a_healthy_server_that_cannot_decrypt_its_agents_is_not_started(stage):
    stage.set("wrong_key")
    with pytest.raises(RecoveryError, match="another LETTA_ENCRYPTION_KEY") as caught:
        ensure_service(stage.options(start_timeout=2), "started")
    assert caught.value.details["health"] == 200
    assert caught.value.details["read"] == 400
    result = ensure_service(stage.options(start_timeout=1, health_required=False), "started")
    assert result["health"]["ok"] is False


def test_a_wrong_token_is_named_and_not_repeated(stage):
    ensure_service(stage.options(), "started")
    with pytest.raises(RecoveryError, match="letta_api_token") as caught:
        ensure_service(stage.options(api_token="wrong-token", start_timeout=1), "started")
    assert "wrong-token" not in json.dumps(caught.value.as_dict())


@pytest.mark.fault(24, "start")
def test_a_server_that_crashes_is_given_up_early_with_the_end_of_its_output_and_no_secret(stage, monkeypatch):
    monkeypatch.setattr(services, "DOWN_FOR_GOOD_SECONDS", 0.5)
    stage.set("crash")
    began = time.monotonic()
    with pytest.raises(RecoveryError) as caught:
        ensure_service(stage.options(start_timeout=60), "started")
    assert time.monotonic() - began < 20
    text = json.dumps(caught.value.as_dict())
    assert "it started and went down again" in text
    assert "it crashed with ***" in text
    assert TOKEN not in text
    assert "pg-pass" not in text


def test_a_start_command_that_fails_is_shown_with_what_it_said(stage):
    failing = [sys.executable, "-c", "print('no such unit'); raise SystemExit(5)"]
    with pytest.raises(RecoveryError, match=r"ended with 5; its output ends: no such unit"):
        ensure_service(stage.options(start=failing), "started")


@pytest.mark.fault(24, "start")
def test_a_start_command_that_never_returns_is_ended_with_all_it_started(stage):
    script = "import os, subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True); import time; time.sleep(60)"
    with pytest.raises(RecoveryError, match="did not end in time") as caught:
        ensure_service(stage.options(start=[sys.executable, "-c", script], start_timeout=1), "started")
    child = int(caught.value.message.rsplit(": ", 1)[1])
    deadline = time.monotonic() + 5
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child)


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.fault(24, "stop")
@pytest.mark.slow
def test_a_hanging_server_counts_as_running(stage):
    ensure_service(stage.options(), "started")
    stage.set("hang")
    result = ensure_service(ServiceOptions(api_url=stage.url), "status")
    assert result["is"] == "running"
    assert result["health"]["ok"] is False


def test_a_redirect_is_not_followed_so_that_the_token_stays_here(stage):
    ensure_service(stage.options(), "started")
    stage.set("redirect")
    assert ensure_service(ServiceOptions(api_url=stage.url, api_token=TOKEN), "status")["health"]["health"] == 302


def test_without_a_manager_nothing_is_ever_changed_but_health_is_told(stage):
    unmanaged = stage.options(manager="none", start_timeout=1)
    with pytest.raises(RecoveryError, match="no connection"):
        ensure_service(unmanaged, "started")
    assert ensure_service(stage.options(), "started")["changed"] is True
    assert ensure_service(unmanaged, "started")["changed"] is False
    told = ensure_service(unmanaged, "stopped")
    assert (told["changed"], told["is"], told["health"]["ok"]) == (False, "running", True)
    nothing = ensure_service(ServiceOptions(), "stopped")
    assert {key: nothing[key] for key in ("changed", "was", "is", "health")} == {
        "changed": False, "was": "unknown", "is": "unknown", "health": None,
    }  # fmt: skip


def test_the_times_of_a_service_are_those_of_its_commands_and_proofs_not_of_our_looking(stage):
    before = time.time()
    up = ensure_service(stage.options(), "started")
    between = time.time()
    down = ensure_service(stage.options(), "stopped")
    assert before <= up["told_at"] <= up["proven_at"] <= between + 0.001
    assert between - 0.001 <= down["told_at"] <= down["proven_at"]


def test_without_an_address_the_status_command_alone_decides(stage):
    bare = stage.options(api_url="")
    assert ensure_service(bare, "started")["is"] == "running"
    assert ensure_service(bare, "stopped")["is"] == "stopped"


@pytest.mark.parametrize("status", [["/no/such/command"], ["sh", "-c", "exit 127"], ["sh", "-c", "kill -9 $$"]])
def test_a_status_command_that_cannot_tell_is_never_read_as_stopped(stage, status):
    with pytest.raises(RecoveryError) as caught:
        ensure_service(stage.options(status=status), "stopped")
    assert caught.value.failure_class == "preflight"
    assert stage.calls() == []


def test_the_proxy_of_the_environment_does_not_answer_for_the_server(stage, monkeypatch):
    ensure_service(stage.options(), "started")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert ensure_service(stage.options(), "status")["health"]["ok"] is True


def run_module(stage, check=False, path=None, **arguments):
    arguments.update(_ansible_check_mode=check, _ansible_remote_tmp=str(stage.folder))
    root = os.path.join(os.path.dirname(__file__), "..", "..", "playbooks", "collections")
    script = "from ansible_collections.letta_ops.recovery.plugins.modules import letta_service; letta_service.main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": root, "PATH": path or os.environ["PATH"]},
    )
    assert TOKEN not in done.stdout + done.stderr
    return json.loads(done.stdout)


def test_the_module_starts_stops_and_tells_without_showing_the_token(stage):
    # The token travels in the control script's arguments here, so the module's echo of its options must hide it too.
    commands = {"%s_command" % verb: stage.control(verb) for verb in ("start", "stop", "status")}
    common = dict(commands, manager="command", api_url=stage.url, api_token=TOKEN, start_timeout=15)
    assert run_module(stage, check=True, state="started", **common)["changed"] is True
    assert run_module(stage, state="started", **common)["is"] == "running"
    assert run_module(stage, state="started", **common)["changed"] is False
    assert run_module(stage, state="stopped", **common)["is"] == "stopped"
    stage.set("wrong_key")
    failed = run_module(stage, state="started", **dict(common, start_timeout=1))
    assert (failed["failed"], failed["failure_class"]) == (True, "preflight")
    assert "NEXT:" in failed["msg"]


def test_a_host_without_systemd_is_told_what_its_manager_needs(stage):
    failed = run_module(stage, state="stopped", manager="systemd", path=str(stage.folder))
    assert failed["failure_class"] == "preflight"
    assert "cannot run systemctl" in failed["msg"]
    assert "needs a host that systemd booted" in failed["next_step"]
