#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: agent_file
short_description: Export and import an agent as Letta's own agent file, and tell what the format loses
version_added: 0.1.0
description:
  - Exports an agent through the API of a Letta server into an agent file (C(.af)), or imports one into another server or release.
  - The format loses much. At export the file is compared with the live agent, and everything it lacks is counted in RV(lost) and
    listed with ids in a second file beside it, O(dest) with C(.lost.json) at its end.
  - Letta's import always makes a new agent with new ids, and is not transactional. A file that would fail in the middle is refused
    before anything is sent, and what a failed import left behind is told.
  - To bring an agent back into the system it was lost from, with its own id, restore it from a backup set instead.
author:
  - The letta_ops.recovery founders (@letta-ops)
options:
  state:
    description: V(exported) writes O(dest), V(imported) makes agents of O(src).
    type: str
    choices: [exported, imported]
    required: true
  api_url:
    description: Address of the Letta server, such as C(http://127.0.0.1:8283).
    type: str
    required: true
  timeout:
    description: Seconds for one request. An import is one request.
    type: float
    default: 300
  max_size_mb:
    description: A longer file is neither written nor read.
    type: int
    default: 1024
  agent:
    description: For O(state=exported), id or exact name of the agent. A name that several agents have is refused, with their ids.
    type: str
  dest:
    description:
      - For O(state=exported), where to write the file. Its folder must exist. The file gets mode 0600 and takes its place by a rename.
      - It stays as it is when nothing but the time of the export differs.
    type: path
  scrub_messages:
    description: For O(state=exported), leave all messages out. (Letta 0.16.8 ignores its own C(strip_messages) at import.)
    type: bool
    default: false
  src:
    description: For O(state=imported), path of the agent file on the host that the module runs on.
    type: path
  name:
    description:
      - For O(state=imported), name of the agent instead of the one in the file.
      - Of a file with several agents only the first gets it. Letta itself would give it to all of them.
    type: str
  append_copy_suffix:
    description: For O(state=imported), append C(_copy) to the names in the file, as Letta does unless told otherwise.
    type: bool
    default: false
  model:
    description: For O(state=imported), handle of a model that replaces the one in the file.
    type: str
  embedding:
    description: For O(state=imported), handle of an embedding model that replaces the one in the file, for agents and folders.
    type: str
  secrets:
    description: For O(state=imported), values of the agent's secrets by their names. The file has names only.
    type: dict
    default: {}
  override_existing_tools:
    description:
      - For O(state=imported), overwrite tools of the server that have the name of one in the file, for every agent that uses them.
      - Letta does so unless told otherwise, this module does not.
    type: bool
    default: false
  unless_exists:
    description: For O(state=imported), do nothing when an agent of that name exists, since every import makes a new one.
    type: bool
    default: true
  cleanup:
    description:
      - For O(state=imported), remove what a failed import left behind, as far as it is blocks and folders that are new since, look like
        those of the file and are used by no agent. Not for a server that somebody else imports into at the same time.
      - Tools and agents that it left are only told, since the API does not say who uses a tool.
    type: bool
    default: false
extends_documentation_fragment: [letta_ops.recovery.api]
attributes:
  check_mode:
    description:
      - With O(state=exported) the agent is exported and compared, and no file is written.
      - With O(state=imported) the file is read and checked against the server, and nothing is sent but requests that read.
    support: full
  diff_mode:
    description: There is no text to compare, since agent files hold people's messages.
    support: none
"""

EXAMPLES = r"""
- name: Export an agent
  letta_ops.recovery.agent_file:
    state: exported
    api_url: http://letta1:8283
    api_token: "{{ letta_api_token }}"
    agent: support-bot
    dest: /srv/agent-files/support-bot.af
  register: exported

- name: Say what the file lacks
  ansible.builtin.debug:
    msg: "{{ item.count }} {{ item.what }}: {{ item.reason }}"
  loop: "{{ exported.lost }}"
  loop_control:
    label: "{{ item.what }}"

- name: Import it into another server unless it is there
  letta_ops.recovery.agent_file:
    state: imported
    api_url: http://letta2:8283
    api_token: "{{ other_api_token }}"
    src: /srv/agent-files/support-bot.af
    secrets: "{{ support_bot_secrets }}"
    embedding: openai/text-embedding-3-small
    cleanup: true
"""

RETURN = r"""
dest:
  description: The agent file.
  returned: with O(state=exported)
  type: str
lost_file:
  description: The file that lists everything in RV(lost) with all ids, and says which id in the agent file was which on the server.
  returned: with O(state=exported)
  type: str
agent:
  description: Id and name of the exported agent.
  returned: with O(state=exported)
  type: dict
  sample: {"id": "agent-5f0d3f4e-8a4c-4c39-9d8e-7f7e0c9b7a11", "name": "support-bot"}
problems:
  description: Why the file cannot be imported, empty when it can. Each is a warning of the task, too.
  returned: with O(state=exported)
  type: list
  elements: str
sha256:
  description: SHA-256 of the agent file.
  returned: success
  type: str
size:
  description: Bytes of the agent file.
  returned: success
  type: int
revision_id:
  description: Schema revision of the server that wrote the file.
  returned: success
  type: str
  sample: 1c28e167b74f
counts:
  description: How many things of each kind are in the file.
  returned: success
  type: dict
  sample: {"agents": 2, "blocks": 3, "files": 1, "groups": 1, "mcp_servers": 0, "messages": 11, "secrets": 2, "sources": 1, "tools": 13}
lost:
  description: What the agent had and the file does not carry. At import as told by C(.lost.json), empty when O(src) has none of its own.
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: The kind of thing, see docs/agent-file.md.
      type: str
      returned: always
      sample: passages
    agent:
      description: Id of the agent on the server it was exported from, none for the file as a whole.
      type: str
      returned: always
    count:
      description: How many.
      type: int
      returned: always
    reason:
      description: One sentence.
      type: str
      returned: always
    examples:
      description: Up to ten ids, or names where there is no id.
      type: list
      elements: str
      returned: always
not_counted:
  description: What is lost and cannot be counted through the API, as dicts of C(what) and C(reason).
  returned: success
  type: list
  elements: dict
src:
  description: The file.
  returned: with O(state=imported)
  type: str
name:
  description: Name of the imported agent.
  returned: with O(state=imported)
  type: str
existing:
  description: Ids of agents that had this name before.
  returned: with O(state=imported)
  type: list
  elements: str
agent_ids:
  description: Ids of the new agents, in the order of the file; the first is the one that was exported.
  returned: with O(state=imported)
  type: list
  elements: str
id_map:
  description: For each id in the file the new id, of agents, groups, blocks, tools, folders, files and messages that can be matched.
  returned: with O(state=imported)
  type: dict
  sample: {"agent-0": "agent-5f0d3f4e-8a4c-4c39-9d8e-7f7e0c9b7a11"}
origins:
  description: For each id on the server of the export the new id. Empty when O(src) has no C(.lost.json) of its own.
  returned: with O(state=imported)
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import api_argument_spec, run
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.agent_export import export_agent
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.agent_import import ImportOptions, import_agent
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.rest import Rest


def work(module):
    params = module.params
    # Letta takes nothing but text.
    secrets = {name: "" if value is None else str(value) for name, value in params["secrets"].items()}
    rest = Rest(params["api_url"], params["api_token"], params["validate_certs"], params["timeout"], hide=secrets.values())
    limit = params["max_size_mb"] << 20
    if params["state"] == "exported":
        result = export_agent(rest, params["agent"], params["dest"], params["scrub_messages"], limit, module.check_mode)
        for problem in result["problems"]:
            module.warn("this file cannot be imported: %s" % problem)
        return result
    options = ImportOptions(
        src=params["src"],
        name=params["name"] or "",
        append_copy_suffix=params["append_copy_suffix"],
        model=params["model"] or "",
        embedding=params["embedding"] or "",
        secrets=secrets,
        override_existing_tools=params["override_existing_tools"],
        unless_exists=params["unless_exists"],
        cleanup=params["cleanup"],
        limit=limit,
    )
    result = import_agent(rest, options, module.check_mode)
    for warning in result.pop("warnings"):
        module.warn(warning)
    return result


def main():
    module = AnsibleModule(
        argument_spec=api_argument_spec(
            state=dict(type="str", choices=["exported", "imported"], required=True),
            api_url=dict(type="str", required=True),
            timeout=dict(type="float", default=300),
            max_size_mb=dict(type="int", default=1024),
            agent=dict(type="str"),
            dest=dict(type="path"),
            scrub_messages=dict(type="bool", default=False),
            src=dict(type="path"),
            name=dict(type="str"),
            append_copy_suffix=dict(type="bool", default=False),
            model=dict(type="str"),
            embedding=dict(type="str"),
            secrets=dict(type="dict", default={}, no_log=True),
            override_existing_tools=dict(type="bool", default=False),
            unless_exists=dict(type="bool", default=True),
            cleanup=dict(type="bool", default=False),
        ),
        required_if=[("state", "exported", ("agent", "dest")), ("state", "imported", ("src",))],
        supports_check_mode=True,
    )
    run(module, work, needs_database=False)


if __name__ == "__main__":
    main()
