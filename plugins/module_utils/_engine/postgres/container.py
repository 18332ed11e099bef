# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's client tools out of the image of the container that the server runs in.

Each tool is a small program in a private folder that becomes ``docker run`` of that very image: on the host's network, as the
calling user, seeing only the files it is told to read or write. So whoever is given the folder need not know.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import sys
import tempfile

from ..errors import RecoveryError
from . import contained
from .process import ToolFailed, run_tool

NAMES = ("pg_dump", "pg_restore", "psql", "pg_amcheck")
ENGINE_SECONDS = 30
# How the docker program finds its engine; nothing else of the caller's environment is kept.
_DOCKER_VARIABLES = ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONFIG", "DOCKER_CONTEXT", "XDG_RUNTIME_DIR")


class ContainerTools:
    """The client tools of one container's image, laid out when first asked for; a context manager that takes them away again.

    :param container: name or id of a container on this host, running or not.
    :param docker_host: address of Docker's engine, or empty for what the environment says.
    :ivar known: room for whoever looks at the tools to keep what was found.
    """

    def __init__(self, container, docker_host=""):
        self.container = container
        self.known: dict = {}
        self._variables = {name: os.environ[name] for name in _DOCKER_VARIABLES if os.environ.get(name)}
        if docker_host:
            self._variables.pop("DOCKER_CONTEXT", None)
            self._variables["DOCKER_HOST"] = docker_host
        self._folder = None

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __str__(self):
        return "container %s" % self.container

    def folder(self):
        """Return the folder of the tools; whether the image has them shows when they are run.

        :raises RecoveryError: ``preflight`` when there is no docker program, no engine, no such container, or an engine elsewhere.
        """
        if self._folder is None:
            settings = self._settings()
            folder = tempfile.mkdtemp(prefix="letta-client-tools-")
            self._folder = folder
            with open(os.path.join(folder, contained.SETTINGS), "w", encoding="utf-8") as stream:
                json.dump(settings, stream)
            program = "#!%s -I\n%s" % (sys.executable, inspect.getsource(contained))
            for name in NAMES:
                path = os.path.join(folder, name)
                with open(path, "w", encoding="utf-8") as stream:
                    stream.write(program)
                os.chmod(path, 0o700)
        return self._folder

    def _settings(self):
        docker = shutil.which("docker")
        if docker is None:
            raise self._refused("there is no program docker on this host", "install it (Debian: docker-cli or docker.io)")
        address = self._variables.get("DOCKER_HOST", "unix:")
        if not address.startswith("unix:"):
            raise self._refused(
                "Docker's engine is elsewhere (%s), its containers do not see this host's files" % address.partition("//")[0],
                "run against the host of that engine (group letta_database)",
            )
        image = self._ask(docker, ["container", "inspect", "--format", "{{.Image}}", self.container])
        options, user = [], "%d:%d" % (os.geteuid(), os.getegid())
        security = self._ask(docker, ["info", "--format", "{{json .SecurityOptions}}"])
        if "name=rootless" in security:
            user = "0:0"  # the caller, as such an engine's containers see it
        elif "name=userns" in security:
            options = ["--userns=host"]
        return {"docker": [docker], "image": image, "user": user, "options": options, "environment": self._variables}

    def _ask(self, docker, arguments):
        try:
            return run_tool([docker, *arguments], timeout=ENGINE_SECONDS, env=self._variables).stdout.strip()
        except (ToolFailed, OSError) as exc:
            said = exc.stderr.strip() if isinstance(exc, ToolFailed) else str(exc)
            step = "name it in letta_db_container as docker ps --all does; check that this user may use the engine (become)"
            raise self._refused("docker %s: %s" % (" ".join(arguments[:2]), said or exc), step) from None

    def _refused(self, reason, step):
        return RecoveryError("preflight", "no client tools out of %s: %s" % (self, reason), next_step=step)
