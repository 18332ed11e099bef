#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: agent_restore
short_description: Bring single agents, sources, files, blocks, archives or messages back into a running Letta, with their own ids
version_added: 0.1.0
description:
  - Streams the wanted rows out of a backup set's archive, which is never loaded, compares them with the live database, and writes the
    difference in one transaction with original ids. Before that it writes down what was, so that the run can be taken back.
  - A row lock on each agent keeps new work of it waiting for that moment; an agent that is at work is waited for, then refused.
  - In check mode it makes the plan, and writes nothing but a scratch database for sets of an older schema, which it drops again.
  - V(present) does everything at once. The other states are its parts, for a playbook that shows the plan and asks in between.
options:
  state:
    description:
      - V(planned) locks the target, cuts the slice and makes the plan. V(applied) carries the plan of O(run_dir) out.
      - V(finished) and V(failed) end that run. V(found) tells whether O(restore_id) is a partial restore.
    type: str
    choices: [present, planned, applied, finished, failed, found]
    default: present
  scopes:
    description: What to bring back. Nothing means what the selection names; with agents named, V(blocks) means the blocks of these agents.
    type: list
    elements: str
    choices: [agents, sources, files, blocks, messages, archives]
    default: []
  agents:
    description: Ids, names or patterns (C(support-*)) of agents. A name that several agents have is refused, with their ids.
    type: list
    elements: str
    default: []
  agent_tags:
    description: Agents that have all of these tags of Letta.
    type: list
    elements: str
    default: []
  organization:
    description: Id of an organisation, for all its agents; together with O(agents) or O(agent_tags) those of them.
    type: str
    default: ""
  sources:
    description: Ids, names or patterns of sources (folders).
    type: list
    elements: str
    default: []
  files:
    description: Ids, names or patterns of files.
    type: list
    elements: str
    default: []
  blocks:
    description: Ids, labels or patterns of memory blocks.
    type: list
    elements: str
    default: []
  archives:
    description: Ids, names or patterns of archives.
    type: list
    elements: str
    default: []
  shared_policy:
    description:
      - What becomes of a thing that differs and that others use too. V(keep) leaves live's, V(overwrite) makes it what was saved for all
        of them, V(copy) gives these agents a copy under a new id (blocks, archives and sources; other kinds are kept).
      - What is named in O(sources), O(files), O(blocks) or O(archives) is written whatever this says.
    type: str
    choices: [keep, overwrite, copy]
    default: keep
  messages_policy:
    description:
      - V(backup) brings exactly the saved messages back, newer ones go. V(merge) keeps newer ones when they continue the saved ones, and
        refuses otherwise.
    type: str
    choices: [backup, merge]
    default: backup
  traces:
    description: Bring back what models were sent and answered too (C(provider_traces)); large.
    type: bool
    default: false
  blank:
    description:
      - Once everything is proven, and in the same transaction, make the whole database harmless as M(letta_ops.recovery.letta_blank)
        does. For throw-away copies that servers run on; refused where the PostgreSQL server is not marked by C(letta_ops.rehearsal).
    type: bool
    default: false
  blank_model_url:
    description: With O(blank=true), the address of an OpenAI-compatible service for every agent. Without it one that leads nowhere.
    type: str
    default: ""
  why:
    description: Rows (C(messages message-…), C(tools_agents agent-…/tool-…)) of which the plan tells how they belong to what was asked for.
    type: list
    elements: str
    default: []
  run_dir:
    description: Folder of the run's journal, for V(applied), V(finished) and V(failed).
    type: path
  restore_id:
    description: Take this partial restore back, instead of bringing something out of a set.
    type: str
    default: ""
  checks:
    description: Findings of tasks that looked at the result, for V(finished).
    type: list
    elements: dict
    default: []
  redis:
    description: What M(letta_ops.recovery.redis_align) returned, for V(finished).
    type: dict
    default: {}
  failure:
    description: Result of the task that failed, for V(failed).
    type: dict
  playbook:
    description: Name of the playbook, for the report.
    type: str
    default: restore-partial.yml
extends_documentation_fragment:
  - letta_ops.recovery.login
  - letta_ops.recovery.choice
  - letta_ops.recovery.conduct
  - letta_ops.recovery.login.trust
  - letta_ops.recovery.login.progress
attributes:
  check_mode:
    description: Makes the plan and leaves nothing behind.
    support: full
  diff_mode:
    description: Tells the rows added, changed and removed, by table and key; never a value.
    support: full
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: What would it take to bring support-bot back?
  letta_ops.recovery.agent_restore:
    login_user: letta
    login_password: "{{ vault_letta_db_password }}"
    backup_root: /var/backups/letta
    host: db1
    database: letta
    agents: [support-bot]
  check_mode: true
  diff: true

