# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away system of containers, on a network of their own that leads nowhere; see :mod:`.fence`.

All of them share the network namespace of the first, ``_model``: so they talk over loopback like the programs of :mod:`.embedded`, there is
one namespace to close, and it is closed before the database is there. The host reaches them at the one address they have.
"""
from __future__ import annotations

import inspect
import json
import sys
import time

from ..durable import read_json, write_json
from ..errors import RecoveryError
from ..postgres.connection import Server, query
from ..runtime.database_container import PASSWORD_FILE
from ..runtime.services import ServiceOptions, ensure_service
from . import boxes, fence, folder, model, programs, serving, stand
from .stand import LOOPBACK, START_SECONDS, SUPERUSER

HELPER_SECONDS = 90
POLL_SECONDS = 0.1
MEMORY = {"db": "2g", "redis": "512m", "letta": "2g", "model": "256m"}
# Parallel workers of PostgreSQL share it; Docker's own 64 MiB are too little.
SHM_SIZE = "512m"
PROCESSES = 1024
_OF_THE_HOST = ("shm_size", "cap_add", "cap_drop", "dns", "dns_opt")
_RELEASE = "from importlib.metadata import version; print(version('letta'))"
_MODEL, _FENCE = "/letta_rehearsal_model.py", "/letta_rehearsal_fence.py"
# Nothing outside is reached, so whatever asks a name waits for the resolver to give up.
_DNS = {"dns": [LOOPBACK], "dns_opt": ["timeout:1", "attempts:1"]}
_REDIS = ["--save", "", "--appendonly", "no", "--protected-mode", "no"]


class ContainerStand(stand.Stand):
    """See :class:`~.stand.Stand`. Needs the Docker socket, and nothing else of root's.

    :param docker_host: address of Docker's engine, or empty for what the environment says.
    :param images: {"postgres", "redis" (may be empty), "letta"}: names, see :func:`.boxes.image_of`.
    :param memory: limits, see :data:`MEMORY`. :param isolated: close the network from inside.
    :param version: the release that Letta must be; empty for any.
    """

    def __init__(self, base, name="", ports=None, docker_host="", images=None, memory=None, isolated=True, version=""):
        super().__init__(base, name, ports)
        self.docker_host, self.isolated, self.version = docker_host, isolated, version
        self.images = images or {}
        self.memory = {**MEMORY, **(memory or {})}
        self._engine = None

    @property
    def engine(self):
        """Docker's engine, asked for when it is first needed."""
        if self._engine is None:
            self._engine = boxes.engine_of(self.docker_host)
        return self._engine

    def make(self, lifetime=86400):  # noqa: ARG002  (its age is written on every part; who reaps knows how old it may become)
        engine = self.engine
        ids = {part: boxes.image_of(engine, name, "letta_rehearse_%s_image" % part)["Id"] for part, name in self.images.items()
               if name or part != "redis"}
        folder.make(self.base, self.name)
        try:
            release = self._release(ids["letta"])
            with engine.told("make network %s" % (folder.PREFIX + self.name)):
                network = engine.api.create_network(
                    folder.PREFIX + self.name, driver="bridge", internal=True, labels=boxes.labels(self.name)
                )["Id"]
            root, volumes = folder.sets_of(self.path), folder.volumes_of(self.path)
            holder = self._start_model(ids["letta"], network)
            address = self._address(holder)
            self._close(ids["letta"], holder, network)
            self._keep(images=ids, holder=holder["Id"], address=address)
        except BaseException:
            self.remove()
            raise
        docker = ["docker"] + (["--host", self.docker_host] if self.docker_host else [])
        alembic = ["run", "--rm", "--pull=never", "--network", "container:%s" % holder["Id"], "--env", "LETTA_PG_URI",
                   "--env", "LETTA_ENCRYPTION_KEY", "--entrypoint", "alembic", ids["letta"]]  # fmt: skip
        return {"path": self.path, "python": sys.executable, "backup_root": root, "volume_root": volumes, "address": address,
                "letta_version": release, "container": boxes.named(self.name, "db"), "alembic_command": docker + alembic}  # fmt: skip

    def start(self, passwords):
        kept = self._kept()
        settings = {**stand.settings_of(self.name), "listen_addresses": "*", "port": self.ports["postgres"]}
        options = [part for pair in sorted(settings.items()) for part in ("-c", "%s=%s" % pair)]
        database = self._create(
            "db", kept["images"]["postgres"], ["postgres", *options], shm_size=SHM_SIZE,
            environment={"POSTGRES_USER": SUPERUSER, "POSTGRES_DB": "postgres", "POSTGRES_PASSWORD_FILE": PASSWORD_FILE},
        )  # fmt: skip
        self.engine.put(database, PASSWORD_FILE, passwords[SUPERUSER].encode())
        self._start(database)
        redis, at = kept["images"].get("redis", ""), (kept["address"], self.ports["redis"])
        if redis:
            memory = self._start(self._create("redis", redis, [*_REDIS, "--port", str(at[1])]))
            self._await(memory, "%s port %d" % at, lambda: programs.answers(at[1], at[0]))
        server = Server(kept["address"], self.ports["postgres"], SUPERUSER, passwords[SUPERUSER], "postgres", sslmode="disable")
        self._await(database, server, lambda: query(server, "SELECT 1"))
        return {"postgresql": stand.furnish(server, passwords), "redis": self.images.get("redis") or redis, "ports": self.ports}

    def serve(self, letta):
        kept = self._kept()
        env = serving.environment(self.ports, letta)
        container = self._create("letta", kept["images"]["letta"], list(letta.command) or None, environment=env)
        url = "http://%s:%d" % (kept["address"], self.ports["letta"])
        options = ServiceOptions(
            manager="docker", container=boxes.named(self.name, "letta"), docker_host=self.docker_host, api_url=url, api_token=letta.token,
            start_timeout=letta.timeout,
        )  # fmt: skip
        try:
            started = ensure_service(options, "started")
        except RecoveryError as error:
            raise self._judged(container, error, env, letta) from None
        version = started["health"]["version"]
        stand.check_version(version, letta.version)
        return {"url": url, "version": version, "seconds": started["seconds"]}

    def remove(self):
        ended = boxes.remove(self.engine, self.name)
        left = folder.remove(self.path)
        return ended if ended or left is not None else None

    def reap(self, max_age):
        made, _containers, _networks = boxes.found(self.engine)
        old = sorted(system for system, moment in made.items() if time.time() - moment > max_age)
        for system in old:
            boxes.remove(self.engine, system)
        return sorted({folder.PREFIX + system for system in old} | set(folder.reap(self.base, max_age)))

    # -- what was made --------------------------------------------------------------------------------------

    def _keep(self, **facts):
        write_json(self.path + "/containers.json", facts)

    def _kept(self):
        return read_json(self.path + "/containers.json")

    def _create(self, part, image, command, network="", **more):
        """Create a container of the system; returns it, inspected.

        :param network: to join, with settings of its own; empty for the namespace of the first.
        """
        api = self.engine.api
        host = {"mem_limit": self.memory.get(part, MEMORY["model"]), "pids_limit": PROCESSES, "security_opt": ["no-new-privileges:true"]}
        # What a model is told, or a server logs, is nobody's business and must not fill the disk.
        host["log_config"] = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "1"}}
        host["network_mode"] = network or "container:%s" % self._kept()["holder"]
        host.update({setting: more.pop(setting) for setting in _OF_THE_HOST if setting in more})
        name = boxes.named(self.name, part)
        with self.engine.told("create container %s" % name):
            made = api.create_container(
                image, command, name=name, labels=boxes.labels(self.name), host_config=api.create_host_config(**host), **more
            )
        return self.engine.again(made["Id"])

    def _start(self, container):
        problem = self.engine.start(container)
        if problem:
            raise boxes.not_started(self.engine, container, "it cannot be started: %s" % problem)
        return self.engine.again(container["Id"])

    # -- helpers of a moment --------------------------------------------------------------------------------

    def _helped(self, container, doing):
        """Run a container to its end; returns the last line it said. It is removed."""
        self._start(container)
        try:
            with self.engine.told(doing):
                code = self.engine.api.wait(container["Id"], timeout=HELPER_SECONDS)["StatusCode"]
            said = self.engine.log(container, 1, boxes.LOG_LINES).strip()
        finally:
            self.engine.remove(container["Id"])
        return said.splitlines()[-1] if said and code == 0 else ""

    def _release(self, image):
        """Return the release of Letta in the image; empty where it does not say. A server of another one would change the schema."""
        asking = {"entrypoint": ["python3", "-c", _RELEASE], "cap_drop": ["ALL"]}
        found = self._helped(self._create("release", image, [], network="none", **asking), "ask %s for its release" % self.images["letta"])
        stand.check_version(found, self.version, "letta_rehearse_letta_image %s holds Letta, which" % self.images["letta"])
        return found

    def _start_model(self, image, network):
        port = str(self.ports["model"])
        command = {"entrypoint": ["python3", "-I", _MODEL, LOOPBACK, port], "cap_drop": ["ALL"], **_DNS}
        container = self._create("model", image, [], network=network, **command)
        self.engine.put(container, _MODEL, inspect.getsource(model).encode(), 0o644)
        return self._start(container)

    def _address(self, holder):
        found = [one["IPAddress"] for one in holder["NetworkSettings"]["Networks"].values() if one.get("IPAddress")]
        if not found:
            raise boxes.not_started(self.engine, holder, "it went down again, or Docker gave it no address")
        return found[0]

    def _close(self, image, holder, network):
        """Close the network of the holder, and wait for the model service in it. :raises RecoveryError: when something is in reach."""
        with self.engine.told("inspect network %s" % (folder.PREFIX + self.name)):
            pools = self.engine.api.inspect_network(network)["IPAM"]["Config"]
        pool = next(one for one in pools if ":" not in one["Subnet"])
        subnet = pool["Subnet"] if self.isolated else ""
        ports = ",".join(str(self.ports[name]) for name in ("postgres", "redis", "letta"))
        # The host itself, and an address of nobody's (RFC 5737), behind whatever would lead out.
        tried = ["%s:9" % pool.get("Gateway", subnet.partition("/")[0]).partition("/")[0], "192.0.2.1:9"]
        command = {"entrypoint": ["python3", "-I", _FENCE], "user": "0:0", "cap_drop": ["ALL"], "cap_add": ["NET_ADMIN"]}
        arguments = [subnet, ports, str(self.ports["model"]), ",".join(tried)]
        helper = self._create("fence", image, arguments, network="container:%s" % holder["Id"], **command)
        self.engine.put(helper, _FENCE, inspect.getsource(fence).encode(), 0o644)
        told = json.loads(self._helped(helper, "close the network") or '{"problem": "its helper ended without a word"}')
        if told["problem"] or told["reached"]:
            why = told["problem"] or "from inside, %s could be reached" % ", ".join(told["reached"])
            raise RecoveryError(
                "preflight", "the network of the rehearsal's containers cannot be closed on this host: %s" % why,
                now=boxes.NOTHING_STARTED,
                next_step="rehearse on a host with Linux 4.17 or newer and Docker's bridge networks; or, where nothing can go wrong on this"
                " host's network, set letta_rehearse_isolation to none",
            )  # fmt: skip
        if not told["model"]:
            raise boxes.not_started(self.engine, holder, "the fake model service does not answer")

    # -- waiting, judging -----------------------------------------------------------------------------------

    def _await(self, container, place, ready):
        """Wait until a container's server answers this host.

        :param place: where, for the message. :param ready: tells whether it does, or raises :class:`RecoveryError`.
        """
        deadline, reason = time.monotonic() + START_SECONDS, "nothing listens"
        while True:
            try:
                if ready():
                    return
            except RecoveryError as error:
                reason = error.message
            now = self.engine.again(container["Id"])
            if now is None or not now["State"]["Running"]:
                raise boxes.not_started(self.engine, container, "it went down again")
            if time.monotonic() >= deadline:
                raise boxes.not_started(
                    self.engine, container, "it runs, and does not answer this host at %s after %d s: %s" % (place, START_SECONDS, reason),
                    "place containers needs an engine whose containers this host reaches: on this host itself, on Linux, not rootless",
                )  # fmt: skip
            time.sleep(POLL_SECONDS)

    def _judged(self, container, error, env, letta):
        """Return what a Letta that is not up means: what it says of the data, or that it could not even run."""
        state = (self.engine.again(container["Id"]) or container)["State"]
        text = serving.without_secrets(error.message, env, letta)
        if state.get("OOMKilled"):
            return boxes.not_started(self.engine, None, "Letta needed more memory than %s" % self.memory["letta"],
                                     "raise it: -e '{\"letta_rehearse_memory\": {\"letta\": \"4g\"}}'")  # fmt: skip
        if state.get("Error") or state["Status"] == "created":
            return stand.wrong("Letta cannot be started: %s" % (state.get("Error") or text))
        return stand.not_serving("in its container", text)
