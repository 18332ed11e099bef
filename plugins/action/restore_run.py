# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells module ``restore_run`` which process drives the run, and proves the death of a lock's holder from here."""
from __future__ import annotations

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.driver import Driver


class ActionModule(Driver, ActionBase):
    """Where a set may have to be fetched first, the module runs detached and its progress is shown."""

    _requires_connection = True
    display = Display()
    connection_errors = (AnsibleConnectionFailure,)
    # Choosing and fetching change nothing but the folder of fetched sets.
    timeout_class = "preflight"
    module = "letta_ops.recovery.restore_run"

    def run(self, tmp=None, task_vars=None):
        """Return the module's result."""
        return dict(ActionBase.run(self, tmp, task_vars), **self.drive(task_vars))

    def is_long(self, args):
        """Sets of remotes are fetched."""
        return args.get("state") == "begun" and "rclone:" in str(args.get("stores"))
