# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints the plan, a phase, the recap or the failure of a run, and writes its report on the controller."""
from __future__ import annotations

import os

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report import collect, partial_text, text, write

SHOWS = ("plan", "progress", "recap", "failure")


class ActionModule(ActionBase):
    """Runs on the controller alone. A report is a record, not a state: the task is never ``changed``."""

    _requires_connection = False
    TRANSFERS_FILES = False
    _display = Display()

    def run(self, tmp=None, task_vars=None):
        """Return ``report``, ``lines`` and, where written, ``paths``."""
        result = super().run(tmp, task_vars)
        result["changed"] = False
        spec = {
            "facts": {"type": "dict", "required": True}, "show": {"type": "str", "choices": list(SHOWS)},
            "write": {"type": "bool", "default": False}, "report_dir": {"type": "str"},
        }
        options = self.validate_argument_spec(argument_spec=spec)[1]
        report = collect.build_report(options["facts"])
        paths, shown = {}, None
        if options["write"] and not self._task.check_mode:
            paths, shown = self._write(report, options["report_dir"], task_vars or {}, result)
        lines = _lines(options["show"], report, shown, self._display.verbosity > 0)
        for line in lines:
            self._display.display(line)
        result.update(report=report, lines=lines, paths=paths, written=bool(paths))
        return result

    def _write(self, report, report_dir, task_vars, result):
        """Write the report; what goes wrong becomes a warning, since a missing report must not undo a good restore."""
        folder = report_dir or self._templar.template(task_vars.get("letta_report_dir") or "./reports")
        folder = os.path.abspath(os.path.expanduser(str(folder)))
        try:
            paths = write.write_report(report, folder)
        except RecoveryError as error:
            advice = " (%s)" % error.next_step if error.next_step else ""
            self._display.warning("%s; %s%s" % (error.message, error.now, advice))
            result["write_error"] = error.message
            return {}, None
        best = os.path.join(paths["latest"], "report.html") if paths["latest"] else paths["html"]
        near = os.path.relpath(best)
        return paths, best if near.startswith("..") else near


def _lines(show, report, path, profile):
    if show == "plan":
        told = partial_text if partial_text.is_partial(report["plan"]) else text
        return told.plan_lines(report["plan"])
    if show == "progress":
        return text.progress_lines(report)
    if show == "recap":
        return text.recap_lines(report, path, profile)
    return text.failure_lines(report, path) if show == "failure" else []
