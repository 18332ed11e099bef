"""Pytest fixtures of the lab: real servers for tests, started once per session."""
from __future__ import annotations

import secrets
import warnings

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import find_tools

from . import servers
from .engine import DockerEngine, unavailable
from .letta import LettaServer, migrate
from .openai_stub import OpenAIStub
from .pg0 import rich_tools
from .postgres import EmbeddedPostgres
from .sample import fill
from .seed import SAMPLE_KEY
from .valkey import EmbeddedValkey

# As awkward as Letta itself can bear: it does not start when the URI needs a "%".
LETTA_PASSWORD = "letta's-lab+pass!word"


@pytest.fixture(scope="session")
def pg(tmp_path_factory):
    """A fresh PostgreSQL with pgvector (fsync off; which: see :mod:`.servers`), gone at the end of the session."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("pg"), fsync=False)
    try:
        yield server.start()
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def rich_bin_dir():
    """Folder of client tools that know zstd and lz4 besides gzip."""
    with rich_tools() as folder:
        yield folder


@pytest.fixture(scope="session")
def sound_bin_dir(pg):
    """Folder of client tools that take plain SQL: the server's own, or the default server's where those are older than its fixes."""
    own = str(pg.bin_dir)
    return str(servers.postgres("18").bin_dir) if find_tools(own).below_floor() else own


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


@pytest.fixture(scope="session")
def letta_redis(tmp_path_factory):
    """A Redis-compatible server without a password, since Letta 0.16.8 has no setting for one."""
    server = EmbeddedValkey(tmp_path_factory.mktemp("letta-redis"))
    try:
        yield server.start()
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def openai_stub():
    """The running fake of a model service."""
    with OpenAIStub() as stub:
        yield stub


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """A Docker engine of its own, gone at the end of the session with all its containers."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    engine = DockerEngine(tmp_path_factory.mktemp("engine"))
    try:
        try:
            engine.start()
        except RuntimeError as exc:
            pytest.skip("no Docker engine can be had here: %s" % exc)
        yield engine
    finally:
        engine.destroy()


@pytest.fixture(scope="session")
def letta_template(pg, tmp_path_factory):
    """Name of a database on ``pg`` with Letta 0.16.8's schema by its own migrations, and no row; never connect to it."""
    server = pg.create_letta_database("letta_template", password=LETTA_PASSWORD, schema="letta")
    migrate(server, tmp_path_factory.mktemp("letta-template"), SAMPLE_KEY)
    return server.dbname


@pytest.fixture
def letta_database(pg, letta_template):
    """Factory: ``letta_database(prefix="l")`` returns the owner's :class:`Server` in a fresh copy of ``letta_template``."""
    made = []

    def make(prefix="l"):
        made.append("%s_%s" % (prefix, secrets.token_hex(4)))
        return pg.clone_database(made[-1], letta_template, password=LETTA_PASSWORD)

    yield make
    for name in made:
        pg.drop_database(name)


@pytest.fixture(scope="session")
def _shared_letta(pg, letta_template, letta_redis, openai_stub, tmp_path_factory):
    server = pg.clone_database("letta_shared", letta_template, password=LETTA_PASSWORD)
    redis = (letta_redis.host, letta_redis.port)
    with LettaServer(tmp_path_factory.mktemp("letta"), server, openai_stub.proxy, SAMPLE_KEY, redis) as running:
        yield running


@pytest.fixture(scope="module")
def letta(pg, _shared_letta):
    """A running Letta 0.16.8 on an otherwise empty database, shared by all tests that only need some Letta."""
    pg.ensure_role("letta", LETTA_PASSWORD)  # other files give the role a password of theirs
    return _shared_letta


@pytest.fixture(scope="session")
def seeded(pg, letta_redis, tmp_path_factory):
    """A database filled through a real Letta that was killed in the middle of work, made anew (two minutes); never write to it.

    {"server": Letta's role in it, "made": ids by kind, "readback": everything as read before the kill, "seconds"}
    """
    server = pg.create_letta_database("letta_seeded", password=LETTA_PASSWORD, schema="letta")
    facts = fill(server, (letta_redis.host, letta_redis.port), tmp_path_factory.mktemp("seeded"))
    return {"server": server, **facts}
