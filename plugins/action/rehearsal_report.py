# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges what was rehearsed, writes the report of it, and ends the play accordingly: failed and no verdict are different things."""
from __future__ import annotations

import os

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.manifest import parse_stamp
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse import verdict
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report import rehearsal, rehearsal_text, rehearsal_write


class ActionModule(ActionBase):
    """Runs on the controller alone."""

    _requires_connection = False
    TRANSFERS_FILES = False
    _display = Display()

    def run(self, tmp=None, task_vars=None):
        """Return ``records`` (state judged), or ``lines``, ``paths``, ``verdict`` (state written)."""
        result = super().run(tmp, task_vars)
        result["changed"] = False
        lists = {"type": "list", "elements": "dict", "default": []}
        spec = {
            "state": {"type": "str", "choices": ["judged", "written"], "required": True},
            "steps": lists, "records": lists, "history": lists,
            "rto": {"type": "float"}, "rpo": {"type": "float"}, "folder": {"type": "str"}, "target": {"type": "str"},
        }  # fmt: skip
        options = self.validate_argument_spec(argument_spec=spec)[1]
        if options["state"] == "judged":
            return dict(result, records=[_judged(step, options) for step in options["steps"]])
        return dict(result, **self._written(options))

    def _written(self, options):
        records, history, target = options["records"], options["history"], options["target"]
        try:
            paths = rehearsal_write.write_rehearsal(os.path.abspath(os.path.expanduser(options["folder"])), records, history, target)
        except RecoveryError as error:
            self._display.warning("%s; %s" % (error.message, error.now))
            paths = {}
        report = rehearsal.build(records, history, target)
        shown = paths.get("latest_rehearsal") and os.path.relpath(os.path.join(paths["latest_rehearsal"], "report.html"))
        lines = rehearsal_text.lines(report, paths.get("html") if not shown or shown.startswith("..") else shown)
        for line in lines:
            self._display.display(line)
        return {"lines": lines, "paths": paths, "verdict": report["verdict"], **_ending(report)}


def _judged(step, options):
    now = parse_stamp(step["finished_at"])
    targets = {"rto": options["rto"], "rpo": options["rpo"]}
    return verdict.record(step["head"], step.get("full") or {}, step.get("partial") or {}, step.get("served") or {}, now, targets)


def _ending(report):
    """Return how the task ends. Ansible exits with 2 for a failed host and 4 for one that could not be tried: so do the two verdicts."""
    said = rehearsal_text.proof_text(report)
    if report["verdict"] == verdict.FAILED or report["promise"] == rehearsal.BROKEN:
        word = "FAILED" if report["verdict"] == verdict.FAILED else "MISSED A TARGET"
        return {"failed": True, "failure_class": "verify_failed", "msg": "the rehearsal %s: %s" % (word, said)}
    if report["verdict"] == verdict.ERROR:
        return {"unreachable": True, "msg": "the rehearsal came to NO VERDICT, which says nothing against the backups: %s" % said}
    return {}
