#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: agent_relink
short_description: Give agents that live the connections back that they have lost
version_added: 0.1.0
description:
  - Compares the links of agents with those in a backup set - to blocks, tools, sources, files, archives, identities and groups, their tags,
    and the list of messages that are in context - and adds those that live has lost, where both ends are there.
  - It removes nothing and overwrites no content. What a link leads to and live has no more is listed, with the command that brings it.
  - A backup does not tell a link that was lost from one that was taken away on purpose. Look at the plan first, and name O(links).
  - It is a run like one of M(letta_ops.recovery.agent_restore) - one transaction, an undo that C(rollback.yml) applies, a row lock that
    keeps new work of these agents waiting, agents at work waited for and then refused.
  - With O(source=live) no backup is read - where live says the same thing twice and one side is certain, the other is made to fit.
  - In check mode it makes the plan, and writes nothing but a scratch database for sets of an older schema, which it drops again.
options:
  source:
    description:
      - Out of what links are repaired. V(backup) adds what a set has and live has lost.
      - V(live) repairs lists of groups and their members, names, sources and counts of files, sources of files, tags of passages, and open
        files that do not show what is in them. O(backup_id) and all that concerns sets is not looked at then.
    type: str
    choices: [backup, live]
    default: backup
  agents:
    description:
      - Ids, names or patterns (C(support-*)) of agents, as the set (or live) has them.
      - A name that several agents have is refused, with their ids.
    type: list
    elements: str
    default: []
  agent_tags:
    description: Agents that had all of these tags of Letta.
    type: list
    elements: str
    default: []
  organization:
    description: Id of an organisation, for all its agents; together with O(agents) or O(agent_tags) those of them.
    type: str
    default: ""
  links:
    description:
      - What to repair. Nothing means all. V(passages) and V(views) are of O(source=live) only, which knows V(groups), V(files) and
        V(sources) besides; the others are of O(source=backup).
      - V(messages) is the list of messages in context. A message that exists is put back into its place when it was lost behind one that
        is still in the list; Letta itself drops messages from the front only. A list that was summarised as a whole is left alone.
      - V(files) come back as they were open, up to the number of files that the agent may have open; beyond it they come back closed.
      - V(groups) are memberships; the list inside the group is made to hold them too.
    type: list
    elements: str
    choices: [messages, blocks, tools, sources, files, archives, identities, tags, groups, passages, views]
    default: []
  imported:
    description:
      - Agents of the set, by id, and the agents of live that an agent file of them was imported as. This is what
        M(letta_ops.recovery.agent_file) returns as C(origins); ids of anything but agents are passed over.
      - In one transaction the copies go, and the originals come back out of the set with all that the format loses, under their own ids.
        Messages that were said to the copies go with them. The plan counts them, and rollback.yml brings the copies back.
      - Not together with O(agents), O(agent_tags), O(organization), O(links) or O(source=live).
    type: dict
    default: {}
  embedding_url:
    description:
      - Base of an endpoint that speaks as OpenAI's does (C(https://host/v1)), for O(source=live). Files that have text and no passages are
        cut and embedded through it, with the model that their source names; it has to serve that very model.
      - Without it, and in check mode, such files are only told. The texts of these files are sent there, straight, not through a proxy.
    type: str
    default: ""
  embedding_token:
    description: Bearer token for O(embedding_url).
    type: str
    default: ""
  embedding_batch:
    description: Passages sent at a time.
    type: int
    default: 32
  embedding_timeout:
    description: Seconds for the answer to one batch.
    type: int
    default: 60
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
    description: Tells the rows added and changed, by table and key; never a value.
    support: full
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: What has support-bot lost since the newest backup?
  letta_ops.recovery.agent_relink:
    login_user: letta
    login_password: "{{ vault_letta_db_password }}"
    backup_root: /var/backups/letta
    host: db1
    database: letta
    agents: [support-bot]
  check_mode: true
  diff: true

- name: Give all agents the tools and blocks back that they had last night
  letta_ops.recovery.agent_relink:
    login_user: letta
    login_password: "{{ vault_letta_db_password }}"
    backup_root: /var/backups/letta
    host: db1
    database: letta
    agents: ["*"]
    links: [tools, blocks]
  register: relinked

- name: Show what does not fit within the live database itself
  letta_ops.recovery.agent_relink:
    login_user: letta
    login_password: "{{ vault_letta_db_password }}"
    backup_root: /var/backups/letta
    host: db1
    database: letta
    source: live
    agents: ["*"]
  check_mode: true
  diff: true

