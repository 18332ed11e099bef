# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Letta's database in a container that does not exist yet, made as Letta's compose file makes it.

One that exists is compared, never changed. What it holds is never touched either: an empty database is prepared, no other.
"""
from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass, field

from ..errors import RecoveryError
from ..postgres.connection import Server, query
from . import first_database
from .container_differences import ANYWHERE, differences
from .drivers import compose
from .drivers.base import said
from .drivers.docker_engine import Engine

_PINNED = re.compile(r"([^\s@]+@)?sha256:[0-9a-f]{64}")
LOOPBACK = "127.0.0.1"
PORT = 5432  # inside, where the container has a network of its own
PASSWORD_FILE = "/letta-postgres-password"  # noqa: S105 (a path)
SECOND = 1_000_000_000  # the engine counts in nanoseconds
POLL_SECONDS = 0.3
LOG_LINES = 20
_DATA_FOLDER = "/var/lib/postgresql"
_NOT_MADE = "nothing was created, started or changed"


@dataclass(frozen=True)
class Wanted:
    """The container that is to be there.

    :param name: of the container. :param image: by digest (``name@sha256:…``) or id (``sha256:…``).
    :param database, user, password: what the image makes in an empty data folder.
    :param address, port: where the server is reached on this host.
    :param data: a named volume, or a folder of this host (an absolute path).
    :param data_path: where that is inside; empty to ask the image.
    :param network: ``host``, or a network of the engine; empty for the engine's own default.
    :param settings: ``{setting of the server: value}``. :param shm_size: of ``/dev/shm`` inside (``256m``): parallel workers share it.
    :param timeout: seconds until it must answer queries.
    """

    name: str
    image: str
    database: str = "letta"
    user: str = "letta"
    password: str = field(default="", repr=False)
    address: str = LOOPBACK
    port: int = PORT
    data: str = "letta_pgdata"
    data_path: str = ""
    network: str = ""
    settings: dict = field(default_factory=dict)
    shm_size: str = "256m"
    docker_host: str = ""
    timeout: float = 60


def ensure_container(wanted, check=False):
    """Create and start the container where there is none, start it where it is stopped, and prepare its database where it is empty.

    :param wanted: :class:`Wanted`.
    :param check: True to change nothing and tell what would change.
    :returns: ``{"changed", "created", "started", "prepared": bool, "container": {"name", "id", "image", "status"}, "did": [str],
        "server_version": str|None}``; ``id`` is None for a container that would be made.
    :raises RecoveryError: ``usage`` for an image that is not pinned; ``preflight`` when an existing container differs, the image is
        not at hand, or the database does not answer in time.
    """
    if not _PINNED.fullmatch(wanted.image):
        raise RecoveryError(
            "usage",
            "image %s names no certain image: a tag may be another PostgreSQL tomorrow, which cannot read this one's files" % wanted.image,
            now=_NOT_MADE,
            next_step="name it by digest, pgvector/pgvector@sha256:…: docker image inspect --format '{{index .RepoDigests 0}}' %s"
            % wanted.image,
        )
    if not wanted.password:
        raise RecoveryError("usage", "no password for role %s" % wanted.user, now=_NOT_MADE, next_step="set password (from a vault)")
    made = _Maker(wanted)
    try:
        return made.ensure(check)
    finally:
        made.engine.close()


class _Maker:
    def __init__(self, wanted):
        self.wanted = wanted
        self.engine = Engine(wanted.docker_host)
        self.began = time.monotonic()
        self.did = []

    @property
    def server(self):
        w = self.wanted
        host = LOOPBACK if w.address == ANYWHERE else "::1" if w.address == "::" else w.address
        return Server(host, w.port, w.user, w.password, w.database)

    def ensure(self, check):
        found, created, prepared, version = self.existing(), False, False, None
        image = self.image(pull=not check and found is None)
        if found is None:
            created = True
            self.did.append("create container %s of %s" % (self.wanted.name, self.wanted.image))
        else:
            self.compare(found, image)
        started = found is None or not found["State"]["Running"]
        if started:
            self.did.append("start it")
        if not check:
            found = self.create(image) if found is None else found
            if started:
                self.start(found)
            version = self.await_answer(found)
            prepared = first_database.prepare(self.server)
            found = self.engine.again(found["Id"]) or found
        elif created:
            self.did.append("prepare database %s, if it is empty: schema, search_path, vector, no public" % self.wanted.database)
        elif not started:
            version, prepared = self.asked(), first_database.unprepared(self.server)
        if prepared:
            self.did.append("prepare the empty database %s: schema %s, search_path, vector, no public" % ((self.wanted.database,) * 2))
        return {
            "changed": bool(self.did),
            "created": created,
            "started": started,
            "prepared": prepared,
            "did": self.did,
            "server_version": version,
            "container": {
                "name": self.wanted.name,
                "id": found["Id"] if found else None,
                "image": image["Id"] if image else self.wanted.image,
                "status": found["State"]["Status"] if found else None,
            },
        }

    # -- what there is ------------------------------------------------------------------------------

    def existing(self):
        found = self.engine.again(self.wanted.name)
        return found if found and compose.name_of(found) == self.wanted.name else None

    def image(self, pull):
        """Return the image, inspected, or None when it can be pulled and is not to be yet."""
        with self.engine.told("bring image %s" % self.wanted.image):
            there = self.engine.image(self.wanted.image)
            if there is None and "@" in self.wanted.image and pull:
                self.engine.api.pull(self.wanted.image)
                there = self.engine.image(self.wanted.image)
        if there is None and (pull or "@" not in self.wanted.image):
            raise RecoveryError(
                "preflight",
                "Docker's engine at %s has no image %s" % (self.engine.address, self.wanted.image),
                now=_NOT_MADE,
                next_step="docker pull it by digest, or docker load it; an id names only what is there already",
            )
        return there

    def compare(self, found, image):
        """:raises RecoveryError: when the container is not as it is wanted."""
        different = differences(found, self.options(image) if image else None, image)
        if different:
            raise RecoveryError(
                "preflight",
                "container %s is there and differs: %s" % (self.wanted.name, "; ".join(different)),
                now="the container was left as it is",
                next_step="correct the options to what it is, or choose another name; an existing container is never changed",
                details={"differences": different},
            )

    # -- what is to be ------------------------------------------------------------------------------

    def data_path(self, image):
        if self.wanted.data_path:
            return self.wanted.data_path
        volumes = [path for path in image["Config"].get("Volumes") or {} if (path + "/").startswith(_DATA_FOLDER + "/")]
        if len(volumes) != 1:
            raise RecoveryError(
                "usage",
                "the image does not say where its database lies (volumes below %s: %s)" % (_DATA_FOLDER, ", ".join(volumes) or "none"),
                now=_NOT_MADE,
                next_step="set data_path to the folder inside that the image keeps its data in",
            )
        return volumes[0]

    def options(self, image):
        """Return the arguments of ``create_container_config`` and ``create_host_config`` in one, as the engine's API names them."""
        w = self.wanted
        own = w.network != "host"
        inside = PORT if own else w.port
        settings = {**({} if own else {"listen_addresses": w.address, "port": str(w.port)}), **w.settings}
        command = ["postgres"] + [part for name in sorted(settings) for part in ("-c", "%s=%s" % (name, settings[name]))]
        return {
            "Image": image["Id"],
            "Cmd": command if settings else image["Config"].get("Cmd") or command,
            "Env": {"POSTGRES_USER": w.user, "POSTGRES_DB": w.database, "POSTGRES_PASSWORD_FILE": PASSWORD_FILE},
            # Over TCP: while the image fills its data folder the server answers on its socket already.
            "Test": ["CMD", "pg_isready", "-h", LOOPBACK if own else self.server.host, "-p", str(inside), "-U", w.user, "-d", w.database],
            "Bind": "%s:%s" % (w.data, self.data_path(image)),
            "Ports": {"%d/tcp" % PORT: (w.address, w.port)} if own else {},
            "Network": w.network or "default",
            "Restart": "unless-stopped",
        }

    def create(self, image):
        options, api = self.options(image), self.engine.api
        host = api.create_host_config(
            binds=[options["Bind"]], port_bindings=options["Ports"], network_mode=options["Network"],
            restart_policy={"Name": options["Restart"]}, shm_size=self.wanted.shm_size,
        )  # fmt: skip
        health = {"test": options["Test"], "interval": 5 * SECOND, "timeout": 5 * SECOND, "retries": 5}
        with self.engine.told("create container %s" % self.wanted.name):
            made = api.create_container(
                options["Image"], options["Cmd"], name=self.wanted.name, environment=options["Env"], host_config=host,
                ports=[PORT] if options["Ports"] else None, healthcheck=health, labels={"letta_ops.recovery": "database"},
            )  # fmt: skip
        return self.engine.again(made["Id"])

    def start(self, container):
        # Into the container's own file system: docker inspect does not show it, and no file of this host has to stay for it.
        # One that never ran may lack it, when we were cut short between creating and starting it.
        if container["State"]["Status"] == "created":
            self.engine.put(container, PASSWORD_FILE, self.wanted.password.encode())
        self.check_place(container)
        problem = self.engine.start(container)
        if problem:
            raise self.fails("cannot be started: %s" % problem, container)

    def check_place(self, container):
        """Somebody else's server at the address would be taken for ours."""
        with socket.socket(socket.AF_INET6 if ":" in self.server.host else socket.AF_INET, socket.SOCK_STREAM) as way:
            way.settimeout(2)
            if way.connect_ex((self.server.host, self.server.port)) == 0:
                what = "was not started: something answers at %s port %d already" % (self.server.host, self.server.port)
                raise self.fails(what, container)

    def await_answer(self, container):
        """Wait until a query is answered; return the server's version."""
        deadline = self.began + self.wanted.timeout
        while True:
            try:
                return self.asked()
            except RecoveryError as exc:
                reason = exc.message
            now = self.engine.again(container["Id"])
            if now is None or not now["State"]["Running"] or now["RestartCount"] > container["RestartCount"]:
                raise self.fails("went down again", container)
            # It runs and says no: waiting does not change a password or a name.
            if "password authentication failed" in reason or "does not exist" in reason or time.monotonic() >= deadline:
                after = time.monotonic() - self.began
                raise self.fails("runs, but its database does not answer after %d s: %s" % (after, reason), container)
            time.sleep(POLL_SECONDS)

    def asked(self):
        return query(self.server, "SHOW server_version")[0][0]

    def fails(self, what, container):
        log = self.engine.log(container, 1, LOG_LINES).replace(self.wanted.password, "***")
        return RecoveryError(
            "preflight",
            "container %s %s%s" % (self.wanted.name, what, said(log)),
            now="the container and %s are there; no database was prepared" % self.wanted.data,
            next_step="docker logs %s; an existing data folder keeps its own roles, passwords and major version" % self.wanted.name,
        )
