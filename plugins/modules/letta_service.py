#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: letta_service
short_description: Stop or start a Letta server, and prove that it is gone or that it serves
version_added: 0.1.0
description:
  - Stops or starts the Letta server of a host and does not believe it before it is proven.
  - Stopped means that O(status_command) says so and that nothing answers at O(api_url) any more.
  - Started means that C(GET /v1/health/) and the read of an agent both answer 200. A health check alone proves little,
    because a server with a wrong encryption key is healthy and cannot read its agents.
author:
  - The letta_ops.recovery founders (@letta-ops)
options:
  state:
    description:
      - V(started) and V(stopped) bring the service into that state; V(status) only tells.
    type: str
    choices: [started, stopped, status]
    default: status
  manager:
    description:
      - V(none) never changes anything; with O(api_url) the health is still checked (V(started)) or told.
      - V(command) runs O(start_command), O(stop_command) and O(status_command).
      - V(systemd) and V(docker) have no driver in this version and are refused. Use V(command) with C(systemctl) or C(docker).
    type: str
    choices: [none, command, systemd, docker]
    default: none
  start_command:
    description:
      - Command that starts the service, as a list of arguments or as one string, which is split but not given to a shell.
      - It must return once the service is launched.
    type: raw
  stop_command:
    description: Command that stops the service.
    type: raw
  status_command:
    description: Command that exits with 0 while the service runs, and with 1 to 125 when it does not.
    type: raw
  api_url:
    description: Address of this one server (not of a load balancer), such as C(http://127.0.0.1:8283).
    type: str
  api_token:
    description: Server password or API key, sent as a bearer token.
    type: str
  validate_certs:
    description: Whether to check the TLS certificate at O(api_url).
    type: bool
    default: true
  start_timeout:
    description: Seconds within which the server must be healthy.
    type: float
    default: 180
  stop_timeout:
    description: Seconds within which the server must be gone.
    type: float
    default: 60
  health_required:
    description: Whether V(started) fails when the server at O(api_url) is not healthy. Else its health is only told.
    type: bool
    default: true
attributes:
  check_mode:
    description: Runs nothing but O(status_command) and requests that read, and tells whether the state would change.
    support: full
  diff_mode:
    description: There is no text to compare.
    support: none
"""

EXAMPLES = r"""
- name: Stop Letta before the databases change places
  letta_ops.recovery.letta_service:
    state: stopped
    manager: command
    start_command: [systemctl, start, letta]
    stop_command: [systemctl, stop, letta]
    status_command: [systemctl, is-active, --quiet, letta]
    api_url: http://127.0.0.1:8283
    api_token: "{{ letta_api_token }}"

- name: Look whether a server that somebody else manages can read its agents
  letta_ops.recovery.letta_service:
    state: started
    api_url: http://letta1:8283
    api_token: "{{ letta_api_token }}"
    start_timeout: 10
"""

RETURN = r"""
was:
  description: State before, V(running), V(stopped), or V(unknown) when neither a status command nor an address was given.
  returned: success
  type: str
  sample: running
is:
  description: State after.
  returned: success
  type: str
  sample: stopped
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 2.41
told_at:
  description: When the stop or start command was begun, in seconds since the epoch by this host's clock.
  returned: success
  type: float
  sample: 1795240000.123
proven_at:
  description: When the state was proven, in seconds since the epoch by this host's clock.
  returned: success
  type: float
  sample: 1795240002.456
health:
  description: What the server answered; none without O(api_url).
  returned: success
  type: dict
  contains:
    ok:
      description: Whether both requests answered 200.
      type: bool
      returned: always
    health:
      description: HTTP status of the health check, none without an answer.
      type: int
      returned: always
    read:
      description: HTTP status of the read of an agent, none when it was not asked.
      type: int
      returned: always
    detail:
      description: One sentence.
      type: str
      returned: always
    version:
      description: The release that the server says it is, none when it says none.
      type: str
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import run
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.services import ServiceOptions, ensure_service


def work(module):
    params = module.params
    options = ServiceOptions(
        manager=params["manager"],
        start=params["start_command"],
        stop=params["stop_command"],
        status=params["status_command"],
        api_url=params["api_url"] or "",
        api_token=params["api_token"] or "",
        start_timeout=params["start_timeout"],
        stop_timeout=params["stop_timeout"],
        health_required=params["health_required"],
        validate_certs=params["validate_certs"],
    )
    return ensure_service(options, params["state"], check=module.check_mode)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["started", "stopped", "status"], default="status"),
            manager=dict(type="str", choices=["none", "command", "systemd", "docker"], default="none"),
            start_command=dict(type="raw"),
            stop_command=dict(type="raw"),
            status_command=dict(type="raw"),
            api_url=dict(type="str"),
            api_token=dict(type="str", no_log=True),
            validate_certs=dict(type="bool", default=True),
            start_timeout=dict(type="float", default=180),
            stop_timeout=dict(type="float", default=60),
            health_required=dict(type="bool", default=True),
        ),
        supports_check_mode=True,
    )
    run(module, work, needs_database=False)


if __name__ == "__main__":
    main()
