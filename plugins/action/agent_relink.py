# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells module ``agent_relink`` which process drives the run, proves the death of a lock's holder from here, and shows progress."""
from __future__ import annotations

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.driver import Driver


class ActionModule(Driver, ActionBase):
    """It reads tables of an archive, and waits for agents at work: it runs detached."""

    _requires_connection = True
    display = Display()
    connection_errors = (AnsibleConnectionFailure,)
    # Either the one transaction was committed or nothing was done: the next run asks PostgreSQL which.
    timeout_class = "load_failed"
    module = "letta_ops.recovery.agent_relink"

    def run(self, tmp=None, task_vars=None):
        """Return the module's result."""
        return dict(ActionBase.run(self, tmp, task_vars), **self.drive(task_vars))

    def is_long(self, args):  # noqa: ARG002
        """Always: there are no parts of it."""
        return True
