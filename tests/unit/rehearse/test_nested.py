"""A playbook in a process of its own: what it is given, what is told of it, what is refused."""
from __future__ import annotations

import pytest
import yaml

from ansible_collections.letta_ops.recovery.plugins.action.rehearsal_play import _TOLD, _failure
from ansible_collections.letta_ops.recovery.plugins.plugin_utils.nested import Played, as_yaml, play

PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Say it
      ansible.builtin.debug:
        msg: "{{ secret }}"
    - name: Be slow
      ansible.builtin.pause:
        seconds: "{{ pause | default(0) | int }}"
"""
ODD = "{{ lookup('pipe', 'id') }} '\"$(x) \N{GRINNING FACE}: #"


@pytest.fixture
def playbook(tmp_path):
    path = tmp_path / "say.yml"
    path.write_text(PLAYBOOK)
    return str(path)


INVENTORY = {"all": {"hosts": {"here": {"ansible_connection": "local"}}}}


def test_text_that_could_be_a_template_is_marked_as_none():
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!unsafe", lambda loader, node: ("unsafe", loader.construct_scalar(node)))
    assert yaml.load(as_yaml({"a": [ODD, 1, None, True]}), Loader) == {"a": [("unsafe", ODD), 1, None, True]}


def test_values_with_braces_reach_it_as_they_are_and_files_with_them_are_gone_afterwards(tmp_path, playbook, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    heard = []
    played = play(playbook, INVENTORY, {"secret": ODD}, str(tmp_path / "out"), 60, heard.append)
    assert played.code == 0 and played.report is None
    assert any("lookup('pipe', 'id')" in line for line in heard), heard
    assert list((tmp_path / "tmp").iterdir()) == []
    assert (tmp_path / "out" / "say.log").stat().st_mode & 0o777 == 0o600


def test_text_stays_text_whatever_it_looks_like(tmp_path, playbook):
    texts, heard = ["", "12", "0016", "1e5", "1_0", "true", "null", "~", "2026-11-22", "{{ 12 }}", "{"], []
    play(playbook, INVENTORY, {"secret": texts}, str(tmp_path / "out"), 60, heard.append)
    said = [line.strip()[2:] for line in heard if line.strip().startswith("- ")]
    assert [yaml.safe_load(text) for text in said] == texts, heard


def test_one_that_takes_too_long_is_ended(tmp_path, playbook):
    played = play(playbook, INVENTORY, {"secret": "x", "pause": 300}, str(tmp_path / "out"), 4, lambda line: None)
    assert played.code is None
    assert _failure(played, {"timeout": 4}) == {"failure_class": "load_failed", "message": "stopped after 4 s"}


def test_a_run_without_a_report_says_nothing_of_the_backup():
    failure = _failure(Played(4, None, ["", "fatal: [db1]: UNREACHABLE!"]), {"timeout": 1})
    assert failure["failure_class"] == "preflight" and "UNREACHABLE" in failure["message"]


def test_a_failed_run_is_told_by_its_report():
    report = {"status": "failed", "failure_class": "backup_corrupt", "message": "does not match"}
    assert _failure(Played(2, report, []), {}) == {"failure_class": "backup_corrupt", "message": "does not match"}
    assert _failure(Played(0, {"status": "succeeded"}, []), {}) is None


@pytest.mark.parametrize("line", ["PLAN   restore", "       loses 1 h", "[db1] load 3%", "FAIL   x", "DONE   status"])
def test_what_a_person_wants_to_see_is_told(line):
    assert _TOLD.match(line)


@pytest.mark.parametrize("line", ["TASK [x] ****", "ok: [db1]", "fatal: [db1]", "PLAY RECAP ***"])
def test_ansibles_own_lines_stay_in_the_log(line):
    assert not _TOLD.match(line)
