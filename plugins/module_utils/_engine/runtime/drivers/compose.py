# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What compose writes on its containers, and what follows from it: which belong to a service, in what order they start. Pure."""
from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
ONE_OFF = "com.docker.compose.oneoff"
DEPENDS_ON = "com.docker.compose.depends_on"
STARTED, HEALTHY, COMPLETED = "service_started", "service_healthy", "service_completed_successfully"
_DATA_IMAGES = ("postgres", "pgvector", "redis", "valkey")
_DATA_PORTS = ("5432/tcp", "6379/tcp")
_LETTA_PORT = "8283/tcp"


def labels(container):
    """Return the labels of an inspected container."""
    return container["Config"].get("Labels") or {}


def name_of(container):
    """Return the name of an inspected container."""
    return container["Name"].lstrip("/")


def service_of(container):
    """Return the name of a container's service, or an empty text."""
    return labels(container).get(SERVICE, "")


def is_one_off(container):
    """Tell whether it was made by ``compose run``: no part of the running project."""
    return labels(container).get(ONE_OFF, "").lower() == "true"


def depends_on(container):
    """Return {service: condition} of a container's label, which reads ``db:service_healthy:false,redis:service_started:true``."""
    found = {}
    for entry in labels(container).get(DEPENDS_ON, "").split(","):
        service, _colon, rest = entry.strip().partition(":")
        if service:
            found[service] = rest.partition(":")[0] or STARTED
    return found


def in_start_order(containers):
    """Return the containers of a project so that those others depend on come first; else by name."""
    containers = sorted(containers, key=name_of)
    graph = {}
    for container in containers:
        graph.setdefault(service_of(container), set()).update(depends_on(container))
    try:
        rank = {service: number for number, service in enumerate(TopologicalSorter(graph).static_order())}
    except CycleError:  # compose itself refuses such a project
        return containers
    return sorted(containers, key=lambda container: rank[service_of(container)])


def lacking(condition, container):
    """Return why a dependency does not fulfil a condition, or an empty text.

    :param condition: of :func:`depends_on`. :param container: the dependency, inspected.
    """
    state = container["State"]
    health = (state.get("Health") or {}).get("Status", "none")
    if condition == COMPLETED:
        fulfilled = state["Status"] == "exited" and state["ExitCode"] == 0
    elif condition == HEALTHY:
        if health == "none" and state["Running"]:
            return "has no health check"
        fulfilled = health == "healthy" and state["Running"]
    else:
        fulfilled = state["Running"] and not state.get("Restarting") and not state.get("Paused")
    return "" if fulfilled else "is %s" % phrase(container)


def phrase(container):
    """Return in what state a container is: ``running (healthy)``, ``exited (137)``."""
    state = container["State"]
    health = (state.get("Health") or {}).get("Status", "none")
    if state["Status"] in ("exited", "restarting"):
        return "%s (%d)" % (state["Status"], state["ExitCode"])
    return "%s (%s)" % (state["Status"], health) if state["Status"] == "running" and health != "none" else state["Status"]


def keeps_data(container):
    """Tell whether a container looks like the database or Redis: by its image's name, or by what it publishes besides Letta's port."""
    image = container["Config"].get("Image", "").partition("@")[0].rpartition("/")[2].partition(":")[0]
    published = container.get("HostConfig", {}).get("PortBindings") or {}
    ours = _LETTA_PORT in published or _LETTA_PORT in (container["Config"].get("ExposedPorts") or {})
    return any(word in image for word in _DATA_IMAGES) or (not ours and any(port in published for port in _DATA_PORTS))


def holds_own_database(container):
    """Tell whether it is Letta's all-in-one image running its own PostgreSQL, as that does without ``LETTA_PG_URI``."""
    ports = container["Config"].get("ExposedPorts") or {}
    known = {entry.partition("=")[0] for entry in container["Config"].get("Env") or ()}
    return _LETTA_PORT in ports and "5432/tcp" in ports and "LETTA_PG_URI" not in known
