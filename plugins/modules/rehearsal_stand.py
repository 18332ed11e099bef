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
  - V(present) makes its folder and its network, and returns the interpreter that runs modules which reach it. V(started), run by that
    interpreter, starts PostgreSQL with pgvector, a Redis-compatible server where there is one, and a fake model service, and makes an empty
    Letta database. V(serving), run by it too, starts Letta on what was restored. V(absent) ends and removes all of it, and what earlier
    rehearsals left.
  - With O(place=embedded) it is made of programs of this host, in a network with nothing but loopback; nothing needs root. Without
    O(isolated) everything runs in the host's own network.
  - With O(place=containers) it is made of containers on an internal network of Docker's, which is closed from inside besides, so that they
    answer this host and begin no connection; nothing is published. Whoever may use Docker's engine may do it.
options:
  place:
    description: What it is made of.
    type: str
    choices: [embedded, containers]
    default: embedded
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
  docker_host:
    description: Address of Docker's engine for O(place=containers). Without it the environment variable E(DOCKER_HOST) decides.
    type: str
    default: ""
  postgres_image:
    description:
      - Image with PostgreSQL and pgvector for O(place=containers), used as the official one is.
      - By digest, by id, or by a tag other than C(latest), like the other images. What is not there is pulled.
    type: str
    default: ""
  redis_image:
    description: Image of Redis or Valkey for O(place=containers). Empty goes without.
    type: str
    default: ""
  letta_image:
    description: Image of the Letta release that runs in production, for O(place=containers). Its Python runs the fake model service, too.
    type: str
    default: ""
  memory:
    description: >-
      Memory limits of the containers C(db), C(redis), C(letta) and C(model), where the usual ones (2g, 512m, 2g and 256m) will not do.
    type: dict
    default: {}
  api_token:
    description: With O(state=serving), the password that Letta shall ask for. Empty means none.
    type: str
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
    description:
      - With O(state=serving), how Letta is started; C(--host) and C(--port) are added.
      - With O(place=containers) the command of the container, as it is. Without it the image's own.
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
    description: The release that Letta must be. Empty means any.
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
    description: Linux with util-linux 2.36 or newer, or with Docker's engine and the Python package docker.
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
  description: The interpreter that runs modules that reach it.
  returned: with O(state=present)
  type: str
backup_root:
  description: An empty folder for journals and fetched sets.
  returned: with O(state=present)
  type: str
volume_root:
  description: An empty folder for the volumes of the set. Nothing that runs in the system is given them.
  returned: with O(state=present)
  type: str
address:
  description: Where it is reached by that interpreter.
  returned: with O(state=present)
  type: str
letta_version:
  description: The release of O(letta_image); empty where that is not known yet.
  returned: with O(state=present)
  type: str
container:
  description: The container that its database will be in; empty for O(place=embedded).
  returned: with O(state=present)
  type: str
alembic_command:
  description: Alembic of O(letta_image), for its migrations; empty for O(place=embedded).
  returned: with O(state=present)
  type: list
  elements: str
postgresql:
  description: Version of its PostgreSQL.
  returned: with O(state=started)
  type: str
redis:
  description: Program or image of its Redis-compatible server; empty where there is none.
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
  description: How many processes or containers were ended.
  returned: with O(state=absent)
  type: int
reaped:
  description: Earlier rehearsals whose folders or containers were removed.
  returned: with O(state=absent)
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import run
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.trust import SCRATCH
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse.containers import ContainerStand
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse.embedded import EmbeddedStand
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse.stand import Letta


def stand_of(params):
    """Return the stand that the options name."""
    where = (params["base"], params["name"] or "", params["ports"])
    if params["place"] == "embedded":
        return EmbeddedStand(*where, params["isolated"], params["bin_dir"] or "")
    images = {part: params[part + "_image"] for part in ("postgres", "redis", "letta")}
    return ContainerStand(*where, params["docker_host"], images, params["memory"], params["isolated"], params["version"])


def work(module):
    params = module.params
    stand = stand_of(params)
    if params["state"] == "absent":
        ended = stand.remove() if params["name"] else None
        reaped = stand.reap(params["lifetime"])
        return dict(changed=ended is not None or bool(reaped), ended=ended or 0, reaped=reaped)
    if params["state"] == "present":
        return dict(changed=True, **stand.make(params["lifetime"]))
    if params["state"] == "started":
        return dict(changed=True, **stand.start({"postgres": params["postgres_password"], "letta": params["letta_password"]}))
    letta = Letta(
        tuple(params["command"]), params["letta_password"], params["api_token"] or "", params["redis"], params["encryption_key"] or "",
        params["environment"], params["version"], params["timeout"],
    )  # fmt: skip
    return dict(changed=True, **stand.serve(letta))


def main():
    spec = dict(
        state=dict(type="str", choices=["present", "started", "serving", "absent"], required=True),
        place=dict(type="str", choices=["embedded", "containers"], default="embedded"),
        base=dict(type="path", default=SCRATCH),
        name=dict(type="str"),
        isolated=dict(type="bool", default=True),
        lifetime=dict(type="int", default=86400),
        docker_host=dict(type="str", default=""),
        postgres_image=dict(type="str", default=""),
        redis_image=dict(type="str", default=""),
        letta_image=dict(type="str", default=""),
        memory=dict(type="dict", default={}),
        bin_dir=dict(type="path"),
        postgres_password=dict(type="str", no_log=True),
        letta_password=dict(type="str", no_log=True),
        api_token=dict(type="str", no_log=True),
        ports=dict(type="dict", default={}),
        redis=dict(type="bool", default=True),
        command=dict(type="list", elements="str", default=[]),
        environment=dict(type="dict", default={}, no_log=True),
        encryption_key=dict(type="str", no_log=True),
        version=dict(type="str", default=""),
        timeout=dict(type="int", default=180),
    )
    needs = [("state", state, ("name",)) for state in ("present", "started", "serving")]
    needs += [("state", "started", ("postgres_password", "letta_password")), ("state", "serving", ("letta_password",))]
    module = AnsibleModule(argument_spec=spec, required_if=needs, supports_check_mode=False)
    if module.params["state"] == "serving" and module.params["place"] == "embedded" and not module.params["command"]:
        module.fail_json(msg="state is serving but all of the following are missing: command")
    run(module, work, needs_database=module.params["state"] == "started")


if __name__ == "__main__":
    main()
