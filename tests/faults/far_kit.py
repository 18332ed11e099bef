"""A Letta database at the other end of a line, and restores over that line by the engine, in the process of the tests."""
from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import replace

from psycopg2 import sql

from tests.faults import engine_kit
from tests.integration.partial_engine_kit import Part
from tests.integration.restore_kit import ADMIN, ADMIN_PASSWORD, PASSWORD, World, fill, install_schema
from tests.lab import places, wire
from tests.lab.postgres import EmbeddedPostgres

DATABASE = "lr_far"
_ALLOWED = "host all all %s/30 scram-sha-256\n" % wire.NEAR


class FarWorld(World):
    """A target whose server has the address of the far end, which is also right there."""

    @property
    def admin(self):
        return replace(super().admin, host=wire.FAR)


class FarPart(Part):
    """A target of partial restores, and its store; its server has the address of the far end."""

    @property
    def server(self):
        return replace(super().server, host=wire.FAR)

    @property
    def live(self):
        return replace(super().live, host=wire.FAR)


def start_server(folder):
    """Start a PostgreSQL with a small Letta database; to be called at the far end."""
    addresses = "%s,%s" % (places.LOOPBACK, wire.FAR)
    pg = EmbeddedPostgres(folder, fsync=False, settings={"listen_addresses": addresses}).start()
    with open(pg.data_dir / "pg_hba.conf", "a", encoding="utf-8") as rules:
        rules.write(_ALLOWED)
    pg.execute("SELECT pg_reload_conf()")
    pg.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(sql.Identifier(ADMIN), sql.Literal(ADMIN_PASSWORD)))
    server = pg.create_letta_database(DATABASE, password=PASSWORD, schema="letta")
    install_schema(server)
    fill(server)
    return pg


def restore(world):
    """Restore the newest set."""
    engine_kit.restore(world, engine_kit.Service(world), world.run_options())


class AtWork(threading.Thread):
    """Something done at the near end, beside the test; ``error`` is what it ended with, ``seconds`` how long it took."""

    def __init__(self, line, work, *arguments):
        super().__init__(daemon=True)
        self._line, self._work, self._arguments, self.error, self.seconds = line, work, arguments, None, 0.0
        self.start()

    def run(self):
        began = time.monotonic()
        try:
            with self._line.near():
                self._work(*self._arguments)
        except Exception as error:  # noqa: BLE001 (for the test to judge)
            self.error = error
        self.seconds = time.monotonic() - began

    def ended_within(self, seconds):
        """Wait for the end; returns whether it came in time."""
        self.join(seconds)
        return not self.is_alive()


@contextmanager
def mended_afterwards(line):
    """Make a line a perfect one again, whatever was done to it."""
    try:
        yield line
    finally:
        line.shape()
