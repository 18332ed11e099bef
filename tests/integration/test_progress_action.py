"""Live progress through real ansible-playbook runs, with a small module in a collection made for the test."""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.kills.processes import children
from tests.lab import places

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / "playbooks" / "collections"
SECRET = "hunter2-not-for-any-log"
PLAYBOOK = shutil.which("ansible-playbook", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
pytestmark = [pytest.mark.skipif(PLAYBOOK is None, reason="ansible-playbook is not installed"), pytest.mark.slow]

MODULE = '''#!/usr/bin/python
import os, signal, time
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.progress import Progress
module = AnsibleModule(supports_check_mode=True, argument_spec=dict(
    seconds=dict(type="float", default=1), end=dict(default="ok"), password=dict(no_log=True), mark=dict(type="path"),
    progress_file=dict(type="path")))
p = module.params
if module.check_mode:
    module.exit_json(changed=True, followed=p["progress_file"])
progress = Progress(p["progress_file"], interval=0.1)
progress.start("load", total=100 << 20, item="mess\\x1b[31mages")
begin = time.time()
while time.time() - begin < p["seconds"]:
    time.sleep(0.1)
    progress.update(done=int((time.time() - begin) / p["seconds"] * (100 << 20)))
if p["mark"]:
    open(p["mark"], "w").write("done")
if p["end"] == "fail":
    module.fail_json(msg="load_failed: it broke", failure_class="load_failed", now="live untouched")
if p["end"] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
module.warn("a warning of the module")
module.exit_json(changed=False, answer={"n": 42}, text="{{ left alone }}")
'''


@pytest.fixture
def acme(tmp_path):
    """A collection with the same module twice: ``followed`` has our action plugin, ``plain`` has none."""
    base = tmp_path / "coll" / "ansible_collections" / "acme" / "slow"
    for folder in ("modules", "action"):
        (base / "plugins" / folder).mkdir(parents=True)
    (base / "galaxy.yml").write_text("namespace: acme\nname: slow\nversion: 1.0.0\nreadme: README.md\nauthors: [x]\n")
    for name in ("followed", "plain"):
        (base / "plugins" / "modules" / (name + ".py")).write_text(MODULE)
    shutil.copy(ROOT / "plugins" / "action" / "pg_restore.py", base / "plugins" / "action" / "followed.py")
    (tmp_path / "home").mkdir()
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    return tmp_path


def start(base, tasks, *options, hosts="a,"):
    play = base / "play.yml"
    play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    env = dict(os.environ, HOME=str(base / "home"), ANSIBLE_COLLECTIONS_PATH="%s:%s" % (base / "coll", COLLECTIONS), ANSIBLE_NOCOLOR="1",
               ANSIBLE_CONFIG=str(base / "ansible.cfg"), ANSIBLE_HOME=str(base / "home" / ".ansible"),
               ANSIBLE_REMOTE_TMP=str(base / "home" / "tmp"), ANSIBLE_ASYNC_DIR=str(base / "home" / ".ansible_async"))
    argv = [PLAYBOOK, "-i", hosts, "-c", "local", "-e", "ansible_python_interpreter=" + sys.executable, *options, str(play)]
    return subprocess.Popen(argv, env=env, cwd=base, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)


def play(base, tasks, *options, hosts="a,"):
    process = start(base, tasks, *options, hosts=hosts)
    out = process.communicate(timeout=180)[0]
    return process.returncode, out


def save(name, path):
    return {"ansible.builtin.copy": {"content": "{{ %s | to_json }}" % name, "dest": str(path), "mode": "0600"}, "delegate_to": "localhost"}


def leftovers(base):
    folders = (base / "home" / ".ansible_async", base / "home" / "tmp")
    return [str(path) for folder in folders if folder.exists() for path in folder.rglob("*")]


def test_each_of_two_hosts_shows_its_progress_and_nothing_stays_behind(acme):
    code, out = play(acme, [{"acme.slow.followed": {"seconds": 6, "password": SECRET}}], "-vvv", hosts="a,b")
    assert code == 0, out
    for host in "ab":
        lines = [line for line in out.splitlines() if line.startswith("[%s] load" % host)]
        assert 1 <= len(lines) <= 5, out
        assert "of 100.0 MiB" in lines[0]
        assert "mess[31mages" in lines[0], "the escape character itself must be gone"
    assert SECRET not in out
    assert leftovers(acme) == []


@pytest.mark.parametrize("end", ["ok", "fail"])
def test_the_result_is_that_of_a_module_run_in_the_foreground(acme, end):
    tasks = []
    for name in ("followed", "plain"):
        tasks.append({"acme.slow." + name: {"seconds": 0.1, "end": end}, "register": name, "ignore_errors": True})
        tasks.append(save(name, acme / (name + ".json")))
    code, out = play(acme, tasks)
    assert code == 0, out
    followed, plain = (json.loads((acme / (name + ".json")).read_text()) for name in ("followed", "plain"))
    assert followed == plain
    assert followed["failed"] is (end == "fail")


def test_a_short_module_stays_short(acme):
    begin = time.monotonic()
    code, out = play(acme, [{"acme.slow.plain": {"seconds": 1}}])
    plain = time.monotonic() - begin
    assert code == 0, out
    begin = time.monotonic()
    code, out = play(acme, [{"acme.slow.followed": {"seconds": 1}}])
    followed = time.monotonic() - begin
    assert code == 0, out
    # One more transfer, half a second until the first look; doubled for a busy machine.
    assert followed - plain < 4, "followed %.1f s, plain %.1f s" % (followed, plain)


def test_check_mode_runs_in_the_foreground_with_no_progress_file(acme):
    tasks = [{"acme.slow.followed": {"seconds": 30}, "register": "followed"}, {"ansible.builtin.debug": {"var": "followed.followed"}}]
    code, out = play(acme, tasks, "--check")
    assert code == 0, out
    assert '"followed.followed": null' in out
    assert not (acme / "home" / ".ansible_async").exists()


def test_a_killed_module_is_a_failure_told_in_words_and_not_a_wait_until_the_time_limit(acme):
    code, out = play(acme, [{"acme.slow.followed": {"seconds": 0.1, "end": "kill"}}])
    assert code != 0
    assert "ended without an answer" in out
    assert "NEXT: run the same playbook again" in out
    assert leftovers(acme) == []


def test_a_job_whose_every_process_was_killed_is_noticed(acme):
    process = start(acme, [{"acme.slow.followed": {"seconds": 120}}])
    try:
        deadline = time.monotonic() + 60
        victims = []
        while not victims and time.monotonic() < deadline:
            time.sleep(0.3)
            # Only once its progress file is there is the module itself running.
            if list((acme / "home").glob(".ansible_async/progress-*.json")):
                victims = _processes_naming(str(acme / "home" / "tmp"), besides=process.pid)
        assert victims, "the job was never seen"
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        out = process.communicate(timeout=60)[0]
    finally:
        process.kill()
    assert "is gone without a result" in out
    assert process.returncode != 0


def test_a_task_over_its_time_is_stopped_on_the_host(acme):
    mark = acme / "mark"
    code, out = play(acme, [{"acme.slow.followed": {"seconds": 20, "mark": str(mark)}}], "-e", "letta_task_timeout=3")
    assert code != 0
    assert "was stopped after 3 s (letta_task_timeout)" in out
    # The module is dead; what started it may need a moment to end on a busy machine.
    assert places.wait_for(lambda: not _processes_naming(str(acme / "home" / "tmp")), 15)
    assert not mark.exists()


@pytest.mark.fault(21, "goes-on")
def test_the_module_goes_on_when_the_controller_dies(acme):
    """With all that came of it: on a host far away that is what a lost line takes along, a module in the foreground too."""
    mark, folder = acme / "mark", acme / "home" / ".ansible_async"
    folder.mkdir(mode=0o700)
    process = start(acme, [{"acme.slow.followed": {"seconds": 5, "mark": str(mark)}}])
    assert places.wait_for(lambda: list(folder.glob("progress-*.json")), 60), "the module was never seen"
    for pid in _family(process.pid):
        with suppress(ProcessLookupError):  # it has ended in this instant
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=30)
    assert not mark.exists(), "it was killed in the middle"
    assert places.wait_for(mark.exists, 30)
    assert mark.read_text() == "done"