- name: Bring every agent with the tag billing back, and keep what was said since
  letta_ops.recovery.agent_restore:
    login_user: letta
    login_password: "{{ vault_letta_db_password }}"
    backup_root: /var/backups/letta
    host: db1
    database: letta
    agent_tags: [billing]
    messages_policy: merge
"""

RETURN = r"""
run:
  description:
    - The run - C(run_id), C(run_dir) (empty when nothing is to be done, and in check mode), C(backup), C(target), C(plan).
    - C(plan) holds C(hash), C(rows), C(tables), C(entities), C(agents), C(shared), C(mapped), C(loses), C(notes) and C(undo).
  type: dict
  returned: when a plan was made
applied:
  description: C(tables) (name, rows_expected, rows_restored, digest, explanation), C(held_seconds) for which new work waited, C(replanned).
  type: dict
  returned: when the plan was carried out
touched:
  description: Ids of C(agents), C(conversations) and C(runs) that were brought back, and of agents to be compiled anew in C(recompile).
  type: dict
  returned: when the plan was carried out
ending:
  description: How the run ended - C(status), C(now), C(next_step), C(undo).
  type: dict
  returned: when it ended
report:
  description: The facts of the run in the words of report.json.
  type: dict
  returned: when the run ended or only a plan was made
partial:
  description: Whether the run is a partial restore.
  type: bool
  returned: with O(state=found)
peak_memory_bytes:
  description: Peak memory of the module's own Python process.
  type: int
  returned: when a plan was made or carried out
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible import partial
from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.choice import run_options
from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    choice_argument_spec,
    failure_of_result,
    login_argument_spec,
    progress_argument_spec,
    run,
    trust_argument_spec,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial import begin, ending, facts, undo
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial.plan import Policies
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial.selection import Selection
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse import blank
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import facts as full_facts
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal

_LISTS = ("scopes", "agents", "sources", "files", "blocks", "archives")


def _options(module):
    p = module.params
    return begin.PartialOptions(
        run_options(module),
        Selection(**{name: tuple(p[name]) for name in _LISTS}, tags=tuple(p["agent_tags"]), organization=p["organization"]),
        Policies(p["shared_policy"], p["messages_policy"]),
        traces=p["traces"],
        **partial.conduct(p),
        why=tuple(p["why"]),
        last=(lambda cursor, server: blank.empty(cursor, server, p["blank_model_url"])) if p["blank"] else None,
    )


def plan(module):
    return partial.plan(module, _options(module))


def apply(module, journal):
    return partial.apply(module, _options(module), journal)


def fail(module):
    params = module.params
    failure = failure_of_result(params["failure"] or {})
    if not params["run_dir"]:
        return {"report": full_facts.of_refusal(failure, params["playbook"], params["host"], params["database"])}
    if module.check_mode:
        return {"changed": False}
    journal = Journal.load(params["run_dir"])
    end = ending.fail(partial.server(module), params["backup_root"], journal, failure)
    return {"changed": True, "ending": end, "report": facts.of_run(journal, end, params["playbook"], failure)}


def act(module):
    params = module.params
    if params["state"] == "found":
        return {"partial": undo.find(params["backup_root"], params["restore_id"]) is not None}
    if params["state"] in ("applied", "finished") and not params["run_dir"]:
        raise RecoveryError("usage", "state %s needs run_dir" % params["state"], next_step="pass run.run_dir of the planned run")
    if params["state"] == "applied":
        return apply(module, Journal.load(params["run_dir"]))
    if params["state"] == "finished":
        return partial.finish(module, Journal.load(params["run_dir"]))
    if params["state"] == "present":
        return partial.everything(module, _options(module))
    return {"planned": plan, "failed": fail}[params["state"]](module)


def main():
    names = dict(type="list", elements="str", default=[])
    spec = login_argument_spec(
        state=dict(type="str", choices=["present", "planned", "applied", "finished", "failed", "found"], default="present"),
        scopes=dict(names, choices=["agents", "sources", "files", "blocks", "messages", "archives"]),
        agents=names,
        agent_tags=names,
        organization=dict(type="str", default=""),
        sources=names,
        files=names,
        blocks=names,
        archives=names,
        shared_policy=dict(type="str", choices=["keep", "overwrite", "copy"], default="keep"),
        messages_policy=dict(type="str", choices=["backup", "merge"], default="backup"),
        traces=dict(type="bool", default=False),
        blank=dict(type="bool", default=False),
        blank_model_url=dict(type="str", default=""),
        why=names,
        run_dir=dict(type="path"),
        restore_id=dict(type="str", default=""),
        checks=dict(type="list", elements="dict", default=[]),
        redis=dict(type="dict", default={}),
        failure=dict(type="dict"),
        playbook=dict(type="str", default="restore-partial.yml"),
        **choice_argument_spec(),
        **trust_argument_spec(),
        **partial.conduct_argument_spec(),
    )
    spec.update(progress_argument_spec())
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), act)


if __name__ == "__main__":
    main()
