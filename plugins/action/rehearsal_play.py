# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a playbook against a throw-away system, in a process of its own, and tells what became of it; a failure of it is an answer."""
from __future__ import annotations

import re
import time

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.letta_ops.recovery.plugins.plugin_utils.nested import play

# What a person wants to see of it; the log has the rest.
_TOLD = re.compile(r"(PLAN|PROVE|DONE|FAIL|NOW|NEXT|REJECT|CHECKS)\b|       \S|\[[^\]]+\] ")


class ActionModule(ActionBase):
    """Runs on the controller alone."""

    _requires_connection = False
    TRANSFERS_FILES = False
    _display = Display()

    def run(self, tmp=None, task_vars=None):
        """Return ``report``, ``failure`` (None when it went well), ``seconds``, ``log``."""
        result = super().run(tmp, task_vars)
        spec = {
            "playbook": {"type": "str", "required": True}, "inventory": {"type": "raw", "required": True},
            "variables": {"type": "dict", "default": {}}, "tags": {"type": "list", "elements": "str", "default": []},
            "folder": {"type": "str", "required": True}, "timeout": {"type": "int", "default": 14400},
            "label": {"type": "str", "default": ""},
        }  # fmt: skip
        options = self.validate_argument_spec(argument_spec=spec)[1]
        if self._task.check_mode:
            return dict(result, changed=False, skipped=True)
        refused = self._production(options["inventory"], task_vars or {})
        if refused:
            return dict(result, changed=False, seconds=0, report={}, failure={"failure_class": "usage", "message": refused})
        began = time.monotonic()
        played = play(
            options["playbook"], options["inventory"], options["variables"], options["folder"], options["timeout"],
            lambda line: self._tell(options["label"], line), options["tags"],
        )  # fmt: skip
        seconds = round(time.monotonic() - began, 1)
        failure = _failure(played, options)
        return dict(result, changed=True, seconds=seconds, report=played.report or {}, failure=failure, log=options["folder"])

    def _tell(self, label, line):
        if _TOLD.match(line):
            self._display.display("%s | %s" % (label, line) if label else line)

    def _production(self, inventory, task_vars):
        """Return why this inventory must not be rehearsed on, or an empty text. One that was made for the purpose is an own network's."""
        if not isinstance(inventory, str):
            return ""
        manager = InventoryManager(loader=DataLoader(), sources=[inventory])
        staging = {name for host in manager.get_hosts() for name in (host.name, str(host.vars.get("ansible_host", host.name)))}
        hostvars = task_vars.get("hostvars", {})
        groups = task_vars.get("groups", {})
        mine = {host for group in groups if str(group).startswith("letta_") for host in groups[group]}
        production = mine | {str(hostvars[host].get("ansible_host", host)) for host in mine}
        both = sorted(staging & production - {"localhost", "127.0.0.1", "::1"})
        if both:
            return "%s names hosts of the inventory that is rehearsed: %s" % (inventory, ", ".join(both))
        return "" if manager.get_groups_dict().get("letta_database") else "%s has no group letta_database" % inventory


def _failure(played, options):
    """Return {"failure_class", "message"} of a run that did not succeed, else None."""
    report = played.report or {}
    if played.code is None:
        return {"failure_class": "load_failed", "message": "stopped after %d s" % options["timeout"]}
    if played.code == 0 and report.get("status") == "succeeded":
        return None
    if report.get("status") in ("failed", "rolled_back"):
        return {"failure_class": report["failure_class"], "message": report["message"] or report["failure_class"]}
    # No report: Ansible itself did not get far, which says nothing of the backup.
    said = [line.strip() for line in played.last if line.strip()]
    return {"failure_class": "preflight", "message": "ansible-playbook ended with %s: %s" % (played.code, " ".join(said)[-600:])}
