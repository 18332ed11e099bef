# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service that is one container, or some services of a compose project, through the API of Docker's engine: no compose is needed."""
from __future__ import annotations

import re
import time

from ...errors import RecoveryError
from ...postgres.process import scrub
from ..commands import KEPT_OUTPUT
from . import compose
from .base import Driver, Look, NotStarted, Told, refused, seconds_left
from .docker_engine import Engine

LOG_LINES = 60
ENGINES_OWN_GRACE = 10
KILLED = 137
POLL_SECONDS = 0.2
_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|_URI$|_URL$", re.IGNORECASE)


class DockerDriver(Driver):
    """See :class:`Driver`.

    :param container: name of the one container, or empty.
    :param project, services: compose project, and those of its services that are Letta's; services may be left out where there is one.
    :param docker_host: address of the engine, or empty for DOCKER_HOST and the usual socket.
    :param secrets: texts wiped from logs, besides the secrets among the container's own environment.
    :raises RecoveryError: ``usage`` for options that do not fit, ``preflight`` without an engine.
    """

    def __init__(self, container="", project="", services=(), docker_host="", secrets=()):
        if bool(container) == bool(project) or (services and not project):
            raise RecoveryError(
                "usage",
                "letta_service_manager: docker needs either the name of a container or a compose project",
                next_step="set letta_service_container, or letta_service_project with letta_service_services",
            )
        self.container, self.project, self.services = container, project, tuple(services)
        self._secrets = tuple(secret for secret in secrets if secret)
        self.engine = Engine(docker_host)
        self.found = []

    def close(self):
        self.engine.close()

    def look(self):
        self.found = [self.engine.named(self.container)] if self.container else self._of_project()
        return judge(self.found, self.engine.started_at)

    def _of_project(self):
        found = self.engine.of_project(self.project)
        if not found:
            others = self.engine.projects()
            raise refused(
                "Docker's engine at %s has no container of a compose project %s%s"
                % (self.engine.address, self.project, "; there are %s" % ", ".join(others) if others else ""),
                "letta_service_project names it as docker compose ls --all does",
            )
        return chosen(compose.in_start_order(found), self.project, self.services)

    def check(self, stopping):
        for container in self.found:
            problem, advice = obstacle(container, stopping)
            if problem:
                raise refused("container %s %s" % (compose.name_of(container), problem), advice)

    def stop(self, timeout):
        deadline = time.monotonic() + timeout
        problems, notes = [], []
        for container in reversed(self.found):
            name = compose.name_of(container)
            grace = round(min(seconds_left(deadline), container["Config"].get("StopTimeout") or ENGINES_OWN_GRACE))
            began = time.monotonic()
            problem = self.engine.stop(container, grace)
            problems += ["%s: %s" % (name, problem)] if problem else []
            after = self.engine.again(container["Id"])
            if after and after["State"]["ExitCode"] == KILLED and time.monotonic() - began >= grace:
                signal = container["Config"].get("StopSignal") or "SIGTERM"
                notes.append("container %s did not end within %d s of %s and was killed" % (name, grace, signal))
        return Told("docker stop %s" % " ".join(map(compose.name_of, reversed(self.found))), "; ".join(problems), "; ".join(notes))

    def start(self, timeout):
        deadline = time.monotonic() + timeout
        for container in self.found:
            self._await_dependencies(container, deadline)
            if not container["State"]["Running"]:
                problem = self.engine.start(container)
                if problem:
                    raise NotStarted("container %s could not be started: %s" % (compose.name_of(container), problem))

    def _await_dependencies(self, container, deadline):
        project = compose.labels(container).get(compose.PROJECT)
        ours = {compose.service_of(other) for other in self.found}
        for service, condition in compose.depends_on(container).items() if project else ():
            while True:
                others = self.engine.of_project(project, (service,))
                lacking = [(other, compose.lacking(condition, other)) for other in others]
                lacking = [(other, why) for other, why in lacking if why]
                if not lacking:
                    break
                hopeless = service not in ours and any(not _lives(other) for other, _why in lacking)
                if hopeless or time.monotonic() >= deadline:
                    other, why = lacking[0]
                    raise NotStarted(
                        "container %s depends on %s (%s), which %s" % (compose.name_of(container), compose.name_of(other), condition, why),
                        self._log([other], 0),
                        "docker start %s, or name its service in letta_service_services" % compose.name_of(other),
                    )
                time.sleep(POLL_SECONDS)

    def tail(self, since):
        return self._log(self.found, since)

    def _log(self, containers, since):
        parts = []
        for container in containers:
            text = self._clean(self.engine.log(container, since, LOG_LINES), container).strip()
            health = (container["State"].get("Health") or {}).get("Log") or []
            if health and health[-1].get("ExitCode"):
                text += "\nits health check said: %s" % self._clean(health[-1].get("Output", ""), container).strip()[-300:]
            if text.strip():
                parts.append("%s: %s" % (compose.name_of(container), text.strip()) if len(containers) > 1 else text.strip())
        return "\n".join(parts)[-KEPT_OUTPUT:]

    def _clean(self, text, container):
        pairs = (entry.partition("=") for entry in container["Config"].get("Env") or ())
        known = tuple(value for name, _is, value in pairs if _SECRET.search(name) and len(value) > 5)
        for secret in sorted(self._secrets + known, key=len, reverse=True):
            text = text.replace(secret, "***")
        return scrub(text)

    def facts(self):
        images = {container["Image"] for container in self.found}
        return {"containers": [compose.name_of(container) for container in self.found], "image": images.pop() if len(images) == 1 else None}


