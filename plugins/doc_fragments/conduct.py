# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that write single rows into a running system."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  jobs:
    description: Tables of the archive read at a time. V(0) means one per core.
    type: int
    default: 0
  busy_wait:
    description: Seconds to wait for an agent that is at work, before the run is refused.
    type: int
    default: 60
  busy_window:
    description: Seconds without a sign of life after which an open run does not count as work. Runs that were cut short stay open for ever.
    type: int
    default: 900
  lock_timeout:
    description: Seconds to wait for rows that somebody else holds.
    type: int
    default: 30
  alembic_command:
    description: Alembic of the release that runs here, for sets of an older schema (see M(letta_ops.recovery.alembic_upgrade)).
    type: raw
  alembic_directory:
    description: Folder to run O(alembic_command) in.
    type: path
  alembic_timeout:
    description: Seconds after which the migrations of a slice are stopped.
    type: int
    default: 3600
  owner_password:
    description: Password of O(owner), for O(alembic_command).
    type: str
  encryption_key:
    description: Letta's encryption key. It is tried on the secrets that would come back; migrations that encrypt need it.
    type: str
"""
