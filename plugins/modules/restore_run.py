#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: restore_run
short_description: Begin, note, finish or fail a run of a full restore or of its rollback
version_added: 0.1.0
description:
  - Keeps the run that strings the other modules together - its lock, its journal on the database host, its plan, and its end.
  - V(begun) looks at the server, puts right what an interrupted run left, chooses and checks a set, makes the plan and opens the
    journal. In check mode it does the same without writing anything.
  - V(failed) puts the old database back when it was exchanged already, opens it when it was closed, and tells what is true now.
options:
  state:
    description: What to do with the run.
    type: str
    choices: [begun, noted, finished, failed]
    required: true
  operation:
    description: Whether it is a restore or the taking back of one.
    type: str
    choices: [restore, rollback]
    default: restore
  mode:
    description: Beside the live database and exchanged, or in its place after a safety dump.
    type: str
    choices: [swap, in_place]
    default: swap
  letta_version:
    description: The release that will run after the restore. Defaults to the one in O(running), else to the live database's.
    type: str
  image:
    description: Container image that the servers will run, by digest. One named by a tag is refused.
    type: str
  running:
    description: For each server of Letta the release it says it runs now, empty when it does not answer.
    type: dict
    default: {}
  alembic_command:
    description:
      - Alembic of the release that will run (see M(letta_ops.recovery.alembic_upgrade)). With it a set of an older schema can be chosen,
        and the plan proves that the command is of the release planned.
    type: raw
  alembic_directory:
    description: Folder to run O(alembic_command) in.
    type: path
  encryption_key:
    description: Letta's encryption key. It is compared with the set's fingerprint and tried on the encrypted values in the archive.
    type: str
  new_encryption_key:
    description: The key that every secret is brought under in phase migrate (see M(letta_ops.recovery.letta_rekey)).
    type: str
  service_manager:
    description: How Letta's servers are stopped and started, for the plan.
    type: str
    default: none
  servers:
    description: Names of Letta's servers, for the plan.
    type: list
    elements: str
    default: []
  store_hosts:
    description: Hosts of group C(letta_store); the plan warns when sets are expected elsewhere than on this host.
    type: list
    elements: str
    default: []
  run_tags:
    description: C(ansible_run_tags); a selection that would skip a needed phase is refused.
    type: list
    elements: str
    default: [all]
  skip_tags:
    description: C(ansible_skip_tags).
    type: list
    elements: str
    default: []
  force:
    description: Restore even when the live database is proven to be the set already.
    type: bool
    default: false
  restore_id:
    description: The run to take back, or V(latest).
    type: str
    default: latest
  run_dir:
    description: Folder of the run's journal, for every state but V(begun).
    type: path
  notes:
    description: Phases that are over, each with C(name), C(status), C(seconds), C(detail) and C(checks), for V(noted) and V(finished).
    type: list
    elements: dict
    default: []
  services:
    description: V(stopping) before the servers are stopped, V(started) when they are up again.
    type: str
    choices: [stopping, started]
  service_results:
    description: With O(services=started), what M(letta_ops.recovery.letta_service) returned for each server, for the downtime.
    type: list
    elements: dict
    default: []
  redis:
    description:
      - Where Redis is, and what the tasks that looked at it, aligned it and looked for Letta's servers in it returned, for plan and report.
      - Empty where Letta runs without Redis.
    type: dict
    default: {}
  volumes:
    description:
      - What C(letta_volumes) names, each with C(name), C(path) and C(host), for the plan. Those on O(host) are looked at.
    type: list
    elements: dict
    default: []
  volume_results:
    description: What M(letta_ops.recovery.letta_volume) returned as RV(letta_ops.recovery.letta_volume#module:volume), for the report.
    type: list
    elements: dict
    default: []
  memory_checks:
    description: What M(letta_ops.recovery.memory_info) returned as RV(letta_ops.recovery.memory_info#module:checks), for the report.
    type: list
    elements: dict
    default: []
  reconcile:
    description: What phase reconcile will do, for the plan - V(apply) closes work that was under way, V(report) only counts it.
    type: str
    choices: [apply, report]
    default: apply
  failure:
    description: Result of the task that failed, for V(failed).
    type: dict
  playbook:
    description: Name of the playbook, for the report.
    type: str
    default: restore-full.yml
  recipients:
    description: Age recipients of the safety set of O(mode=in_place). O(identity) must open what is encrypted for them.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - letta_ops.recovery.login
  - letta_ops.recovery.choice
  - letta_ops.recovery.login.trust
  - letta_ops.recovery.login.progress
attributes:
  check_mode:
    description: Makes the plan and writes nothing.
    support: full
  diff_mode:
    description: Has nothing to compare with.
    support: none
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Make the plan of a restore
  letta_ops.recovery.restore_run:
    state: begun
    backup_root: /var/backups/letta
    host: db1
    database: letta
  check_mode: true
"""

RETURN = r"""
run:
  description: What was begun - C(run_id), C(run_dir), C(plan), C(phases), C(names), C(set_dir), C(staged), C(swapped), C(services_stopped).
  type: dict
  returned: when O(state=begun)
report:
  description: The facts of the run in the words of report.json.
  type: dict
  returned: when the run ended or only a plan was made
downtime_seconds:
  description: The downtime as far as it is known by now.
  type: float
  returned: when O(state=noted)
ending:
  description: How the run ended - C(status), C(now), C(next_step), C(services_stopped), C(downtime_seconds), C(undo).
  type: dict
  returned: when O(state=finished) or O(state=failed)
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.choice import run_options
from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    choice_argument_spec,
    failure_of_result,
    login_argument_spec,
    progress_argument_spec,
    progress_from_params,
    run,
    server_from_params,
    trust_argument_spec,
    trust_from_params,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.trust import Seal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import (
    cutover,
    endings,
    facts,
    in_place,
    phasenotes,
    phases,
    redisnotes,
    rollback,
    runs,
    volumenotes,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal


def _options(module):
    p = module.params
    return run_options(
        module,
        phases=phases.selected_phases(p["run_tags"], p["skip_tags"]),
        mode=p["mode"],
        letta_version=p["letta_version"] or "",
        image=p["image"] or "",
        running=p["running"],
        new_encryption_key=p["new_encryption_key"] or "",
        service_manager=p["service_manager"],
        stops=tuple(p["servers"]),
        store_hosts=tuple(p["store_hosts"]),
        force=p["force"],
        seal=Seal(recipients=tuple(p["recipients"]), scratch_dir=p["scratch_dir"]),
        redis=p["redis"],
        volumes=None if "volumes" in p["skip_tags"] else volumenotes.of_inventory(p["volumes"], p["host"]),
        reconcile=p["reconcile"],
    )


def begin(module):
    params, options = module.params, _options(module)
    server = server_from_params(params, params["login_db"] or "postgres")
    taking_back = params["operation"] == "rollback"
    progress = progress_from_params(params)
    begun = rollback.begin(server, options, params["restore_id"]) if taking_back else runs.begin(server, options, progress)
    result = {"run": begun, "changed": False}
    if not begun["run_dir"] or module.check_mode:
        result["report"] = facts.of_plan(begun, params["playbook"])
    return result


def note(module, journal):
    params = module.params
    if params["services"]:
        endings.note_services(journal, params["services"] == "stopping", params["service_results"])
    if params["operation"] == "restore" and {item["name"] for item in params["notes"]} & {"cutover", "verify"}:
        cutover.check_revision(server_from_params(params, params["login_db"] or "postgres"), journal)
    redisnotes.note(journal, params["redis"])
    volumenotes.note(journal, params["volume_results"], params["memory_checks"])
    for item in params["notes"]:
        extra = {key: value for key, value in item.items() if key not in ("name", "status", "seconds", "detail")}
        phasenotes.note_phase(journal, item["name"], item.get("status", "ok"), item.get("seconds"), item.get("detail", ""), **extra)
    return {"changed": False, "downtime_seconds": endings.downtime(journal)}


def finish(module, journal):
    params = module.params
    note(module, journal)
    server = server_from_params(params, params["login_db"] or "postgres")
    if params["operation"] == "rollback":
        ending = rollback.finish(server, params["backup_root"], journal)
    else:
        ending = endings.finish(server, params["backup_root"], journal, phases.selected_phases(params["run_tags"], params["skip_tags"]))
    return {"changed": False, "ending": ending, "report": _report(params, journal, ending)}


def _report(params, journal, ending, failure=None):
    if params["operation"] == "rollback":
        return facts.of_rollback(journal, journal.data.get("rollback_plan"), ending, params["playbook"], failure)
    return facts.of_run(journal, ending, params["playbook"], failure)


def fail(module, journal):
    params = module.params
    failure = failure_of_result(params["failure"] or {})
    journal.may_stay_unwritten = True
    note(module, journal)
    server = server_from_params(params, params["login_db"] or "postgres")

    def restore_safety(of_run):
        return in_place.bring_back(server, params["backup_root"], of_run, params["bin_dir"] or "", trust=trust_from_params(params))

    try:
        if params["operation"] == "rollback":
            ending = rollback.fail(server, params["backup_root"], journal, failure)
        else:
            ending = endings.fail(server, params["backup_root"], journal, failure, restore_safety)
    except RecoveryError as exc:
        ending = endings.not_put_right(journal, exc)
    return {"changed": True, "ending": ending, "report": _report(params, journal, ending, failure)}


def act(module):
    params = module.params
    if params["state"] == "begun":
        return begin(module)
    if not params["run_dir"]:
        if params["state"] == "failed":  # refused before there was a journal
            failure = failure_of_result(params["failure"] or {})
            ending = dict(failure, status="failed", services_stopped=False, downtime_seconds=None)
            report = facts.of_refusal(failure, params["playbook"], params["host"], params["database"])
            return {"changed": False, "ending": ending, "report": report}
        raise RecoveryError("usage", "state %s needs run_dir" % params["state"], next_step="pass run.run_dir of the begun run")
    if module.check_mode:
        return {"changed": False}
    journal = Journal.load(params["run_dir"])
    return {"noted": note, "finished": finish, "failed": fail}[params["state"]](module, journal)


def main():
    spec = login_argument_spec(
        state=dict(type="str", choices=["begun", "noted", "finished", "failed"], required=True),
        operation=dict(type="str", choices=["restore", "rollback"], default="restore"),
        mode=dict(type="str", choices=["swap", "in_place"], default="swap"),
        letta_version=dict(type="str"),
        image=dict(type="str"),
        running=dict(type="dict", default={}),
        alembic_command=dict(type="raw"),
        alembic_directory=dict(type="path"),
        encryption_key=dict(type="str", no_log=True),
        new_encryption_key=dict(type="str", no_log=True),
        service_manager=dict(type="str", default="none"),
        servers=dict(type="list", elements="str", default=[]),
        store_hosts=dict(type="list", elements="str", default=[]),
        run_tags=dict(type="list", elements="str", default=["all"]),
        skip_tags=dict(type="list", elements="str", default=[]),
        force=dict(type="bool", default=False),
        restore_id=dict(type="str", default="latest"),
        run_dir=dict(type="path"),
        notes=dict(type="list", elements="dict", default=[]),
        services=dict(type="str", choices=["stopping", "started"]),
        service_results=dict(type="list", elements="dict", default=[]),
        redis=dict(type="dict", default={}),
        volumes=dict(type="list", elements="dict", default=[]),
        volume_results=dict(type="list", elements="dict", default=[]),
        memory_checks=dict(type="list", elements="dict", default=[]),
        reconcile=dict(type="str", choices=["apply", "report"], default="apply"),
        failure=dict(type="dict"),
        playbook=dict(type="str", default="restore-full.yml"),
        recipients=dict(type="list", elements="str", default=[]),
        **choice_argument_spec(),
        **trust_argument_spec(),
    )
    spec.update(progress_argument_spec())
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), act)


if __name__ == "__main__":
    main()