def chosen(found, project, services):
    """Return the containers of the services asked for, in the order given.

    :param found: all containers of the project, inspected.
    :raises RecoveryError: ``preflight`` where a service has none, or where it is not clear which one is Letta's.
    """
    there = sorted({compose.service_of(container) for container in found})
    if services:
        absent = [service for service in services if service not in there]
        if absent:
            raise refused(
                "compose project %s has no container of service %s; there are %s" % (project, ", ".join(absent), ", ".join(there)),
                "correct letta_service_services, or docker compose create %s" % " ".join(absent),
            )
        return [container for container in found if compose.service_of(container) in services]
    if len(there) > 1:
        raise refused(
            "compose project %s has the services %s, and nobody said which is Letta's" % (project, ", ".join(there)),
            "set letta_service_services; what it does not name is not touched",
        )
    if any(compose.keeps_data(container) for container in found):
        raise refused(
            "the only service of compose project %s, %s, looks like the database or Redis" % (project, there[0]),
            "name it in letta_service_services if it is to be stopped all the same",
        )
    return found


def judge(containers, started_at):
    """Judge containers as one service.

    :param started_at: function that tells when a container was started, or None. :returns: :class:`Look`.
    """
    names = [compose.name_of(container) for container in containers]
    phrases = [compose.phrase(container) for container in containers]
    up = all(_serves(container) for container in containers)
    moments = [started_at(container) for container in containers] if up else []
    unready = [
        "container %s is %s by its own health check" % (name, container["State"]["Health"]["Status"])
        for name, container in zip(names, containers)
        if (container["State"].get("Health") or {}).get("Status", "none") not in ("none", "", "healthy")
    ]
    return Look(
        "container %s" % names[0] if len(names) == 1 else "containers",
        "is %s" % phrases[0] if len(names) == 1 else "are %s" % ", ".join("%s %s" % pair for pair in zip(names, phrases)),
        up,
        any(_lives(container) for container in containers),
        waiting="; ".join(unready) if up else "",
        started_at=min((known for known in moments if known is not None), default=None),
        restarts=sum(container.get("RestartCount") or 0 for container in containers),
    )


def obstacle(container, stopping):
    """Return why a container could not be started, or with ``stopping`` not be stopped and started again, and what to do; else ("", "")."""
    state, status = container["State"], container["State"]["Status"]
    name = compose.name_of(container)
    labels = compose.labels(container)
    throwaway = container.get("HostConfig", {}).get("AutoRemove")
    checks = (
        (state.get("Paused"), "is paused: it hears no signal", "docker unpause %s" % name),
        (status in ("dead", "removing"), "is %s: the engine can neither stop nor start it" % status,
         "docker rm --force %s, and create it anew" % name),
        (stopping and throwaway, "was made with --rm: once stopped it is gone and cannot be started again",
         "create it anew without --rm, or drive it with letta_service_manager: command"),
        (stopping and "com.docker.swarm.task.id" in labels, "belongs to a service of Swarm, which would bring it back",
         "letta_service_manager: command, with docker service scale"),
        (stopping and compose.holds_own_database(container), "runs its own PostgreSQL (no LETTA_PG_URI): stopped, the database is gone too",
         "run PostgreSQL outside of Letta's container"),
    )  # fmt: skip
    for found, problem, advice in checks:
        if found:
            return problem, advice
    return "", ""


def _serves(container):
    state = container["State"]
    return state["Running"] and not state.get("Paused") and not state.get("Restarting")


def _lives(container):
    state = container["State"]
    return bool(state["Running"] or state.get("Paused") or state.get("Restarting"))
