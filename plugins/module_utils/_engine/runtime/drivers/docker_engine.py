# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's engine, as far as a driver needs it: connection, containers found, errors told plainly."""
from __future__ import annotations

import io
import os
import tarfile
import time
from contextlib import contextmanager, suppress
from datetime import datetime, timezone

from ...errors import RecoveryError
from . import compose
from .base import refused

try:
    import docker
    import requests

    MISSING = None
except ImportError as error:  # told when it is needed
    MISSING = error

TIMEOUT = 30
_NEVER = "0001-01-01"


class Engine:
    """The engine of this host, or the one that DOCKER_HOST names.

    :param docker_host: address of the engine (``unix:///run/docker.sock``), or empty for what the environment says.
    :param timeout: seconds that it may take for one answer.
    :raises RecoveryError: ``preflight`` when the Python package is missing or no engine answers.
    """

    def __init__(self, docker_host="", timeout=TIMEOUT):
        if MISSING is not None:
            raise refused(
                "Docker's engine needs the Python package docker on this host (%s)" % MISSING,
                "install python3-docker for the interpreter Ansible uses on this host (ansible_python_interpreter)",
            )
        environment = dict(os.environ, **({"DOCKER_HOST": docker_host} if docker_host else {}))
        self.address = environment.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        with self.told("be asked"):
            self.api = docker.from_env(version="auto", timeout=timeout, environment=environment).api
        self._behind = None

    def close(self):
        self.api.close()

    @contextmanager
    def told(self, doing):
        """Turn whatever the engine or the way to it answers into a ``preflight`` error that says what could not be done."""
        try:
            yield
        except docker.errors.APIError as exc:
            raise refused("Docker's engine at %s could not %s: %s" % (self.address, doing, exc.explanation or exc)) from None
        except (docker.errors.DockerException, requests.exceptions.RequestException) as exc:
            raise refused(
                "Docker's engine at %s could not %s: %s" % (self.address, doing, exc),
                "check that it runs and that this user may use it (become), or set letta_service_docker_host",
            ) from None

    def named(self, name):
        """Return the container of a name, inspected. :raises RecoveryError: ``preflight`` when there is none."""
        with self.told("inspect container %s" % name):
            try:
                found = self.api.inspect_container(name)
            except docker.errors.NotFound:
                found = None
            if found is None or name not in (compose.name_of(found), found["Id"], found["Id"][:12]):
                there = sorted(entry["Names"][0].lstrip("/") for entry in self.api.containers(all=True) if entry["Names"])
                raise refused(
                    "Docker's engine at %s has no container %s%s" % (self.address, name, _there("there are", there)),
                    "letta_service_container names it as docker ps --all does",
                )
            return found

    def image(self, name):
        """Return an image that the engine has, inspected; None when it has none of that name, digest or id."""
        with self.told("inspect image %s" % name):
            try:
                return self.api.inspect_image(name)
            except docker.errors.ImageNotFound:
                return None

    def of_project(self, project, services=()):
        """Return the containers of a compose project, inspected, without those of ``compose run``.

        :param services: only of these; empty for all.
        """
        with self.told("list the containers of project %s" % project):
            listed = self.api.containers(all=True, filters={"label": "%s=%s" % (compose.PROJECT, project)})
        found = [self.again(entry["Id"]) for entry in listed if not services or entry["Labels"].get(compose.SERVICE) in services]
        return [container for container in found if container and not compose.is_one_off(container)]

    def projects(self):
        """Return the names of the compose projects that have containers."""
        with self.told("list containers"):
            listed = self.api.containers(all=True, filters={"label": compose.PROJECT})
        return sorted({entry["Labels"][compose.PROJECT] for entry in listed})

    def again(self, identity):
        """Return a container, inspected now; None when it is gone."""
        with self.told("inspect a container"):
            try:
                return self.api.inspect_container(identity)
            except docker.errors.NotFound:
                return None

    def stop(self, container, grace):
        """Send a container its own stop signal, and kill it after ``grace`` seconds; return what went wrong, or an empty text."""
        return self._try(self.api.stop, container["Id"], timeout=grace)

    def start(self, container):
        """Start a container; return what went wrong, or an empty text."""
        return self._try(self.api.start, container["Id"])

    def put(self, container, path, data, mode=0o600):
        """Write a file of root's into a container, which need not run. Its configuration does not show it, as it would an environment."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode = len(data), mode
            archive.addfile(member, io.BytesIO(data))
        with self.told("hand %s to container %s" % (path, compose.name_of(container))):
            self.api.put_archive(container["Id"], "/", packed.getvalue())

    def remove(self, identity):
        """Remove a container, running or not, with the volumes that have no name; one that is gone is no error."""
        with self.told("remove container %s" % identity[:12]), suppress(docker.errors.NotFound):
            self.api.remove_container(identity, force=True, v=True)

    def remove_network(self, identity):
        """Remove a network; one that is gone is no error."""
        with self.told("remove network %s" % identity[:12]), suppress(docker.errors.NotFound):
            self.api.remove_network(identity)

    def _try(self, call, *args, **more):
        try:
            call(*args, **more)
        except docker.errors.APIError as exc:
            return str(exc.explanation or exc)
        except (docker.errors.DockerException, requests.exceptions.RequestException) as exc:
            return str(exc)
        return ""

    def log(self, container, since, lines):
        """Return the last lines of a container's log as text; empty where its log driver keeps none."""
        try:
            return self.api.logs(container["Id"], tail=lines, since=int(since)).decode("utf-8", "replace")
        except (docker.errors.DockerException, requests.exceptions.RequestException):
            return ""

    def started_at(self, container):
        """Return when a container was started, in seconds since the epoch by this host's clock; None when it never was."""
        text = container["State"].get("StartedAt") or _NEVER
        if text.startswith(_NEVER):
            return None
        return moment(text) + self._offset()

    def _offset(self):
        """Return how far the clock of an engine elsewhere is behind this host's."""
        if self._behind is None:
            self._behind = 0.0
            if not self.address.startswith("unix:"):
                with self.told("tell the time"):
                    self._behind = time.time() - moment(self.api.info()["SystemTime"])
        return self._behind


def moment(text):
    """Return RFC 3339 with any number of decimals (``2026-11-21T18:00:33.493245857Z``) as seconds since the epoch.

    :raises RecoveryError: ``preflight`` for anything else.
    """
    text = text.replace("Z", "+00:00")
    head, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    try:
        whole = datetime.fromisoformat(head + rest[len(digits) :] if dot else text)
        return (whole if whole.tzinfo else whole.replace(tzinfo=timezone.utc)).timestamp() + float("0." + (digits or "0"))
    except ValueError:
        raise RecoveryError("preflight", "Docker's engine names no moment: %s" % text) from None


def _there(words, names):
    return "; %s %s" % (words, ", ".join(names)) if names else ""
