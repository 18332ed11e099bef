# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live progress of a long module: start it detached, watch it, print a line now and then, return its own result.

Ansible says nothing while a module runs. :class:`LiveProgress` is mixed into an action plugin of the module's name::

    class ActionModule(LiveProgress, ActionBase):
        display = Display()
        connection_errors = (AnsibleConnectionFailure,)

The module must have an option ``progress_file`` (see :class:`Progress`) and must not return keys named ``started``, ``finished``,
``ansible_job_id`` or ``results_file``: Ansible's own job control uses them. It runs in its own session on the host: when the
controller dies or the line drops, it goes on, and its own journal tells the next run what it did.
"""
from __future__ import annotations

import json
import re
import secrets
import time

from .lines import ProgressPrinter

DEFAULT_TIMEOUT = 24 * 3600
FIRST_POLL, LONGEST_POLL, POLL_GROWTH = 0.25, 1.0, 1.3
# Ansible's job control looks at its clock every five seconds and then needs one more to kill.
GRACE = 30
# How long the line to a host may be gone before the task gives up watching.
OUTAGE = 300
JOB_KEYS = frozenset(("ansible_job_id", "started", "finished", "results_file"))
_RUNNING_KEYS = JOB_KEYS | {"failed", "changed"}
_SEPARATOR = "--letta-job--"


class LiveProgress:
    """Mixin for an Ansible action plugin; see the text above."""

    display = None
    connection_errors = ()
    timeout_class = "manual_help_needed"

    def run(self, tmp=None, task_vars=None):
        """Return the module's result as if it had run in the foreground.

        Task variables read: ``letta_task_timeout`` (seconds, default 24 h), ``_letta_progress_note`` (text behind each line).
        """
        task_vars = task_vars or {}
        if self._task.async_val:
            message = "%s watches its own work: leave async and poll away" % self._task.action
            return _refusal(message, "remove async and poll from the task")
        result = super().run(tmp, task_vars)
        timeout, complaint = self._timeout(task_vars)
        if complaint:
            return dict(result, **complaint)
        if self._task.check_mode:
            return dict(result, **self._execute_module(task_vars=task_vars))
        return dict(result, **_Watch(self, task_vars, timeout).outcome())

    def _timeout(self, task_vars):
        """Return (seconds, None) or (None, refusal)."""
        raw = self._templar.template(task_vars.get("letta_task_timeout", DEFAULT_TIMEOUT))
        try:
            seconds = int(raw)
        except (TypeError, ValueError):
            seconds = 0
        if seconds < 1:
            return None, _refusal("letta_task_timeout must be a number of seconds above 0, not %r" % (raw,), "-e letta_task_timeout=86400")
        return seconds, None


class _Watch:
    """One detached run of a module, from its start to its cleaned-up end."""

    def __init__(self, action, task_vars, timeout):
        self.action = action
        self.task_vars = task_vars
        self.timeout = timeout
        self.shell = action._connection._shell
        self.host = str(task_vars.get("inventory_hostname") or "host")
        self.note = str(action._templar.template(task_vars.get("_letta_progress_note") or ""))
        self.printer = ProgressPrinter(action.display, self.host, self.note, silent=bool(action._task.no_log))
        self.given = action._task.args.get("progress_file")
        # The host's async folder belongs to whoever the module runs as, so the module can write there also under become.
        async_dir = action.get_shell_option("async_dir", default="~/.ansible_async")
        self.progress_file = self.given or self.shell.join_path(async_dir, "progress-%s.json" % secrets.token_hex(8))
        self.job_file = None
        self.job = ""
        self.tmpdir = None
        self.over = False

    def outcome(self):
        """Return the module's result without any trace of job control."""
        started = self._start()
        if "ansible_job_id" not in started:
            # Ansible has forgotten the folder by now, and nothing on the host will remove it.
            self._remove_folder()
            return self._tidy(started)
        self.job, self.job_file = str(started["ansible_job_id"]), str(started["results_file"])
        if not self.given:
            self.progress_file = self.shell.join_path(self.job_file.rsplit("/", 1)[0], self.progress_file.rsplit("/", 1)[-1])
        try:
            result = self._follow()
            facts = started.get("ansible_facts")
            return self._tidy(dict({"ansible_facts": facts} if facts else {}, **result))
        finally:
            # A job that still runs needs its files; Ansible's job control removes its own folder when it ends.
            if self.over:
                self._clean_up()

    def _start(self):
        action = self.action
        self.tmpdir = self.shell.tmpdir or action._make_tmp_path()
        args = dict(action._task.args, progress_file=self.progress_file)
        try:
            action._task.async_val = self.timeout
            return action._execute_module(module_args=args, task_vars=self.task_vars, wrap_async=True)
        finally:
            # Left set, Ansible would start to poll for us after this plugin returns.
            action._task.async_val = 0

    def _follow(self):
        """Watch until the job is over; returns its result, or a failure told in our own words."""
        begun, pause, lost_since = time.monotonic(), FIRST_POLL, None
        while True:
            time.sleep(pause)
            pause = min(pause * POLL_GROWTH, LONGEST_POLL)
            try:
                alive, progress, text = self._look()
                lost_since = None
            except self.action.connection_errors as error:
                lost_since = lost_since or time.monotonic()
                self._line_lost(lost_since, error)
                continue
            job = _json_object(text)
            if job is not None and not _is_running(job) and not (alive and _timed_out(job)):  # it is killed a second after it says so
                self.over = True
                return self._read(job, text)
            if alive is False:
                self.over = True
                return self._vanished()
            self.printer.show(progress, time.monotonic() - begun)
            if time.monotonic() - begun > self.timeout + GRACE:
                return self._too_long()

    def _look(self):
        """Return (alive: True|False|None for unknown, progress text, job file's text) with one remote command.

        Whether the job lives is asked before its file is read: a job that ends in between has written its result by then.
        """
        quote = self.shell.quote
        # The job's processes carry "<random id> <limit>" in their command line; the brackets keep this shell from finding itself.
        stem = self.job.split(".", 1)[0]
        pattern = "[%s]%s %d " % (stem[:1], stem[1:], self.timeout)
        command = "pgrep -f %s >/dev/null 2>&1; echo $?; cat %s 2>/dev/null; echo; echo %s; cat %s 2>/dev/null || true" % (
            quote(pattern), quote(self.progress_file), _SEPARATOR, quote(self.job_file))
        out = self.action._low_level_execute_command(command).get("stdout") or ""
        head, found, job_text = out.partition(_SEPARATOR)
        if not found:
            return None, "", ""
        match = re.search(r"^(\d+)\s*$", head, re.MULTILINE)
        code = int(match.group(1)) if match else 127
        progress = head[match.end():] if match else ""
        return {0: True, 1: False}.get(code), progress, job_text

    def _read(self, job, text):
        """Return the finished job's result, read from its file's text as Ansible reads what a module prints.

        Module ``async_status`` would do the same, for the price of one more module on the host (a good second on a busy one).
        """
        if _timed_out(job):
            return self._too_long()
        if job.get("failed") and "cmd" in job and "data" in job and str(job.get("msg", "")).startswith("Traceback"):
            return self._no_answer(job)
        reply = {"stdout": text, "stderr": "", "rc": 0}
        try:
            # Since ansible-core 2.19 the form of the data is asked for; this is the form of what a module prints.
            result = self.action._parse_returned_data(reply, "legacy")
        except TypeError:
            result = self.action._parse_returned_data(reply)
        return {key: value for key, value in result.items() if key == "_ansible_parsed" or not key.startswith("_ansible_")}

    def _tidy(self, result):
        clean = {key: value for key, value in result.items() if key not in JOB_KEYS}
        module_args = (clean.get("invocation") or {}).get("module_args")
        if isinstance(module_args, dict) and "progress_file" in module_args:
            module_args["progress_file"] = self.given
        return clean

    def _clean_up(self):
        """Remove job file, progress file and the module's own folder; a failure here must not cost the result."""
        doomed = [self.job_file] + ([] if self.given else [self.progress_file])
        try:
            self.action._low_level_execute_command("rm -f %s" % " ".join(self.shell.quote(path) for path in doomed))
            self._remove_folder()
        except self.action.connection_errors as error:
            self.action.display.warning("[%s] temporary files of a finished task stay behind: %s" % (self.host, error))

    def _remove_folder(self):
        self.action._cleanup_remote_tmp = True
        self.action._remove_tmp_path(self.tmpdir)

    def _line_lost(self, since, error):
        if time.monotonic() - since > OUTAGE:
            raise error
        self.printer.say("[%s] connection lost; the work goes on there, trying again" % self.host)

    def _too_long(self):
        self._kill()
        return self._lost(
            "was stopped after %d s (letta_task_timeout)" % self.timeout,
            "the work on the host was killed; its journal holds the last step done", "run again with -e letta_task_timeout=<more seconds>")

    def _kill(self):
        """Kill the module itself: on a busy host it may have started before Ansible's job control made the process group that it kills."""
        name = re.escape(self.tmpdir.rstrip("/").rsplit("/", 1)[-1])
        pattern = "[%s]%s/AnsiballZ_" % (name[:1], name[1:])
        self.action._low_level_execute_command("pkill -KILL -f %s || true" % self.shell.quote(pattern))

    def _vanished(self):
        return self._lost("is gone without a result: the host restarted or the process was killed")

    def _no_answer(self, job):
        said = str(job.get("stderr") or job.get("data") or "").strip()
        return dict(self._lost("ended without an answer: killed, out of memory, or crashed"), module_stderr=said[-4000:])

    def _lost(self, what, now="", next_step=""):
        """Return the failure of a job that left no result of its own."""
        return _failure(
            self.action.timeout_class, "%s on %s %s" % (self.action._task.action, self.host, what),
            now or "nothing of it runs any more; its journal holds the last step done",
            next_step or "run the same playbook again: it goes on or undoes")


def _json_object(text):
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _is_running(job):
    return bool(job.get("started")) and not job.get("finished") and not job.get("failed") and set(job) <= _RUNNING_KEYS


def _timed_out(job):
    return "child_pid" in job and job.get("msg") == "Timeout exceeded"


def _refusal(message, next_step):
    return _failure("usage", message, "nothing was started", next_step)


def _failure(failure_class, message, now, next_step):
    text = "%s: %s\nNOW: %s\nNEXT: %s" % (failure_class, message, now, next_step)
    return {"failed": True, "msg": text, "failure_class": failure_class, "now": now, "next_step": next_step, "details": {}}
