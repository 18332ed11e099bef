# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A playbook run in a process of its own, as a person would type it, with an inventory and variables that nobody else can read."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import yaml
from ansible import constants as C

from ..module_utils._engine.durable import make_private_dir
from ..module_utils._engine.report.clean import clean_text

STOP_SECONDS = 20


class _Unsafe(str):
    """Text that the other Ansible must not take for a template."""


class _Dumper(yaml.SafeDumper):
    """Plain YAML, with Ansible's mark on every text."""


_Dumper.add_representer(_Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"'))


def as_yaml(data):
    """Return plain data as YAML that Ansible reads back as it is, whatever braces are in it."""

    def marked(value):
        if isinstance(value, dict):
            return {name: marked(one) for name, one in value.items()}
        if isinstance(value, list):
            return [marked(one) for one in value]
        # Only where there is something to template: Ansible reads the content of the mark as if it were not quoted, so that an empty
        # text would become null, and a key of digits a number.
        return _Unsafe(value) if isinstance(value, str) and "{" in value else value

    # Through JSON: values of a play carry Ansible's own types.
    return yaml.dump(marked(json.loads(json.dumps(data, default=str))), Dumper=_Dumper, allow_unicode=True, width=4096)


class Played:
    """What became of it: ``code`` (None when it was stopped), ``report`` (report.json's data or None), ``last`` (its last lines)."""

    def __init__(self, code, report, last):
        self.code, self.report, self.last = code, report, last


def play(playbook, inventory, variables, folder, timeout, tell, tags=()):
    """Run a playbook.

    :param playbook: its path. :param inventory: path of one, or the data of one. :param variables: extra variables, secrets among them.
    :param folder: for its log (``<playbook>.log``) and its report; made when absent. :param timeout: seconds.
    :param tell: is called with each line that it prints.
    """
    make_private_dir(folder)
    name = os.path.splitext(os.path.basename(playbook))[0]
    reports = os.path.join(folder, name)
    with tempfile.TemporaryDirectory(prefix="letta-ops-play-") as private:
        given = Path(private, "variables.yml")
        given.write_text(as_yaml(dict(variables, letta_report_dir=reports)), encoding="utf-8")
        hosts = inventory
        if not isinstance(inventory, str):
            hosts = os.path.join(private, "inventory.yml")
            Path(hosts).write_text(as_yaml(inventory), encoding="utf-8")
        argv = [sys.executable, "-m", "ansible", "playbook", "--inventory", hosts, "--extra-vars", "@%s" % given, playbook]
        argv += ["--tags", ",".join(tags)] if tags else []
        last: list = []
        code = _run(argv, os.path.join(folder, name + ".log"), timeout, lambda line: (_remember(last, line), tell(line)))
    return Played(code, _report(reports), last)


def _remember(last, line):
    last.append(line)
    del last[:-12]


def _run(argv, log_path, timeout, heard):
    env = dict(os.environ, ANSIBLE_NOCOLOR="1", ANSIBLE_FORCE_COLOR="0", ANSIBLE_CALLBACK_RESULT_FORMAT="yaml")
    env.pop("PYTHONUNBUFFERED", None)  # see the Makefile; Ansible's own output comes line by line without it
    if C.CONFIG_FILE:
        env["ANSIBLE_CONFIG"] = C.CONFIG_FILE
    env["ANSIBLE_COLLECTIONS_PATH"] = os.pathsep.join(C.COLLECTIONS_PATHS)
    with open(log_path, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=env,
            start_new_session=True,
        )  # fmt: skip
        stopped = threading.Event()
        timer = threading.Timer(timeout, lambda: (stopped.set(), _end(process)))
        timer.start()
        try:
            for line in process.stdout:
                log.write(line)
                heard(clean_text(line.rstrip("\n"), 2000))
            process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:
                _end(process)
    return None if stopped.is_set() else process.returncode


def _end(process):
    """Ask the process and all that it started to end, then make them."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(STOP_SECONDS)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _report(folder):
    found = sorted(Path(folder).glob("*/report.json"), key=lambda path: path.stat().st_mtime)
    try:
        return json.loads(found[-1].read_text(encoding="utf-8")) if found else None
    except ValueError:
        return None
