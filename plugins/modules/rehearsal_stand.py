#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rehearsal_stand
short_description: A throw-away Letta system on this host, in a network of its own
version_added: 0.1.0
description:
  - V(present) makes its folder and its network, in which there is nothing but loopback, and returns the interpreter that runs modules
    inside. V(started), run by that interpreter, starts PostgreSQL with pgvector, a Redis-compatible server where the host has one, and a
    fake model service, and makes an empty Letta database. V(serving), run by it too, starts Letta on what was restored. V(absent) ends
    and removes all of it, and what earlier rehearsals left.
  - Nothing needs root. Without O(isolated) everything runs in the host's own network.
options:
  state:
    description: What to do.
    type: str
    choices: [present, started, serving, absent]
    required: true
  base:
    description: Folder in which the system's own is made, C(letta_rehearsal_<name>). Nothing else in it is ever touched.
    type: path
    default: /var/tmp
  name:
    description: Name of the system, the rehearsal's id with a number behind it. With O(state=absent) and no name, only leftovers go.
    type: str
  isolated:
    description: Give it a network of its own.
    type: bool
    default: true
  lifetime:
    description: Seconds after which the network ends by itself, and the folder counts as left over.
    type: int
    default: 86400
  bin_dir:
    description: Folder of PostgreSQL's server programs. Without it the newest that has pgvector.
    type: path
  postgres_password:
    description: Password of the superuser C(postgres).
    type: str
  letta_password:
    description: Password of the role C(letta).
    type: str
  ports:
    description: Ports of C(postgres), C(redis), C(model) and C(letta) on loopback, where the usual ones will not do.
    type: dict
    default: {}
  redis:
    description: With O(state=serving), whether there is a Redis.
    type: bool
    default: true
  command:
    description: With O(state=serving), how Letta is started; C(--host) and C(--port) are added.
    type: list
    elements: str
    default: []
  environment:
    description: Settings for it besides those that lead to this system.
    type: dict
    default: {}
  encryption_key:
    description: LETTA_ENCRYPTION_KEY for it.
    type: str
  version:
    description: The release that it must be. Empty means any.
    type: str
    default: ""
  timeout:
    description: Seconds within which it must be healthy and read an agent.
    type: int
    default: 180
attributes:
  check_mode:
    support: none
    description: It starts and ends programs, all of them throw-away. Skipped.
  diff_mode:
    support: none
    description: There is nothing to compare.
  platform:
    support: full
    platforms: posix
    description: Linux with util-linux 2.36 or newer.
author:
  - The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Make a system
  letta_ops.recovery.rehearsal_stand:
    state: present
    name: rh-20261121T213000Z-4f2a9c-1
  register: stand

- name: Start its servers
  letta_ops.recovery.rehearsal_stand:
    state: started
    name: rh-20261121T213000Z-4f2a9c-1
    postgres_password: "{{ vault_postgres_password }}"
    letta_password: "{{ vault_letta_password }}"
  vars:
    ansible_python_interpreter: "{{ stand.python }}"
"""

RETURN = r"""
path:
  description: Its folder.
  returned: with O(state=present)
  type: str
python:
  description: The interpreter that runs modules inside.
  returned: with O(state=present)
  type: str
backup_root:
  description: An empty folder for journals and fetched sets.
  returned: with O(state=present)
  type: str
postgresql:
  description: Version of its PostgreSQL.
  returned: with O(state=started)
  type: str
redis:
  description: Program of its Redis-compatible server; empty where the host has none.
  returned: with O(state=started)
  type: str
url:
  description: Address of the Letta that serves, inside.
  returned: with O(state=serving)
  type: str
version:
  description: The release that it says it is.
  returned: with O(state=serving)
  type: str
seconds:
  description: How long it took to serve.
  returned: with O(state=serving)
  type: float
ended:
  description: How many processes were ended.
  returned: with O(state=absent)
  type: int
reaped:
  description: Folders of earlier rehearsals that were removed.
  returned: with O(state=absent)
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import run
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.trust import SCRATCH
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse import folder, serving, stand


def work(module):
    params = module.params
    if params["state"] == "absent":
        ended = folder.remove(folder.path_of(params["base"], params["name"])) if params["name"] else None
        reaped = folder.reap(params["base"], params["lifetime"])
        return dict(changed=ended is not None or bool(reaped), ended=ended or 0, reaped=reaped)
    if params["state"] == "present":
        return dict(changed=True, **stand.make(params["base"], params["name"], params["isolated"], params["lifetime"]))
    path, ports = folder.path_of(params["base"], params["name"]), {**stand.PORTS, **params["ports"]}
    if params["state"] == "started":
        passwords = {"postgres": params["postgres_password"], "letta": params["letta_password"]}
        return dict(changed=True, **stand.start(path, passwords, ports, params["bin_dir"] or ""))
    env = serving.environment(path, ports, params["letta_password"], params["redis"], params["encryption_key"], params["environment"])
    return dict(changed=True, **serving.serve(path, params["command"], env, ports["letta"], params["timeout"], params["version"]))


def main():
    spec = dict(
        state=dict(type="str", choices=["present", "started", "serving", "absent"], required=True),
        base=dict(type="path", default=SCRATCH),
        name=dict(type="str"),
        isolated=dict(type="bool", default=True),
        lifetime=dict(type="int", default=86400),
        bin_dir=dict(type="path"),
        postgres_password=dict(type="str", no_log=True),
        letta_password=dict(type="str", no_log=True),
        ports=dict(type="dict", default={}),
        redis=dict(type="bool", default=True),
        command=dict(type="list", elements="str", default=[]),
        environment=dict(type="dict", default={}, no_log=True),
        encryption_key=dict(type="str", no_log=True),
        version=dict(type="str", default=""),
        timeout=dict(type="int", default=180),
    )
    needs = [("state", state, ("name",)) for state in ("present", "started", "serving")]
    needs += [("state", "started", ("postgres_password", "letta_password")), ("state", "serving", ("letta_password", "command"))]
    module = AnsibleModule(argument_spec=spec, required_if=needs, supports_check_mode=False)
    run(module, work, needs_database=module.params["state"] == "started")


if __name__ == "__main__":
    main()
