#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: letta_blank
short_description: Make a throw-away copy of a Letta database harmless
version_added: 0.1.0
description:
  - Empties keys of model providers, tokens of MCP servers, secrets of tools and agents, and callback addresses; turns background turns of
    sleeptime agents off; and gives every agent a fake model service in place of its own. In one transaction.
  - Refuses a server whose setting C(letta_ops.rehearsal) is empty, since that may be production's. The throw-away servers of
    M(letta_ops.recovery.rehearsal_stand) have it; on a staging server of your own put C(letta_ops.rehearsal = 'staging') into
    C(postgresql.conf).
options:
  database:
    description: The copy.
    type: str
    required: true
  model_url:
    description: Address of an OpenAI-compatible service, C(http://127.0.0.1:8399/v1), for every agent. Without it one that leads nowhere.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Counts what would be emptied, in a transaction that is rolled back.
  diff_mode:
    support: none
    description: What is emptied is not to be shown.
  platform:
    support: full
    platforms: posix
    description: Hosts with psycopg2.
extends_documentation_fragment:
  - letta_ops.recovery.login
author:
  - The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Take everything out of a staging copy that could reach the world
  letta_ops.recovery.letta_blank:
    login_user: letta
    login_password: "{{ vault_letta_db_password }}"
    database: letta
"""

RETURN = r"""
emptied:
  description: Rows that were changed, by C(table.column); what needed no change is not named.
  returned: always
  type: dict
  sample: {"providers.api_key_enc": 2}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import login_argument_spec, run, server_from_params
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse.blank import blank


def work(module):
    params = module.params
    emptied = blank(server_from_params(params, params["database"]), params["model_url"], module.check_mode)
    return dict(changed=bool(emptied), emptied=emptied)


def main():
    spec = login_argument_spec(database=dict(type="str", required=True), model_url=dict(type="str", default=""))
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
