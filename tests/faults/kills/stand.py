"""The servers that are killed, and the states that operations begin from: made once, copied for every point."""
from __future__ import annotations

import contextlib
import functools
import gc
import os
import secrets
import shutil
import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from psycopg2 import sql

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import tools as pg_tools
from tests.faults.engine_kit import Service
from tests.integration.restore_kit import ADMIN, ADMIN_PASSWORD, World, add_writes, content, fill, fingerprint, install_schema
from tests.lab.postgres import EmbeddedPostgres
from tests.lab.valkey import EmbeddedValkey

from . import processes

LIVE = "letta_live"
PASSWORD = "letta's+plain!word"  # what Letta's own migrations can read in a URI, as awkward as that may be
SHAPE, WRITTEN = "shape", "written"  # what the set holds; the same with writes since


@dataclass
class Scene:
    """One target in its first state, and what an operation notes for its own checks."""

    world: World
    service: Service
    temporary: Path
    old: dict | None = None  # fingerprint of live before
    notes: dict = field(default_factory=dict)

    @property
    def folder(self):
        """Folder of everything that belongs to this point."""
        return self.world.folder


class Stand:
    """A throw-away PostgreSQL with templates of databases, a store with one set, and a Redis-compatible server once it is asked for."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="kills-"))
        processes.adopt_orphans()
        self._others = set(processes.children(os.getpid()))
        self.pg = EmbeddedPostgres(self.folder / "pg", fsync=False)
        self._redis = None
        self._prints: dict = {}  # of live databases in their first state, by template
        self._probe = pg_tools.probe

    def __enter__(self):
        self.pg.start()
        # What programs can do is asked of them by starting them, several times a run; once is enough for all points.
        pg_tools.probe = functools.cache(self._probe)
        for need in (("pg_dump", "pg_restore"), ("pg_restore",)):
            pg_tools.find_tools(str(self.pg.bin_dir), need=need)
        server = self.pg.create_letta_database(SHAPE, password=PASSWORD, schema="letta")
        install_schema(server)
        fill(server, messages=60)
        self.pg.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(sql.Identifier(ADMIN), sql.Literal(ADMIN_PASSWORD)))
        self.copy(SHAPE, WRITTEN)
        add_writes(self.pg.server(dbname=WRITTEN))
        self.saved = content(fingerprint(self.pg.server(), SHAPE))
        self.set_dir = self.take_set(SHAPE)
        self.roles = self.roles_now()
        gc.collect()
        gc.freeze()  # what is there by now is not looked at, and so not copied, in any fork
        return self

    def __exit__(self, *_exc_info):
        pg_tools.probe = self._probe
        with contextlib.suppress(RuntimeError):
            self.pg.destroy()
        if self._redis:
            self._redis.destroy()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def redis(self):
        """A Redis-compatible server, started at the first call."""
        if self._redis is None:
            self._redis = EmbeddedValkey(self.folder, password=secrets.token_hex(8)).start()
        return self._redis

    def known(self):
        """Return the ids of processes that belong to no operation: the servers' own, and whatever was there before."""
        return self._others | {server.pid() for server in (self.pg, self._redis) if server is not None}

    def roles_now(self):
        """Return the names of all roles."""
        return {name for (name,) in self.pg.execute("SELECT rolname FROM pg_roles")}

    def crash(self):
        """Kill PostgreSQL with all its processes, as a machine that loses power would, and start it again."""
        first = self.pg.pid()
        for pid in [first, *processes.children(first)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.pg.kill()
        self.pg.start()

    def copy(self, template, name, oid=None):
        """Copy a database with what PostgreSQL does not copy along. :param oid: the copy's own, where something names it by that."""
        numbered = sql.SQL(" OID {}").format(sql.Literal(oid)) if oid else sql.SQL("")
        self.pg.execute(
            sql.SQL("CREATE DATABASE {} OWNER letta TEMPLATE {} STRATEGY file_copy{}").format(
                sql.Identifier(name), sql.Identifier(template), numbered
            )
        )
        self.pg.execute(sql.SQL("ALTER DATABASE {} SET search_path TO letta").format(sql.Identifier(name)))

    def take_set(self, database):
        """Take a set of a database; returns its folder, to be copied from."""
        world = World(self.pg, database, self.folder / ("set-of-" + database))
        os.makedirs(world.root, 0o700, exist_ok=True)
        return Path(world.root) / world.backup()["id"]

    def scene(self, live=WRITTEN, sets=None):
        """Return a target: its live database a copy of ``live`` (None: not yet), its store with links to the files of these sets."""
        shutil.rmtree(self.folder / "point", ignore_errors=True)  # of a point that was broken off
        folder = self.folder / "point"  # always the same: journals name it
        (folder / "tmp").mkdir(parents=True)
        world = World(self.pg, LIVE, folder)
        os.makedirs(world.root, 0o700)
        for source in [self.set_dir] if sets is None else sets:
            shutil.copytree(source, Path(world.root) / source.name, copy_function=os.link)
        scene = Scene(world, Service(world), folder / "tmp")
        if live:
            self.copy(live, LIVE)
            if live not in self._prints:
                self._prints[live] = world.fingerprint()
            scene.old = dict(self._prints[live], oid=world.databases()[LIVE])
        return scene

    def clear(self, scene):
        """Remove everything of a point."""
        if not self.pg.running():
            self.pg.start()
        for name in scene.world.databases():
            self.pg.drop_database(name)
        shutil.rmtree(scene.folder)
