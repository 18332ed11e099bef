#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rehearsal_report
short_description: Judge what was rehearsed, and write the report of it
version_added: 0.1.0
description:
  - V(judged) makes a record of what became of each set. Its verdict is V(passed), V(failed) (the backup or the procedure is bad) or
    V(error) (no verdict, try again).
  - V(written) shows the outcome and writes C(report.json), C(report.html), C(junit.xml) and C(letta_rehearsal.prom). Then a rehearsal that
    failed ends the host as failed (Ansible exits with 2), one without a verdict as unreachable (Ansible exits with 4).
  - Runs on the controller as an action plugin; no connection to the host is made.
options:
  state:
    description: What to do.
    type: str
    choices: [judged, written]
    required: true
  steps:
    description: With O(state=judged), for each set C(head), C(full), C(served), C(partial) and C(finished_at).
    type: list
    elements: dict
    default: []
  records:
    description: With O(state=written), the records of this rehearsal.
    type: list
    elements: dict
    default: []
  history:
    description: Records of earlier ones, oldest first.
    type: list
    elements: dict
    default: []
  rto:
    description: Seconds within which a restore must be done.
    type: float
  rpo:
    description: Seconds that the newest set may be old.
    type: float
  folder:
    description: Folder of the report, named as the rehearsal.
    type: str
  target:
    description: The system that the sets are of, C(db1/letta).
    type: str
attributes:
  check_mode:
    description: Judges and writes as without it; whoever rehearses leaves it out.
    support: none
  diff_mode:
    description: Has nothing to compare with.
    support: none
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Judge
  letta_ops.recovery.rehearsal_report:
    state: judged
    steps: "{{ steps }}"
    rto: 900
  register: judged
"""

RETURN = r"""
records:
  description: One record for each set, as the history keeps it.
  type: list
  elements: dict
  returned: with O(state=judged)
lines:
  description: What was shown.
  type: list
  elements: str
  returned: with O(state=written)
paths:
  description: Where the report lies.
  type: dict
  returned: with O(state=written)
verdict:
  description: Of the whole rehearsal, V(passed), V(failed) or V(error).
  type: str
  returned: with O(state=written)
"""
