# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adds to what module ``letta_service`` returns when that was by the controller's clock, the only one that all hosts share."""
from __future__ import annotations

import time

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Runs the module as it is."""

    _requires_connection = True

    def run(self, tmp=None, task_vars=None):
        """Return the module's result and, where it tells times, ``ended_at`` in seconds since the epoch by the controller's clock."""
        result = super().run(tmp, task_vars)
        result.update(self._execute_module(task_vars=task_vars))
        if "proven_at" in result:
            result["ended_at"] = round(time.time(), 3)
        return result
