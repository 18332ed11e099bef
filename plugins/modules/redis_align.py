#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: redis_align
short_description: Drop Letta's keys in Redis, and nobody else's
version_added: 0.1.0
description:
  - Locks, streams, run ids and caches in Redis speak of the database that was live when they were written. After a restore they are
    wrong, and nothing in Redis has to be restored.
  - Drops the keys whose whole shape is Letta's. Keys of other applications stay, on a shared Redis too.
  - Walks the database with C(SCAN) and drops with C(UNLINK), both in bounded batches.
  - Letta's servers should be stopped meanwhile. A conversation that is being answered would lose its lock.
options:
  agents:
    description:
      - With any of O(agents), O(conversations) and O(runs) only their keys are dropped - the last run and the locks of these agents,
        locks of these conversations, streams of these runs and request tokens that name one of them.
    type: list
    elements: str
    default: []
  conversations:
    description: Ids of conversations, see O(agents).
    type: list
    elements: str
    default: []
  runs:
    description: Ids of runs, see O(agents).
    type: list
    elements: str
    default: []
extends_documentation_fragment: [letta_ops.recovery.redis]
attributes:
  check_mode:
    description: Counts what would be dropped.
    support: full
  diff_mode:
    description: Keys are counted and not named.
    support: none
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Drop Letta's keys before the servers start on the restored database
  letta_ops.recovery.redis_align:
    redis_host: 127.0.0.1
    redis_password: "{{ letta_redis_password }}"

- name: Drop the keys of one agent and its conversation
  letta_ops.recovery.redis_align:
    redis_host: 127.0.0.1
    agents: [agent-6a0ff4d6-6f9e-4f0c-8d0b-1d4b8a3c2e11]
    conversations: [conv-0b6f3c0e-8f5c-4d8e-9f6e-7f0a3f0c9d22]
"""

RETURN = r"""
address:
  description: What was aligned, as C(host:port/database).
  type: str
  returned: success
  sample: 127.0.0.1:6379/0
dropped:
  description: Number of keys dropped, or that would be.
  type: int
  returned: success
  sample: 12
kept:
  description: Number of keys in the database afterwards.
  type: int
  returned: success
  sample: 340
classes:
  description: The same for each class - V(run_map), V(lock), V(stream), V(cache) and V(foreign), each with C(dropped) and C(kept).
  type: dict
  returned: success
  sample: {"lock": {"dropped": 2, "kept": 0}, "foreign": {"dropped": 0, "kept": 340}}
client_id:
  description: Id of the connection that did it. Connections made later have higher ones.
  type: int
  returned: success
  sample: 4711
seconds:
  description: How long it took.
  type: float
  returned: success
  sample: 0.012
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    redis_argument_spec,
    redis_from_params,
    require_redis,
    run,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta.redis_keys import Only
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime import redis as aligning


def work(module):
    params = module.params
    require_redis(module, aligning.REDIS_IMPORT_ERROR)
    server = redis_from_params(params, database=params["redis_database"], timeout=params["redis_timeout"])
    only = Only(*(frozenset(params[name]) for name in ("agents", "conversations", "runs")))
    return aligning.align(server, only, check=module.check_mode)


def main():
    spec = redis_argument_spec(
        redis_host=dict(type="str", required=True),
        redis_database=dict(type="int", default=0),
        redis_timeout=dict(type="float", default=5),
        agents=dict(type="list", elements="str", default=[]),
        conversations=dict(type="list", elements="str", default=[]),
        runs=dict(type="list", elements="str", default=[]),
    )
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), work, needs_database=False)


if __name__ == "__main__":
    main()
