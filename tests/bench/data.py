"""A Letta 0.16.8 database of a wanted size, made by the server itself in seconds."""
from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect, query
from tests.bench import ROOT

SCHEMA_FILE = ROOT / "tests" / "integration" / "letta-0.16.8-schema.sql"
FILL_FILE = Path(__file__).with_name("fill.sql")
# 750 MB hold 300 000 messages, 15 000 passages of 4 096 dimensions and 300 agents; beside them the one that comes back alone.
SHAPES = {"mixed": (400, 20), "vectors": (66, 40), "messages": (420, 1), "agent": (400, 20)}  # messages and passages in a MB
MESSAGES_PER_AGENT = 1000
# Of the last agent, whatever the size; in the shape "agent" it is a large one.
OWN = {"own_messages": 600, "own_passages": 30}
LARGE_OWN = {"own_messages": 3000, "own_passages": 2000}
_FIRST_CONSTRAINT = re.compile(r"^ALTER TABLE ONLY \S+\n\s+ADD CONSTRAINT", re.MULTILINE)


def counts(size_mb, shape="mixed"):
    """Return the numbers of agents, messages and passages of a database of about ``size_mb`` MB, the last agent's among them.

    :param shape: of :data:`SHAPES`.
    """
    messages, passages = (int(size_mb * number) for number in SHAPES[shape])
    agents = max(3, messages // MESSAGES_PER_AGENT)
    mine = own(shape)
    return {"agents": agents + 1, "messages": messages + mine["own_messages"], "passages": passages + mine["own_passages"]}


def own(shape):
    """Return what the last agent has."""
    return LARGE_OWN if shape == "agent" else OWN


def wanted_agent(numbers):
    """Return the name of the last agent, given what :func:`counts` returned."""
    return "agent-%d" % (numbers["agents"] - 1)


def fill_statements(numbers, shape="mixed"):
    """Return the statements of ``fill.sql`` with its ``:names`` replaced."""
    text = FILL_FILE.read_text(encoding="utf-8")
    values = dict(own(shape), **numbers)
    return re.sub(r"(?<![:\w]):((own_)?(messages|passages)|agents)\b", lambda match: str(int(values[match.group(1)])), text)


def make_database(postgres, name, password, size_mb, shape="mixed"):
    """Create the database ``name`` as Letta leaves it, in schema ``letta``, filled, indexed and analysed.

    :param postgres: :class:`tests.lab.postgres.EmbeddedPostgres`.
    :returns: facts: ``bytes``, ``agents``, ``messages``, ``passages``, ``tables``, ``rows``.
    """
    server = postgres.create_letta_database(name, password=password, schema="letta")
    numbers = counts(size_mb, shape)
    schema = SCHEMA_FILE.read_text(encoding="utf-8")
    split = _FIRST_CONSTRAINT.search(schema).start()
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute(schema[:split])
        cursor.execute(fill_statements(numbers, shape))
        cursor.execute(schema[split:])
    # VACUUM as on a database that has lived: else the first reader pays for setting hint bits.
    postgres.execute("VACUUM ANALYZE", name)
    return dict(numbers, **facts(postgres, name))


def facts(postgres, name):
    """Return ``bytes``, ``tables`` and ``rows`` of a database."""
    admin = postgres.server(dbname=name)
    counted = "SELECT count(*), sum(reltuples)::bigint FROM pg_class WHERE relkind = 'r' AND relnamespace = 'letta'::regnamespace"
    tables, rows = query(admin, counted)[0]
    return {"bytes": query(admin, "SELECT pg_database_size(current_database())")[0][0], "tables": tables, "rows": rows}
