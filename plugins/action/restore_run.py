# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells module ``restore_run`` which process drives the run, and proves the death of a lock's holder from here."""
from __future__ import annotations

import os

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.live import LiveProgress
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes


class ActionModule(LiveProgress, ActionBase):
    """Runs the module; when the target is locked by a dead process of this machine, runs it again saying so.

    Where a set may have to be fetched first, it runs detached and its progress is shown.
    """

    _requires_connection = True
    display = Display()
    connection_errors = (AnsibleConnectionFailure,)
    # Choosing and fetching change nothing but the folder of fetched sets.
    timeout_class = "preflight"

    def run(self, tmp=None, task_vars=None):
        """Return the module's result."""
        result = ActionBase.run(self, tmp, task_vars)
        # Tasks run in forked workers: the parent is ansible-playbook itself, which lives as long as the run.
        args = dict(self._task.args, controller=processes.identity(os.getppid()))
        outcome = self._run_module(args, task_vars)
        holder = (outcome.get("details") or {}).get("holder") if outcome.get("failure_class") == "locked" else None
        if holder and not args.get("proven_dead") and processes.state_of(holder.get("controller")) == processes.DEAD:
            outcome = self._run_module(dict(args, proven_dead=holder.get("token")), task_vars)
        result.update(outcome)
        return result

    def _run_module(self, args, task_vars):
        if args.get("state") == "begun" and "rclone:" in str(args.get("stores")):
            self._task.args = args
            return LiveProgress.run(self, None, task_vars)
        return self._execute_module("letta_ops.recovery.restore_run", module_args=args, task_vars=task_vars)