@pytest.mark.parametrize("limit", ["0", "soon", "-5"])
def test_a_time_limit_that_is_none_is_refused_before_anything_starts(acme, limit):
    code, out = play(acme, [{"acme.slow.followed": {"seconds": 1}}], "-e", "letta_task_timeout=" + limit)
    assert code != 0
    assert "letta_task_timeout must be a number of seconds above 0" in out


def test_a_job_that_cannot_start_leaves_nothing_behind(acme):
    (acme / "in-the-way").write_text("a file")
    code, out = play(acme, [{"acme.slow.followed": {"seconds": 1}}], "-e", "ansible_async_dir=%s" % (acme / "in-the-way" / "async"))
    assert code != 0
    assert "could not create directory" in out
    assert leftovers(acme) == []


def test_async_of_the_users_own_is_refused(acme):
    code, out = play(acme, [{"acme.slow.followed": {"seconds": 1}, "async": 60, "poll": 5}])
    assert code != 0
    assert "leave async and poll away" in out


def test_no_log_silences_the_progress_too(acme):
    code, out = play(acme, [{"acme.slow.followed": {"seconds": 4}, "no_log": True}])
    assert code == 0, out
    assert "load" not in out


@pytest.mark.fault(42, "arguments")
def test_no_secret_is_on_a_command_line_while_the_module_runs(acme):
    process = start(acme, [{"acme.slow.followed": {"seconds": 4, "password": SECRET}}])
    seen = set()
    while process.poll() is None:
        seen.update(_command_lines())
        time.sleep(0.05)
    out = process.communicate(timeout=30)[0]
    assert process.returncode == 0, out
    assert any("async_wrapper" in line for line in seen), "the watch itself saw nothing"
    assert not [line for line in seen if SECRET in line]


def _family(pid):
    """A process and all that came of it, but for what has left for a life of its own."""
    return [pid] + [one for child in children(pid) for one in _family(child)]


def _command_lines():
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                yield (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue


def _processes_naming(text, besides=0):
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) not in (os.getpid(), besides):
            try:
                if text.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found
