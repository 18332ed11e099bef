#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rehearsal_figures
short_description: How fast a restored Letta answers
version_added: 0.1.0
description:
  - Asks the test queries of a backup set of the restored database, as was done when the set was taken, and a running Letta what people
    and agents ask all day. Tells the median and the 95th percentile of repeated questions.
  - A message is really sent, so that Letta must have been given a fake model service (M(letta_ops.recovery.letta_blank)). Refuses a
    PostgreSQL server whose setting C(letta_ops.rehearsal) is empty.
options:
  database:
    description: The restored database.
    type: str
    required: true
  set_dir:
    description: Folder of the backup set on this host, whose test queries are asked. Without it none.
    type: path
  api_url:
    description: Address of the running Letta. Without it only the database is asked.
    type: str
  api_token:
    description: Server password or API key.
    type: str
  agents:
    description:
      - Ids of agents. The first is asked for messages and searched; the first that waits for no approval is sent a message, of these
        or else of those that the server lists.
    type: list
    elements: str
    default: []
  repeats:
    description: How often each question is asked; one more is not counted.
    type: int
    default: 20
attributes:
  check_mode:
    support: none
    description: Sends messages. Skipped.
  diff_mode:
    support: none
    description: There is nothing to compare.
  platform:
    support: full
    platforms: posix
    description: Hosts with psycopg2.
extends_documentation_fragment:
  - letta_ops.recovery.login
  - letta_ops.recovery.login.trust
author:
  - The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Measure
  letta_ops.recovery.rehearsal_figures:
    login_user: letta
    login_password: "{{ vault_letta_db_password }}"
    database: letta
    api_url: http://127.0.0.1:8283
    agents: [agent-6a0ff4d6-6f9e-4f0c-8d0b-1d4b8a3c2e11]
"""

RETURN = r"""
figures:
  description: For each question C(median_ms), C(p95_ms) and C(count). C(list_agents), C(page_of_messages) and C(vector_search) are the
    database's, and comparable with C(figures) in the set's manifest; the names of Letta's own begin with C(api_).
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    login_argument_spec,
    run,
    server_from_params,
    trust_argument_spec,
    trust_from_params,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse import figures
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.rest import Rest


def work(module):
    params = module.params
    recorded = manifests.load(params["set_dir"], trust_from_params(params)).get("queries") if params["set_dir"] else None
    found = figures.of_database(server_from_params(params, params["database"]), recorded, params["repeats"])
    if params["api_url"]:
        rest = Rest(params["api_url"], params["api_token"] or "", timeout=120)
        found.update(figures.of_server(rest, params["agents"], repeats=params["repeats"]))
    return dict(changed=bool(params["api_url"] and params["agents"]), figures=found)


def main():
    spec = login_argument_spec(
        database=dict(type="str", required=True),
        set_dir=dict(type="path"),
        api_url=dict(type="str"),
        api_token=dict(type="str", no_log=True),
        agents=dict(type="list", elements="str", default=[]),
        repeats=dict(type="int", default=20),
        **trust_argument_spec(),
    )
    run(AnsibleModule(argument_spec=spec, supports_check_mode=False), work)


if __name__ == "__main__":
    main()