- name: Let the copies that an agent file was imported as give way to the agents of the set
  letta_ops.recovery.agent_relink:
    login_user: letta
    login_password: "{{ vault_letta_db_password }}"
    backup_root: /var/backups/letta
    host: db1
    database: letta
    imported: "{{ imported.origins }}"

- name: Compile the system messages of agents anew whose blocks are linked again
  letta_ops.recovery.agent_readback:
    api_url: http://letta1:8283
    agents: "{{ relinked.touched.agents }}"
    recompile: "{{ relinked.touched.recompile }}"
  when: relinked.touched is defined
"""

RETURN = r"""
run:
  description:
    - The run - C(run_id), C(run_dir) (empty when nothing is to be done, and in check mode), C(backup), C(target), C(plan).
    - C(plan) holds C(hash), C(rows), C(tables), C(entities), C(agents), C(mapped), C(notes), C(undo), and in C(missing) what links lead to
      and live has no more - C(kind), C(id), C(name), C(wanted_by) (ids), C(count) for messages, and C(bring), the command.
    - With O(imported) C(plan.replaced) names the copies that give way - C(id), C(name) -, and C(plan.loses) what goes with them.
    - With O(source=live) C(plan.mended) names every row that did not fit - C(reason), C(table), C(id), C(agent). C(plan.notes) says what
      the reasons mean.
  type: dict
  returned: when a plan was made
applied:
  description: C(tables) (name, rows_expected, rows_restored, digest, explanation), C(held_seconds) for which new work waited, C(replanned).
  type: dict
  returned: when links were repaired
touched:
  description: Ids of C(agents) that were asked for, and in C(recompile) of those whose system message lacks a block that they have again.
  type: dict
  returned: when links were repaired
ending:
  description: How the run ended - C(status), C(undo).
  type: dict
  returned: when links were repaired
report:
  description: The facts of the run in the words of report.json.
  type: dict
  returned: always
peak_memory_bytes:
  description: Peak memory of the module's own Python process.
  type: int
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible import partial
from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.choice import run_options
from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    choice_argument_spec,
    login_argument_spec,
    progress_argument_spec,
    run,
    trust_argument_spec,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import linking
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial import begin, mend
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial.selection import LINKS, Selection
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.embeddings import Embeddings


def _of_imported(module):
    p = module.params
    imported = {old: new for old, new in p["imported"].items() if old.startswith("agent-")}
    others = [name for name in ("agents", "agent_tags", "organization", "links") if p[name]] + ["source=live"] * (p["source"] == "live")
    if others or not imported:
        what = "imported goes alone, without %s" % ", ".join(others) if others else "no agent is in imported"
        raise RecoveryError(
            "usage", what, now="nothing was read or changed", next_step="imported: {id in the backup: id of the copy}, of agents"
        )
    wanted = Selection(scopes=("agents",), agents=tuple(imported))
    return begin.PartialOptions(run_options(module), wanted, imported=imported, **partial.conduct(p))


def act(module):
    p = module.params
    kinds = mend.KINDS if p["source"] == "live" else linking.KINDS
    unknown = sorted(set(p["links"]) - set(kinds))
    if unknown:
        raise RecoveryError(
            "usage", "links %s cannot be repaired out of %s" % (", ".join(unknown), p["source"]), now="nothing was read or changed",
            next_step="out of it can: %s" % ", ".join(kinds),
        )  # fmt: skip
    if p["imported"]:
        return partial.everything(module, _of_imported(module))
    wanted = Selection(scopes=(LINKS,), agents=tuple(p["agents"]), tags=tuple(p["agent_tags"]), organization=p["organization"])
    embed = None
    if p["embedding_url"]:
        embed = Embeddings(p["embedding_url"], p["embedding_token"], p["embedding_batch"], p["embedding_timeout"])
    options = begin.PartialOptions(
        run_options(module), wanted, links=tuple(p["links"]), live=p["source"] == "live", embed=embed, **partial.conduct(p)
    )
    return partial.everything(module, options)


def main():
    names = dict(type="list", elements="str", default=[])
    spec = login_argument_spec(
        agents=names,
        agent_tags=names,
        organization=dict(type="str", default=""),
        links=dict(names, choices=list(dict.fromkeys([*linking.KINDS, *mend.KINDS]))),
        imported=dict(type="dict", default={}),
        source=dict(type="str", choices=["backup", "live"], default="backup"),
        embedding_url=dict(type="str", default=""),
        embedding_token=dict(type="str", default="", no_log=True),
        embedding_batch=dict(type="int", default=32),
        embedding_timeout=dict(type="int", default=60),
        **choice_argument_spec(),
        **trust_argument_spec(),
        **partial.conduct_argument_spec(),
    )
    spec.update(progress_argument_spec())
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), act)


if __name__ == "__main__":
    main()
