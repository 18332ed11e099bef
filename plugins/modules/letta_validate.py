#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: letta_validate
short_description: Check a Letta database, read-only unless told to repair
version_added: 0.1.0
description:
  - Looks for what breaks a Letta server or an agent of it, in a live database or a side one, in seven steps. These are the schema
    version, the integrity of tables, the state of agents, the formats of ids, the relations of agents, files and sources, the tools
    and models that agents name, and test queries whose answers a backup set recorded.
  - Changes nothing unless O(repair=safe).
  - Structural checks concern the database as a whole. They look at the schema revision, constraints, indexes, what the role sees,
    the sequence of messages and the width of vectors.
  - Data checks concern single rows, such as an agent whose context names messages that are gone, or work left unfinished.
    They also fail on a faithful copy of a database that had the same fault.
author:
  - The letta_ops.recovery founders (@letta-ops)
extends_documentation_fragment:
  - letta_ops.recovery.login
  - letta_ops.recovery.login.progress
options:
  database:
    description: Database to check. Without it the one of the login options.
    type: str
  expected_revision:
    description: Alembic revision that the release needs. Without it any revision known to the collection passes.
    type: str
  role:
    description: Role that Letta logs in as, which must see the tables. Without it the role of the login options.
    type: str
  set_dir:
    description:
      - Folder of the backup set that the database was restored from. Its manifest has the test queries and their answers.
      - Without it, and with sets that have none (adopted ones, or those of early versions), the queries are not asked.
    type: path
  run_dir:
    description: Folder of the run's journal, which then records how the validation went. Without it nothing is recorded.
    type: path
  repair:
    description:
      - V(report) changes nothing. V(safe) repairs what can be repaired without touching a row of Letta's. These are a sequence behind
        its column, an invalid index, a constraint that was not validated, and a lost C(search_path) of the database.
      - Each repair runs in a transaction of its own and gives up when it waits 10 seconds for a lock.
    type: str
    choices: [report, safe]
    default: report
  fail_on:
    description:
      - Which failed checks fail the task. V(structure) for those that concern the database as a whole, V(all) for any, V(never) for none.
      - Warnings never fail it.
    type: str
    choices: [structure, all, never]
    default: structure
attributes:
  check_mode:
    description: With O(repair=safe) it says which repairs it would do and does none.
    support: full
  diff_mode:
    description: What a repair changes is in RV(repairs).
    support: none
"""

EXAMPLES = r"""
- name: Check a side database before it takes the place of the live one
  letta_ops.recovery.letta_validate:
    login_host: db1
    login_user: postgres
    login_password: "{{ letta_db_admin_password }}"
    database: letta__restore_r7f3c
    expected_revision: 1c28e167b74f
    role: letta
    set_dir: /srv/letta-backups/lb-20261121T033000Z-4f2a9c

- name: Mend the sequence of messages and invalid indexes of a live database
  letta_ops.recovery.letta_validate:
    login_host: db1
    login_user: letta
    login_password: "{{ letta_db_password }}"
    database: letta
    repair: safe
    fail_on: all
"""

RETURN = r"""
status:
  description: The worst status of all checks.
  returned: always
  type: str
  sample: pass
checks:
  description: Every check, in the order of the steps.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: Name of the check.
      type: str
      returned: always
      sample: sequence.message_seq_id
    status:
      description: V(pass), V(warn) or V(fail).
      type: str
      returned: always
    detail:
      description: One sentence.
      type: str
      returned: always
    count:
      description: Number of offending rows.
      type: int
      returned: always
    examples:
      description: Up to ten ids of offending rows, never values.
      type: list
      elements: str
      returned: always
    step:
      description: The step that the check belongs to, one of RV(steps).
      type: str
      returned: always
      sample: integrity
    structural:
      description: Whether the check concerns the database as a whole.
      type: bool
      returned: always
