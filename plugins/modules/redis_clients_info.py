#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: redis_clients_info
short_description: Tell which of Letta's servers really use Redis
version_added: 0.1.0
description:
  - A Letta server that cannot reach Redis when it first needs it goes on without, until it is started again, and says so only in its log.
  - Looks for connections from each server in Redis' own list of clients. A server that cannot be told apart from others counts as not
    proven.
options:
  servers:
    description:
      - For each server of Letta what M(letta_ops.recovery.letta_service) returned there as C(redis_source) - the address it reaches
        Redis from, and the machine it is on. Empty where that is not known.
    type: dict
    default: {}
  since:
    description: Count only connections made after this one, RV(letta_ops.recovery.redis_align#module:client_id) of before the start.
    type: int
    default: 0
extends_documentation_fragment: [letta_ops.recovery.redis]
attributes:
  check_mode:
    description: Never changes anything.
    support: full
  diff_mode:
    description: Never changes anything.
    support: none
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Look whether both servers use Redis
  letta_ops.recovery.redis_clients_info:
    redis_host: 192.0.2.31
    servers:
      letta1: {address: 192.0.2.11, machine: ""}
      letta2: {address: 192.0.2.12, machine: ""}
"""

RETURN = r"""
address:
  description: What was looked at, as C(host:port/database).
  type: str
  returned: success
  sample: 192.0.2.31:6379/0
clients:
  description: Number of connections to the database for each address.
  type: dict
  returned: success
  sample: {"192.0.2.11": 3}
servers:
  description: One entry for each server.
  type: list
  elements: dict
  returned: success
  contains:
    server:
      description: Its name.
      type: str
      returned: always
    proven:
      description: Whether it is proven to use Redis.
      type: bool
      returned: always
    detail:
      description: What was seen, or why that proves nothing.
      type: str
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    redis_argument_spec,
    redis_from_params,
    require_redis,
    run,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime import redis as aligning
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime import redisuse


def work(module):
    params = module.params
    require_redis(module, aligning.REDIS_IMPORT_ERROR)
    server = redis_from_params(params, database=params["redis_database"], timeout=params["redis_timeout"])
    return redisuse.uses(server, params["servers"], params["since"])


def main():
    spec = redis_argument_spec(
        redis_host=dict(type="str", required=True),
        redis_database=dict(type="int", default=0),
        redis_timeout=dict(type="float", default=5),
        servers=dict(type="dict", default={}),
        since=dict(type="int", default=0),
    )
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), work, needs_database=False)


if __name__ == "__main__":
    main()
