#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: confirm
short_description: Ask for the typed confirmation of a dangerous step
version_added: 0.1.0
description:
  - Lets a play go on only when the target was named, by O(given) or by a person at the terminal.
  - An answer that was given and is wrong fails with class V(usage). No answer and no terminal fails with class V(cancelled);
    it never falls through.
  - Runs on the controller as an action plugin; no connection to the host is made.
options:
  expected:
    description: What must be named, as C(host/database).
    type: str
    required: true
  given:
    description: The answer given beforehand (C(letta_confirm)). Empty means that the terminal is asked.
    type: str
    default: ""
  what:
    description: One sentence above the question, on what will happen.
    type: str
    default: ""
  timeout:
    description: Seconds to wait at the terminal before the step is cancelled.
    type: int
    default: 900
attributes:
  check_mode:
    description: Goes on without asking, since nothing will be changed.
    support: full
  diff_mode:
    description: Has nothing to compare with.
    support: none
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Have the target named before it is replaced
  letta_ops.recovery.confirm:
    expected: "{{ letta_db_host }}/{{ letta_db_name }}"
    given: "{{ letta_confirm | default('') }}"
    what: The database letta on db1 will be replaced by lb-20261120T020000Z-4f2a9c.
"""

RETURN = r"""
confirmed_by:
  description: Who confirmed, V(letta_confirm), V(terminal) or V(check_mode).
  type: str
  returned: success
failure_class:
  description: V(usage) for a wrong answer, V(cancelled) for none.
  type: str
  returned: failure
now:
  description: What is true now.
  type: str
  returned: failure
next_step:
  description: What to type next.
  type: str
  returned: failure
details:
  description: Further facts.
  type: dict
  returned: failure
"""

# The work is done by the action plugin of the same name; this file only documents it.