steps:
  description: The seven steps, in order, with how many of their checks came out how.
  returned: always
  type: list
  elements: dict
  sample: [{"id": "schema", "name": "schema version", "pass": 2, "warn": 0, "fail": 0}]
repairs:
  description: What was repaired, or would be in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    check:
      description: The check that found it.
      type: str
      returned: always
    what:
      description: What was done.
      type: str
      returned: always
      sample: move message_seq_id forward to 4711
    was:
      description: What it was before.
      type: str
      returned: always
    done:
      description: Whether it was done.
      type: bool
      returned: always
    error:
      description: Why it could not be done, empty when it could.
      type: str
      returned: always
seconds:
  description: How long it took.
  returned: always
  type: float
  sample: 0.41
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    failure,
    login_argument_spec,
    progress_argument_spec,
    progress_from_params,
    run,
    server_from_params,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.findings import FAIL, PASS, WARN, worst
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import phasenotes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.checks.base import STEPS
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.checks.registry import step_of
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.repair import SAFE
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate import (
    is_structural,
    repair_database,
    validate_database,
)


def work(module):
    params = module.params
    began = time.monotonic()
    server = server_from_params(params, params["database"])
    queries = manifests.load(params["set_dir"]).get("queries") if params["set_dir"] else None
    findings = validate_database(
        server, params["expected_revision"], params["role"], progress_from_params(params), queries, params["bin_dir"]
    )
    repairs = []
    if params["repair"] == SAFE:
        findings, repairs = repair_database(server, findings, params["role"], module.check_mode)
    result = dict(
        changed=any(repair["done"] or (module.check_mode and not repair["error"]) for repair in repairs),
        status=worst(findings),
        checks=[dict(finding.as_dict(), structural=is_structural(finding.id), step=step_of(finding.id)) for finding in findings],
        steps=summary(findings),
        repairs=repairs,
        seconds=round(time.monotonic() - began, 2),
    )
    blocking = [f for f in findings if f.status == FAIL and (params["fail_on"] == "all" or is_structural(f.id))]
    if blocking and params["fail_on"] != "never":
        module.fail_json(**dict(failure(unfit(server, blocking, repairs), params), **result))
    if params["run_dir"] and not module.check_mode:
        journal, checks = Journal.load(params["run_dir"]), result["checks"]
        phasenotes.note_phase(journal, "validate", phasenotes.OK, result["seconds"], "%d checks" % len(checks), checks=checks)
    return result


def summary(findings):
    counted = {step: {PASS: 0, WARN: 0, FAIL: 0} for step in STEPS}
    for finding in findings:
        counted[step_of(finding.id)][finding.status] += 1
    return [dict(counts, id=step, name=STEPS[step]) for step, counts in counted.items()]


def unfit(server, findings, repairs):
    lines = ["%s: %s (%s)" % (f.id, f.detail, ", ".join(str(example) for example in f.examples[:3])) for f in findings]
    done = ["%s (it was %s)" % (repair["what"], repair["was"]) for repair in repairs if repair["done"]]
    return RecoveryError(
        "verify_failed",
        "%d checks failed on %s: %s" % (len(findings), server, "; ".join(lines)),
        now="repaired: %s; nothing else was changed" % "; ".join(done) if done else "nothing was changed; the checks only read",
        next_step="repair what the checks name (docs/validation.md), or choose another backup set, and check again",
    )


def main():
    module = AnsibleModule(
        argument_spec=login_argument_spec(
            database=dict(type="str"),
            expected_revision=dict(type="str"),
            role=dict(type="str"),
            set_dir=dict(type="path"),
            run_dir=dict(type="path"),
            repair=dict(type="str", choices=["report", "safe"], default="report"),
            fail_on=dict(type="str", choices=["structure", "all", "never"], default="structure"),
            **progress_argument_spec(),
        ),
        supports_check_mode=True,
    )
    run(module, work)


if __name__ == "__main__":
    main()
