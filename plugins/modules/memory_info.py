#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: memory_info
short_description: Compare Letta's git-backed memory with the block rows of a database
version_added: 0.1.0
description:
  - Letta keeps the memory of agents with the tag C(git-memory-enabled) in one git repository per agent, and a copy of it in rows of
    C(block). Checks every object of these repositories and compares the files of the newest commit with the rows.
  - Nothing is changed. Configuration, hooks and attributes of a repository are never used; they could run commands.
  - Without C(git) on this host, repositories are found and not checked, and the result says so.
options:
  path:
    description: Folder with the repositories - C(~/.letta), C(~/.letta/memfs), or a copy of either.
    type: path
    required: true
  database:
    description: The Letta database whose rows are compared.
    type: str
    required: true
extends_documentation_fragment:
  - letta_ops.recovery.login
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
- name: Look whether memory and rows agree
  letta_ops.recovery.memory_info:
    path: /root/.letta/memfs
    database: letta
    login_user: letta
    login_password: "{{ letta_db_password }}"
"""

RETURN = r"""
agents:
  description:
    - For each agent with git-backed memory its C(verdict) (V(equal), V(rows_behind), V(differs), V(missing), V(corrupt), V(unchecked)),
      the commit of its C(head), the commit C(rows_at) that the rows are a copy of, and a C(detail). No content.
  type: dict
  returned: success
unused:
  description: Agents of repositories that belong to no agent with git-backed memory.
  type: list
  elements: str
  returned: success
checks:
  description: One check for each verdict that there is, C(memory.<verdict>).
  type: list
  elements: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import login_argument_spec, run, server_from_params
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import memory


def work(module):
    """Compare."""
    params = module.params
    result = memory.compare(server_from_params(params, params["database"]), params["path"])
    return dict(agents=result["agents"], unused=result["unused"], checks=[item.as_dict() for item in result["findings"]])


def main():
    """Run the module."""
    spec = login_argument_spec(path=dict(type="path", required=True), database=dict(type="str", required=True))
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
