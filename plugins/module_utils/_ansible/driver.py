# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that hold a target's lock in the name of the controller: told which process drives them, and which holders are dead."""
from __future__ import annotations

import os

from .._engine import processes
from .live import LiveProgress


class Driver(LiveProgress):
    """Mixin for the action plugin of such a module; see :class:`LiveProgress` for what else it needs.

    The module is run a second time when the target is locked by a dead process of this machine, saying so.
    """

    module = ""

    def is_long(self, args):
        """Tell whether the module may take long: it then runs detached, and its progress is shown."""
        raise NotImplementedError

    def drive(self, task_vars):
        """Return the module's result."""
        # Tasks run in forked workers: the parent is ansible-playbook itself, which lives as long as the run.
        args = dict(self._task.args, controller=processes.identity(os.getppid()))
        outcome = self._run_module(args, task_vars)
        holder = (outcome.get("details") or {}).get("holder") if outcome.get("failure_class") == "locked" else None
        if holder and not args.get("proven_dead") and processes.state_of(holder.get("controller")) == processes.DEAD:
            outcome = self._run_module(dict(args, proven_dead=holder.get("token")), task_vars)
        return outcome

    def _run_module(self, args, task_vars):
        if self.is_long(args):
            self._task.args = args
            return LiveProgress.run(self, None, task_vars)
        return self._execute_module(self.module, module_args=args, task_vars=task_vars)
