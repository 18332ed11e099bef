#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rehearsal_play
short_description: Run a playbook against a throw-away system, in a process of its own
version_added: 0.1.0
description:
  - Runs C(ansible-playbook) as a person would type it, with an inventory and variables of its own, so that nothing of the inventory that
    is rehearsed can reach it. Its plan, its progress and its outcome are shown; the rest goes into a log.
  - A run that fails is an answer, not a failure of this task.
  - Runs on the controller as an action plugin; no connection to the host is made.
options:
  playbook:
    description: Path of the playbook.
    type: str
    required: true
  inventory:
    description: Path of an inventory, or the data of one. A path is refused when it names a host of the C(letta_) groups of this inventory.
    type: raw
    required: true
  variables:
    description: Extra variables. They travel in a file that only this user can read, and are never taken for templates.
    type: dict
    default: {}
  tags:
    description: Tags to run it with.
    type: list
    elements: str
    default: []
  folder:
    description: Folder on the controller for its log and its report.
    type: str
    required: true
  timeout:
    description: Seconds after which it is ended.
    type: int
    default: 14400
  label:
    description: What its lines are shown with.
    type: str
    default: ""
attributes:
  check_mode:
    description: Is skipped.
    support: full
  diff_mode:
    description: Has nothing to compare with.
    support: none
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Restore the newest set on staging
  letta_ops.recovery.rehearsal_play:
    playbook: "{{ playbook_dir }}/restore-full.yml"
    inventory: inventories/staging/hosts.yml
    variables:
      letta_confirm: letta-staging-db/letta
    folder: reports/rehearsal
  register: restored
"""

RETURN = r"""
report:
  description: The data of its C(report.json); empty when it wrote none.
  type: dict
  returned: always
failure:
  description: C(failure_class) and C(message) of a run that did not succeed, else nothing.
  type: dict
  returned: always
seconds:
  description: How long it took.
  type: float
  returned: always
log:
  description: Folder of log and report.
  type: str
  returned: when it was run
"""
