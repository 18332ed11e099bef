#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: restore_report
short_description: Print the plan, a phase, the recap or the failure of a run, and write its report
version_added: 0.1.0
description:
  - Builds the report of a run from the facts a playbook gathered, prints the wanted part of it, and writes
    C(report.json), C(report.html), C(junit.xml) and C(letta_restore.prom) on the controller.
  - Runs on the controller as an action plugin; no connection to the host is made.
  - Never reports a change, since a report is a record and not a state. A report that cannot be written is a warning, so that it
    cannot undo a good restore.
options:
  facts:
    description:
      - The facts of the run with the keys of C(report.json), all optional.
      - C(run_id), C(playbook), C(status), C(failure_class), C(host), C(started_at), C(finished_at), C(downtime_seconds),
        C(downtime_started_at).
      - C(backup) with C(id), C(taken_at), C(letta_version), C(alembic_revision) and C(rejected), a list of C(id) and C(reason).
      - C(target) with C(host), C(database), C(alembic_revision).
      - C(phases), a list of C(name), C(status), C(seconds), C(detail), C(started_at).
      - C(tables), a list of C(name), C(rows_expected), C(rows_restored), C(digest), C(explanation).
      - C(checks), a list of C(id), C(status), C(detail), C(count), C(examples).
      - C(reconciled), a list of C(entity), C(id), C(action), C(reason).
      - C(redis) with C(dropped), C(kept); C(undo) with C(command), C(valid_until); C(tools), names and versions; C(warnings), a list.
      - C(message), C(now) and C(next_step) of a failed run; C(plan), the plan of the restore.
    type: dict
    required: true
  show:
    description:
      - What to print. V(plan) prints C(facts.plan), V(progress) the last of C(facts.phases), V(recap) the end of the run,
        V(failure) what failed, what is true now and what to type next.
      - Without it nothing is printed.
    type: str
    choices: [plan, progress, recap, failure]
  write:
    description: Whether to write the files into O(report_dir)C(/<run_id>/) and to point C(latest) there.
    type: bool
    default: false
  report_dir:
    description:
      - Folder of all reports on the controller.
      - Defaults to the variable C(letta_report_dir), and to C(./reports) where that is not set.
    type: str
attributes:
  check_mode:
    description: Prints as usual and writes nothing.
    support: full
  diff_mode:
    description: Has nothing to compare with.
    support: none
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Show the plan
  letta_ops.recovery.restore_report:
    facts: "{{ letta_run_facts }}"
    show: plan

- name: Show the recap and write the report
  letta_ops.recovery.restore_report:
    facts: "{{ letta_run_facts }}"
    show: recap
    write: true
"""

RETURN = r"""
report:
  description: The report as written to C(report.json).
  type: dict
  returned: always
lines:
  description: The lines that were printed.
  type: list
  elements: str
  returned: always
paths:
  description:
    - Paths of the files, with the keys C(folder), C(json), C(html), C(junit), C(prometheus), C(latest).
    - Empty when nothing was written.
  type: dict
  returned: always
written:
  description: Whether the files were written.
  type: bool
  returned: always
write_error:
  description: Why the files could not be written.
  type: str
  returned: when they could not
"""

# The work is done by the action plugin of the same name; this file only documents it.
