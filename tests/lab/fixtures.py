"""Pytest fixtures of the lab: real servers for tests, started once per session."""
from __future__ import annotations

import secrets
import warnings

import pytest

from .postgres import EmbeddedPostgres
from .valkey import EmbeddedValkey

# As awkward as Letta itself can bear: it does not start when the URI needs a "%".
LETTA_PASSWORD = "letta's-lab+pass!word"


@pytest.fixture(scope="session")
def pg(tmp_path_factory):
    """A fresh PostgreSQL 18 with pgvector (fsync off), gone at the end of the session."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("pg"), fsync=False)
    try:
        yield server.start()
    finally:
        server.destroy()


@pytest.fixture
def make_database(pg):
    """Factory of databases with unique names, dropped after the test together with all whose names begin like theirs.

    ``make_database(prefix="t")`` returns a superuser :class:`Server` in an empty database;
    ``letta=True`` returns the owner's, in one prepared as by Letta's ``init.sql`` (schema named ``schema``, else like the database).
    """
    made = []

    def make(prefix="t", letta=False, owner="letta", schema=None):
        name = "%s_%s" % (prefix, secrets.token_hex(4))
        made.append(name)
        if letta:
            return pg.create_letta_database(name, owner, LETTA_PASSWORD, schema)
        pg.execute('CREATE DATABASE "%s" TEMPLATE template0' % name.replace('"', '""'))
        return pg.server(dbname=name)

    yield make
    if not pg.running():
        warnings.warn("the test left PostgreSQL stopped: databases were not dropped", stacklevel=1)
        pg.start()
    for (existing,) in pg.execute("SELECT datname FROM pg_database"):
        if any(existing.startswith(name) for name in made):
            pg.drop_database(existing)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """A Redis-compatible server with a password, gone at the end of the session; tests choose their own database number."""
    server = EmbeddedValkey(tmp_path_factory.mktemp("redis"), password=secrets.token_hex(8))
    try:
        yield server.start()
    finally:
        server.destroy()
