#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rehearsal
short_description: Choose the backup sets of a rehearsal, and keep what it found
version_added: 0.1.0
description:
  - V(begun) looks at the stores and chooses sets by policy; it changes nothing.
  - V(fetched) copies the one set in O(policies) out of a remote store to C(.fetched) in O(backup_root).
  - V(recorded) adds a line for each rehearsed set to C(.rehearsals/history.jsonl) in O(backup_root), from which plans take their expected
    times, and returns the lines of earlier rehearsals.
  - The play around it is the playbook C(rehearse.yml).
options:
  state:
    description: What to do.
    type: str
    choices: [begun, fetched, recorded]
    required: true
  backup_root:
    description: Folder of the backup sets on this host.
    type: path
    required: true
  stores:
    description: Where sets are looked for, in this order, as in M(letta_ops.recovery.restore_run).
    type: list
    elements: str
    default: []
  rclone_config:
    description: Configuration file of rclone on this host. Without it rclone's own default.
    type: path
  store_timeout:
    description: Seconds without a byte after which a store counts as silent.
    type: int
    default: 300
  policies:
    description:
      - V(latest) and V(oldest) take the newest and the oldest set, V(revisions) the newest of each schema revision, V(random) one that no
        other policy chose. Ids of sets are taken as well.
      - A set that cannot be used is chosen like any other, since finding that out is what a rehearsal is for.
    type: list
    elements: str
    default: [latest]
  seed:
    description: Of the random choices; the same seed chooses the same again. Without it the rehearsal's id.
    type: str
  agents:
    description: How many agents of each set are chosen to be restored one by one.
    type: int
    default: 3
  records:
    description: With O(state=recorded), what was found, as C(docs/rehearsal.md) describes it.
    type: list
    elements: dict
    default: []
  target:
    description: With O(state=recorded), the system that the sets are of; earlier lines of others are not returned.
    type: str
attributes:
  check_mode:
    support: full
    description: Chooses as without it, and records nothing.
  diff_mode:
    support: none
    description: There is nothing to compare.
  platform:
    support: full
    platforms: posix
    description: The host that holds the sets.
extends_documentation_fragment:
  - letta_ops.recovery.login.trust
author:
  - The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Choose what to rehearse
  letta_ops.recovery.rehearsal:
    state: begun
    backup_root: /var/backups/letta
    policies: [latest, oldest, revisions]
  register: rehearsal
"""

RETURN = r"""
id:
  description: Id of the rehearsal.
  returned: with O(state=begun)
  type: str
  sample: rh-20261121T213000Z-4f2a9c
seed:
  description: Of its random choices.
  returned: with O(state=begun)
  type: str
sets:
  description: The chosen sets, newest first, each with C(id), C(policies), C(path), C(at_hand), C(taken_at), C(size_bytes), C(agents),
    and, where it cannot be used, C(problem).
  returned: with O(state=begun)
  type: list
  elements: dict
silent:
  description: Stores that could not be read, and why.
  returned: with O(state=begun)
  type: dict
path:
  description: Folder of the set that was fetched.
  returned: with O(state=fetched)
  type: str
history:
  description: Lines of this and of earlier rehearsals of O(target), oldest first.
  returned: with O(state=recorded)
  type: list
  elements: dict
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import run, trust_argument_spec, trust_from_params
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import rehearsals
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.manifest import new_id
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse import sets


def work(module):
    params, root = module.params, module.params["backup_root"]
    places = (params["stores"] or [root], root, params["rclone_config"] or "", params["store_timeout"])
    if params["state"] == "begun":
        name = new_id(datetime.now(timezone.utc), "rh")
        seed = params["seed"] or name
        chosen, silent = sets.choose(places, params["policies"], seed, params["agents"], trust_from_params(params))
        return dict(id=name, seed=seed, sets=chosen, silent=silent)
    if params["state"] == "fetched":
        return dict(changed=True, path=sets.fetch(places, params["policies"][0], trust_from_params(params)))
    if not module.check_mode:
        for record in params["records"]:
            rehearsals.append(params["backup_root"], record)
    history, damaged = rehearsals.read(params["backup_root"], params["target"])
    if damaged:
        module.warn("%d lines of %s/.rehearsals/history.jsonl cannot be read" % (damaged, params["backup_root"]))
    return dict(changed=bool(params["records"]), history=history)


def main():
    spec = dict(
        state=dict(type="str", choices=["begun", "fetched", "recorded"], required=True),
        backup_root=dict(type="path", required=True),
        stores=dict(type="list", elements="str", default=[]),
        rclone_config=dict(type="path"),
        store_timeout=dict(type="int", default=300),
        policies=dict(type="list", elements="str", default=["latest"]),
        seed=dict(type="str"),
        agents=dict(type="int", default=3),
        records=dict(type="list", elements="dict", default=[]),
        target=dict(type="str"),
        **trust_argument_spec(),
    )
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), work, needs_database=False)


if __name__ == "__main__":
    main()
