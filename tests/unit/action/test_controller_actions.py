"""Confirmation and report through real ansible-playbook runs; both work on the controller alone."""
from __future__ import annotations

import errno
import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "unit" / "report"))
from report_samples import FAILURE, SUCCESS, success  # noqa: E402

PLAYBOOK = shutil.which("ansible-playbook", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
pytestmark = pytest.mark.skipif(PLAYBOOK is None, reason="ansible-playbook is not installed")
AFTER = "the dangerous step ran"


def command(base, tasks, *options):
    """Return (argv, env) of a run whose last task must only be reached after a confirmation."""
    play = base / "play.yml"
    # The host cannot be reached: nothing here may need it.
    play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    (base / "ansible.cfg").write_text("[defaults]\n")
    env = dict(os.environ, HOME=str(base), ANSIBLE_NOCOLOR="1", ANSIBLE_COLLECTIONS_PATH=str(ROOT / "playbooks" / "collections"),
               ANSIBLE_CONFIG=str(base / "ansible.cfg"), ANSIBLE_HOME=str(base / ".ansible"), TERM="dumb")
    return [PLAYBOOK, "-i", "192.0.2.1,", *options, str(play)], env


def play(base, tasks, *options):
    argv, env = command(base, tasks, *options)
    done = subprocess.run(argv, env=env, cwd=base, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False)
    return done.returncode, done.stdout + done.stderr


def confirming(given, **options):
    args = dict({"expected": "db1/letta", "given": given, "what": "letta on db1 will be replaced."}, **options)
    return [{"letta_ops.recovery.confirm": args}, {"ansible.builtin.debug": {"msg": AFTER}}]


def test_the_named_target_lets_the_play_go_on(tmp_path):
    code, out = play(tmp_path, confirming("db1/letta"))
    assert (code, AFTER in out) == (0, True), out


def test_another_target_is_refused_with_the_right_one_shown(tmp_path):
    code, out = play(tmp_path, confirming("db2/letta"))
    assert code != 0
    assert AFTER not in out
    assert "usage: letta_confirm is 'db2/letta', but the target is 'db1/letta'" in out
    assert "NEXT: -e letta_confirm=db1/letta" in out


def test_no_answer_and_no_terminal_is_a_refusal(tmp_path):
    code, out = play(tmp_path, confirming(""))
    assert code != 0
    assert AFTER not in out
    assert "cancelled: there is no terminal" in out
    assert "-e letta_confirm=db1/letta" in out


def test_check_mode_asks_nothing(tmp_path):
    code, out = play(tmp_path, confirming(""), "--check")
    assert (code, AFTER in out) == (0, True), out


def at_terminal(base, tasks, answers):
    """Run with a real terminal as stdin and stdout and type one answer per question; return (code, screen)."""
    argv, env = command(base, tasks)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(base)
        os.execve(argv[0], argv, env)
    screen, waiting, asked, deadline = "", list(answers), 0, time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(terminal, 4096)
        except OSError as error:
            # Linux tells the end of a terminal this way.
            if error.errno != errno.EIO:
                raise
            break
        if not data:
            break
        screen += data.decode("utf-8", "replace")
        if waiting and screen.count("to go on, ") > asked:
            asked += 1
            # Ansible throws away what was typed before its question.
            time.sleep(0.7)
            os.write(terminal, waiting.pop(0).encode())
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen


def test_a_person_who_types_the_target_goes_on(tmp_path):
    code, screen = at_terminal(tmp_path, confirming(""), ["db1/letta\r"])
    assert "letta on db1 will be replaced." in screen
    assert (code, AFTER in screen) == (0, True), screen


def test_a_person_who_mistypes_is_asked_again_and_enter_alone_cancels(tmp_path):
    code, screen = at_terminal(tmp_path, confirming(""), ["db1/lettta\r", "\r"])
    assert "That was 'db1/lettta'" in screen
    assert code != 0
    assert AFTER not in screen
    assert "was not confirmed" in screen


@pytest.mark.parametrize("answer", ["\r", "yes\rno\r", "\x03"], ids=["enter", "yes", "ctrl-c"])
def test_anything_else_cancels(tmp_path, answer):
    answers = [part + "\r" for part in answer.split("\r") if part] + ["\r", "\r"] if "yes" in answer else [answer]
    code, screen = at_terminal(tmp_path, confirming(""), answers)
    assert code != 0
    assert AFTER not in screen


def test_silence_at_the_terminal_cancels_after_the_time_limit(tmp_path):
    code, screen = at_terminal(tmp_path, confirming("", timeout=2), [])
    assert code != 0
    assert AFTER not in screen
    assert "was not confirmed" in screen


def reporting(facts, **options):
    task = {"letta_ops.recovery.restore_report": dict({"facts": facts}, **options), "register": "out"}
    return [task, {"ansible.builtin.debug": {"msg": "written={{ out.written }} changed={{ out.changed }}"}}]


def test_the_recap_is_printed_and_the_report_lies_in_the_folder_of_the_variable(tmp_path):
    code, out = play(tmp_path, reporting(SUCCESS, show="recap", write=True), "-e", "letta_report_dir=out/reports")
    assert code == 0, out
    assert "DONE   status succeeded · downtime 19 s · whole run 12 min 7 s · report out/reports/latest/report.html" in out
    assert "UNDO   " + SUCCESS["undo"]["command"] in out
    assert "written=True changed=False" in out
    report = json.loads((tmp_path / "out" / "reports" / "r-7f3c" / "report.json").read_text())
    assert report["tables"][0]["name"] == "letta.agents"
    assert report["status"] == "succeeded"


def test_check_mode_prints_the_plan_and_writes_nothing(tmp_path):
    code, out = play(tmp_path, reporting(SUCCESS, show="plan", write=True), "--check")
    assert code == 0, out
    assert "PLAN   restore lb-20261120T020000Z-4f2a9c" in out
    assert not (tmp_path / "reports").exists()


def test_a_failure_is_printed_and_written_to_the_usual_folder(tmp_path):
    code, out = play(tmp_path, reporting(FAILURE, show="failure", write=True))
    assert code == 0, out
    assert "FAIL   backup_corrupt · " in out
    assert "NOW    live database untouched" in out
    assert "NEXT   " + FAILURE["next_step"] in out
    assert (tmp_path / "reports" / "latest" / "report.html").exists()


def test_a_report_that_cannot_be_written_warns_and_does_not_fail_the_run(tmp_path):
    (tmp_path / "reports").write_text("a file is in the way")
    code, out = play(tmp_path, reporting(SUCCESS, show="recap", write=True))
    assert code == 0, out
    assert "the report cannot be written to" in out
    assert "written=False" in out
    assert "DONE   status succeeded" in out


def test_template_marks_in_names_are_data(tmp_path):
    facts = success()
    facts["plan"]["window"]["agents"] = ["UNSAFE"]
    tasks = reporting("{{ facts }}", show="plan", write=True)
    (tmp_path / "facts.json").write_text(json.dumps(facts).replace("UNSAFE", "{{ 6 * 7 }} <b>"))
    # The way facts of a module come in: as data that nobody may evaluate.
    tasks.insert(0, {"ansible.builtin.set_fact": {"facts": "{{ lookup('file', '%s') | from_json }}" % (tmp_path / "facts.json")}})
    code, out = play(tmp_path, tasks)
    assert code == 0, out
    assert "{{ 6 * 7 }} <b>" in out
    assert "42" not in out
    assert "{{ 6 * 7 }} &lt;b&gt;" in (tmp_path / "reports" / "latest" / "report.html").read_text()
