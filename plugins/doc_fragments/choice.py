# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that choose a backup set for a target and keep a run on it."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  backup_root:
    description: Folder of the backup sets on this host. Journals and locks live in its C(.runs).
    type: path
    required: true
  host:
    description: Name of the target host, as plans and reports show it.
    type: str
    required: true
  database:
    description: The live database.
    type: str
    required: true
  owner:
    description: Letta's role. Defaults to the owner of the live database.
    type: str
  backup_id:
    description: Id of the set to restore, or V(latest).
    type: str
    default: latest
  backup_max_age:
    description: Never choose a set older than this (C(36h), C(2d)) unless it is asked for by id.
    type: str
  backup_fallback:
    description:
      - Whether the next good set is taken when one cannot be used.
      - V(latest) does so when O(backup_id=latest), V(always) also when a set was asked for by id, V(never) not at all.
    type: str
    choices: [latest, always, never]
    default: latest
  stores:
    description:
      - Where sets are looked for, in this order - folders of this host and C(rclone:<remote>:<path>). Nothing means O(backup_root) alone,
        which is searched last unless it is named.
      - A set of a remote is fetched to C(.fetched) in O(backup_root) first.
    type: list
    elements: str
    default: []
  rclone_config:
    description: Configuration file of rclone on this host, with its credentials. Without it rclone's own default.
    type: path
  store_timeout:
    description: Seconds without a single byte after which a store counts as silent. Until then it is asked again, at growing intervals.
    type: int
    default: 300
  keep_previous:
    description: Seconds for which the old database is kept.
    type: int
    default: 604800
  controller:
    description: Identity of the process that drives the run. Filled in by the action plugin of this module.
    type: dict
    default: {}
  proven_dead:
    description: Token of a lock whose holder is known to be dead.
    type: str
    default: ""
"""
