# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows the progress of module ``alembic_upgrade`` while the migrations run."""
from __future__ import annotations

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.live import LiveProgress


class ActionModule(LiveProgress, ActionBase):
    """Runs the module detached and prints a line now and then."""

    _requires_connection = True
    display = Display()
    connection_errors = (AnsibleConnectionFailure,)
    # The module only ever works on a side database: whatever ends it, live is as it was.
    timeout_class = "load_failed"
