#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: run_reconcile
short_description: Close work in a Letta database that no server will finish
version_added: 0.1.0
description:
  - Finds runs, steps, jobs, batches and files that say they are under way, contexts of agents and conversations that lost messages or
    hold tool calls without a return, and background turns of sleeptime agents that were interrupted.
  - Closes them in the words that Letta itself uses, in one transaction. What is consistent is not touched, no message is deleted, and no
    callback URL is called.
  - A live system may be reconciled too. Then only what nothing happened at for O(idle) seconds is closed, and the rest is named in
    RV(alive). When an agent begins to work meanwhile, nothing is written.
options:
  database:
    description: The database. Without it the one of the login options.
    type: str
  mode:
    description: V(report) changes nothing and says what would be done. V(apply) does it.
    type: str
    choices: [report, apply]
    default: report
  idle:
    description:
      - Seconds for which nothing may have happened at an agent, a job or a file that is closed. Batches of a provider get a day.
      - V(0) where no server works on the database, as on a side database.
    type: int
    default: 900
  approvals:
    description:
      - Requests for approval that wait. V(keep) leaves them, they can still be answered. V(deny) denies them as Letta does when their run
        is cancelled.
    type: str
    choices: [keep, deny]
    default: keep
  undo_dir:
    description: Folder of this host for the file that takes the changes back. Without it, and without O(run_dir), there is none.
    type: path
  undo:
    description:
      - Path of such a file. Every row it names is brought back to what it was, unless one of them was changed since; then none is.
      - The other options but those of the login are ignored then.
    type: path
  jobs:
    description: Connections for the proof, within a run. V(0) means one per core of this host.
    type: int
    default: 0
  set_dir:
    description: Within a run, folder of the backup set, whose manifest tells what the tables held.
    type: path
  run_dir:
    description: Folder with the journal of the restore that this is a phase of (see M(letta_ops.recovery.restore_run)).
    type: path
  host:
    description: Name of the host, as RV(report) shows it. Without it the one of the login options.
    type: str
extends_documentation_fragment:
  - letta_ops.recovery.login
  - letta_ops.recovery.login.progress
attributes:
  check_mode:
    description: Says what would be done and does nothing.
    support: full
  diff_mode:
    description: What changes is in RV(reconciled).
    support: none
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Say what of a live system's work nobody will finish
  letta_ops.recovery.run_reconcile:
    login_host: db1
    login_user: letta
    login_password: "{{ letta_db_password }}"
    database: letta

- name: Close it
  letta_ops.recovery.run_reconcile:
    login_host: db1
    login_user: letta
    login_password: "{{ letta_db_password }}"
    database: letta
    mode: apply
    undo_dir: /var/backups/letta/.reconciled
"""

RETURN = r"""
applied:
  description: Whether anything was written.
  type: bool
  returned: always
reconciled:
  description: Every change that was made, or would be made.
  type: list
  elements: dict
  returned: always
  contains:
    entity:
      description: What it is.
      type: str
      returned: always
      sample: run
    id:
      description: Its id.
      type: str
      returned: always
    action:
      description: What was done.
      type: str
      returned: always
      sample: closed as cancelled (was running)
    reason:
      description: Why.
      type: str
      returned: always
waiting:
  description: Agents and conversations that wait for an approval, each with C(entity), C(id) and C(reason).
  type: list
  elements: dict
  returned: always
alive:
  description: What was left because something happened at it lately.
  type: list
  elements: dict
  returned: always
left:
  description: What cannot be put right here.
  type: list
  elements: dict
  returned: always
checks:
  description: What the checks concerned say afterwards, where anything was written.
  type: list
  elements: dict
  returned: always
summary:
  description: The changes in one sentence.
  type: str
  returned: always
  sample: "runs: 3 reconciled; steps: 2 reconciled"
undo_file:
  description: File that takes the changes back, empty when there is none.
  type: str
  returned: always
report:
  description: The facts of it for M(letta_ops.recovery.restore_report).
  type: dict
  returned: when O(undo) is not given
undone:
  description: For each table how many rows were brought back.
  type: dict
  returned: when O(undo) is given
seconds:
  description: How long it took.
  type: float
  returned: always
"""

import os
import time
import uuid

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    login_argument_spec,
    progress_argument_spec,
    progress_from_params,
    run,
    server_from_params,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.reconcile import account, engine
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.reconcile.changes import APPLY, Options, Plan
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.reconcile.phase import reconcile_side


def work(module):
    params = module.params
    server, apply = server_from_params(params, params["database"]), params["mode"] == APPLY
    if params["undo"]:
        return take_back(module, server)
    options, progress = Options(params["idle"], params["approvals"]), progress_from_params(params)
    doing = apply and not module.check_mode
    if params["run_dir"] and not module.check_mode:
        saved = manifests.load(params["set_dir"])["tables"] if params["set_dir"] else {}
        journal = Journal.load(params["run_dir"])
        result = reconcile_side(server, options, doing, journal, saved, params["jobs"] or os.cpu_count() or 1, progress)
    else:
        result = engine.reconcile(server, options, doing, new_undo_file(params["undo_dir"]), progress)
    plan = result["plan"]
    checks = result["findings"] if "findings" in result else engine.check_again(server) if result["applied"] else []
    return dict(
        answer(plan, result["seconds"]),
        report=account.facts_of(result, params["host"] or server.host, server.dbname, doing, checks),
        changed=result["applied"] or (apply and module.check_mode and bool(plan.changes)),
        applied=result["applied"],
        checks=[finding.as_dict() for finding in checks],
        summary=account.told(plan, doing),
        undo_file=result["undo_file"],
    )


def answer(plan, seconds):
    return dict(
        applied=False, reconciled=[change.as_dict() for change in plan.changes], waiting=plan.waiting, alive=plan.alive, left=plan.left,
        checks=[], summary="", undo_file="", seconds=seconds,
    )  # fmt: skip


def new_undo_file(folder):
    if not folder:
        return ""
    return os.path.join(folder, "reconcile-%s-%s.jsonl" % (time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), uuid.uuid4().hex[:6]))


def take_back(module, server):
    began = time.monotonic()
    undone = engine.undo(server, module.params["undo"], check=module.check_mode)
    words = "; ".join("%s: %d" % item for item in sorted(undone.items()))
    return dict(answer(Plan(), round(time.monotonic() - began, 3)), changed=bool(undone), undone=undone, summary="brought back: %s" % words)


def main():
    spec = login_argument_spec(
        database=dict(type="str"),
        mode=dict(type="str", choices=["report", "apply"], default="report"),
        idle=dict(type="int", default=900),
        approvals=dict(type="str", choices=["keep", "deny"], default="keep"),
        undo_dir=dict(type="path"),
        undo=dict(type="path"),
        jobs=dict(type="int", default=0),
        set_dir=dict(type="path"),
        run_dir=dict(type="path"),
        host=dict(type="str"),
    )
    spec.update(progress_argument_spec())
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
