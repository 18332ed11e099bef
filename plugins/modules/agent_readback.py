#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: agent_readback
short_description: Read agents back through a running Letta server, and compile those anew whose blocks were changed
version_added: 0.1.0
description:
  - Reads each agent and its messages as the server gives them to clients; nothing of the answers is kept.
  - The text of memory blocks is compiled into an agent's system message. After blocks were changed in the database, the agents in
    O(recompile) are compiled anew by the server itself.
options:
  api_url:
    description: Address of the server, C(http://host:8283).
    type: str
    required: true
  timeout:
    description: Seconds for one request.
    type: int
    default: 60
  agents:
    description: Ids of agents that must be readable.
    type: list
    elements: str
    default: []
  recompile:
    description: Ids of agents to be compiled anew first.
    type: list
    elements: str
    default: []
  gone:
    description: Ids of agents that must not be there; those of O(agents) among them are not read.
    type: list
    elements: str
    default: []
extends_documentation_fragment: [letta_ops.recovery.api]
attributes:
  check_mode:
    description: Reads, and compiles nothing.
    support: full
  diff_mode:
    description: Has nothing to compare with.
    support: none
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Read an agent back
  letta_ops.recovery.agent_readback:
    api_url: http://letta1:8283
    api_token: "{{ vault_letta_api_token }}"
    agents: [agent-6a0ff4d6-6f9e-4f0c-8d0b-1d4b8a3c2e11]
"""

RETURN = r"""
checks:
  description: Findings C(api.compiled), C(api.read_back) and C(api.gone), each with C(status), C(detail), C(count), C(examples).
  type: list
  elements: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import api_argument_spec, run
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.readback import read_back
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.rest import Rest


def look(module):
    params = module.params
    rest = Rest(params["api_url"], params["api_token"] or "", params["validate_certs"], params["timeout"])
    recompile = [] if module.check_mode else params["recompile"]
    findings = read_back(rest, params["agents"], recompile, params["gone"])
    return {"changed": bool(params["recompile"]), "checks": [item.as_dict() for item in findings]}


def main():
    ids = dict(type="list", elements="str", default=[])
    spec = api_argument_spec(
        api_url=dict(type="str", required=True),
        timeout=dict(type="int", default=60),
        agents=ids,
        recompile=ids,
        gone=ids,
    )
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), look, needs_database=False)


if __name__ == "__main__":
    main()
