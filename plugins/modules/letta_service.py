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
  - Stopped means that the service manager has no process of it left and that nothing answers at O(api_url) any more.
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
      - V(systemd) drives O(unit) through C(systemctl).
      - V(docker) drives O(container), or O(services) of the compose project O(project), through the API of Docker's engine, with the
        Python package C(docker). Compose itself is not needed. Nothing else of a project is stopped or started.
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
  unit:
    description: Unit of systemd; without a suffix it is a service.
    type: str
    default: letta.service
  container:
    description: Name of the one container that is the service.
    type: str
  project:
    description: Compose project, as the label C(com.docker.compose.project) of its containers has it.
    type: str
  services:
    description:
      - Services of O(project) that are Letta's servers. They start in the order that the label C(com.docker.compose.depends_on) asks for,
        when their dependencies are in the condition it asks for, and are stopped in reverse.
      - May be left out where the project has one service only and that does not look like the database or Redis.
    type: list
    elements: str
    default: []
  docker_host:
    description: Address of Docker's engine, such as C(unix:///run/docker.sock). Without it the environment variable E(DOCKER_HOST) decides.
    type: str
  api_url:
    description: Address of this one server (not of a load balancer), such as C(http://127.0.0.1:8283).
    type: str
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
  restart_running:
    description:
      - Whether V(started) stops a server first that is found running, because everybody else's start of it was too early.
      - It needs a O(manager).
    type: bool
    default: false
  redis_host:
    description: Redis of this server. With it RV(redis_source) is told; nothing is sent there.
    type: str
  redis_port:
    description: Port of O(redis_host).
    type: int
    default: 6379
extends_documentation_fragment: [letta_ops.recovery.api]
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

- name: Stop the unit of systemd, and be sure that no process of it is left
  letta_ops.recovery.letta_service:
    state: stopped
    manager: systemd
    unit: letta.service
    api_url: http://127.0.0.1:8283

- name: Start Letta's server of a compose project, when its database is healthy
  letta_ops.recovery.letta_service:
    state: started
    manager: docker
    project: letta
    services: [letta_server]
    api_url: http://127.0.0.1:8283

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
started_at:
  description:
    - When the serving process began, in seconds since the epoch by this host's clock. Of several containers, the first of them.
    - None when nothing runs, and when nobody knows, as with O(manager=command) and O(manager=none).
  returned: success
  type: float
  sample: 1795240001.234
detail:
  description: What the service manager says of the service, for a person. Empty with O(manager=none).
  returned: success
  type: str
  sample: unit letta.service is active (running)
ended_at:
  description: When the task ended, in seconds since the epoch by the controller's clock, to compare with other hosts.
  returned: success, when run by Ansible
  type: float
restarted:
  description: Whether the server was found running and was stopped first, because of O(restart_running).
  returned: success
  type: bool
ran_since:
  description: When the process of such a server had begun, in seconds since the epoch by this host's clock; none when nobody knows.
  returned: success
  type: float
containers:
  description: The containers, in the order they start.
  returned: with O(manager=docker)
  type: list
  elements: str
  sample: [letta-letta_server-1]
image:
  description: Id of the image of all of them; none where they have several.
  returned: with O(manager=docker)
  type: str
  sample: sha256:2f7d1f0a3b1f6d2cbb4e6ed7a0f5f8bb1e3c9ab2f9d1f35c9d1bbcdd11c2e5aa
redis_source:
  description: Where this host reaches O(redis_host) from, for M(letta_ops.recovery.redis_clients_info).
  returned: with O(redis_host)
  type: dict
  contains:
    address:
      description: Own address on the way there, empty when there is no way.
      type: str
      returned: always
    machine:
      description: Names the machine, or container, that the address belongs to.
      type: str
      returned: always
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

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import api_argument_spec, run
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.reach import source_of
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.services import ServiceOptions, ensure_service


def work(module):
    params = module.params
    options = ServiceOptions(
        manager=params["manager"],
        start=params["start_command"],
        stop=params["stop_command"],
        status=params["status_command"],
        unit=params["unit"],
        container=params["container"] or "",
        project=params["project"] or "",
        services=tuple(params["services"]),
        docker_host=params["docker_host"] or "",
        api_url=params["api_url"] or "",
        api_token=params["api_token"] or "",
        start_timeout=params["start_timeout"],
        stop_timeout=params["stop_timeout"],
        health_required=params["health_required"],
        restart_running=params["restart_running"],
        validate_certs=params["validate_certs"],
    )
    result = ensure_service(options, params["state"], check=module.check_mode)
    if params["redis_host"]:
        result["redis_source"] = source_of(params["redis_host"], params["redis_port"])
    return result


def main():
    module = AnsibleModule(
        argument_spec=api_argument_spec(
            state=dict(type="str", choices=["started", "stopped", "status"], default="status"),
            manager=dict(type="str", choices=["none", "command", "systemd", "docker"], default="none"),
            start_command=dict(type="raw"),
            stop_command=dict(type="raw"),
            status_command=dict(type="raw"),
            unit=dict(type="str", default="letta.service"),
            container=dict(type="str"),
            project=dict(type="str"),
            services=dict(type="list", elements="str", default=[]),
            docker_host=dict(type="str"),
            api_url=dict(type="str"),
            start_timeout=dict(type="float", default=180),
            stop_timeout=dict(type="float", default=60),
            health_required=dict(type="bool", default=True),
            restart_running=dict(type="bool", default=False),
            redis_host=dict(type="str"),
            redis_port=dict(type="int", default=6379),
        ),
        supports_check_mode=True,
    )
    run(module, work, needs_database=False)


if __name__ == "__main__":
    main()
