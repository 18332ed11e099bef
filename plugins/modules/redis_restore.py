#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: redis_restore
short_description: Exchange the file that a stopped Redis reads for that of a backup set, and back
version_added: 0.1.0
description:
  - Letta needs nothing of what Redis held. This is for a Redis whose other contents are wanted back too (C(letta_redis_restore=full)).
    Letta's own keys are dropped afterwards by M(letta_ops.recovery.redis_align), or old locks and run ids would come back with the rest.
  - Works on the host of Redis, on its files. Redis is stopped and started by others, O(state=inspected) comes while it runs.
  - What Redis reads when it starts is its snapshot, or with C(appendonly yes) its append-only file. Of the latter the file of the set
    becomes the first part.
  - What was there is kept beside it, under C(.before-<run id>), until O(keep_previous) is over.
options:
  state:
    description:
      - V(inspected) asks a running Redis where its files are.
      - V(placed) puts O(src) in place while it is stopped. Done already it changes nothing.
      - V(loaded) waits until a Redis that was started has read its file.
      - V(back) undoes V(placed), however far that came, while it is stopped.
    type: str
    choices: [inspected, placed, loaded, back]
    required: true
  data:
    description: What RV(data) of O(state=inspected) was; for V(placed) and V(back).
    type: dict
    default: {}
  data_dir:
    description: The folder of its files as this host sees it, where that is another than Redis says, as with containers.
    type: path
  src:
    description: Snapshot (RDB) or append-only file on this host, for V(placed).
    type: path
  run_id:
    description: The run that exchanges, for V(placed) and V(back).
    type: str
  keep_previous:
    description: Seconds after which what earlier runs set aside is removed, with V(placed).
    type: int
    default: 604800
  redis_timeout:
    description: Seconds for connecting and for each answer.
    type: float
    default: 5
  load_timeout:
    description: Seconds for V(loaded).
    type: float
    default: 120
extends_documentation_fragment: [letta_ops.recovery.redis]
attributes:
  check_mode:
    description: Looks only.
    support: full
  diff_mode:
    description: There is no text to compare.
    support: none
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Ask Redis where its files are
  letta_ops.recovery.redis_restore:
    state: inspected
    redis_host: 127.0.0.1
  register: files

- name: Stop Redis
  ansible.builtin.systemd_service:
    name: redis-server
    state: stopped

- name: Put the snapshot of the set in place
  letta_ops.recovery.redis_restore:
    state: placed
    redis_host: 127.0.0.1
    data: "{{ files.data }}"
    src: /var/backups/letta/lb-20261120T020000Z-4f2a9c/redis/dump.rdb
    run_id: r-7f3c
"""

RETURN = r"""
data:
  description: Where its files are - C(dir), C(name), C(parts), C(version), C(keys).
  type: dict
  returned: with O(state=inspected)
path:
  description: What Redis reads when it starts.
  type: str
  returned: with V(placed) and V(back)
before:
  description: Where what was there lies now, empty where nothing was.
  type: str
  returned: with V(placed) and V(back)
keys:
  description: Number of keys in the database.
  type: int
  returned: with V(loaded)
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    redis_argument_spec,
    redis_from_params,
    require_redis,
    run,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime import redis as aligning
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime import redisfiles


def work(module):
    p = module.params
    require_redis(module, aligning.REDIS_IMPORT_ERROR)
    server = redis_from_params(p, database=p["redis_database"], timeout=p["redis_timeout"])
    if p["state"] == "inspected":
        data = redisfiles.inspect(server)
        return {"data": dict(data, dir=p["data_dir"] or data["dir"])}
    if p["state"] == "loaded":
        return {"keys": redisfiles.wait_until_loaded(server, p["load_timeout"])}
    if module.check_mode:
        return {"changed": True}
    if p["state"] == "back":
        return redisfiles.put_back(server, p["data"], p["run_id"])
    redisfiles.sweep(p["data"], p["keep_previous"])
    return redisfiles.place(server, p["data"], p["src"], p["run_id"])


def main():
    spec = redis_argument_spec(
        redis_host=dict(type="str", required=True),
        redis_database=dict(type="int", default=0),
        redis_timeout=dict(type="float", default=5),
        load_timeout=dict(type="float", default=120),
        state=dict(type="str", choices=["inspected", "placed", "loaded", "back"], required=True),
        data=dict(type="dict", default={}),
        data_dir=dict(type="path"),
        src=dict(type="path"),
        run_id=dict(type="str"),
        keep_previous=dict(type="int", default=604800),
    )
    needs = [("state", "placed", ("data", "src", "run_id")), ("state", "back", ("data", "run_id"))]
    run(AnsibleModule(argument_spec=spec, required_if=needs, supports_check_mode=True), work, needs_database=False)


if __name__ == "__main__":
    main()
