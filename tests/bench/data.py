"""A Letta 0.16.8 database of a wanted size, made by the server itself in seconds."""
from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect, query
from tests.bench import ROOT

SCHEMA_FILE = ROOT / "tests" / "integration" / "letta-0.16.8-schema.sql"
FILL_FILE = Path(__file__).with_name("fill.sql")
# 750 MB hold 300 000 messages, 15 000 passages of 4 096 dimensions and 300 agents.
MESSAGES_PER_MB = 400
PASSAGES_PER_MB = 20
MESSAGES_PER_AGENT = 1000
_FIRST_CONSTRAINT = re.compile(r"^ALTER TABLE ONLY \S+\n\s+ADD CONSTRAINT", re.MULTILINE)


def counts(size_mb):
    """Return the numbers of agents, messages and passages of a database of about ``size_mb`` MB."""
    messages = int(size_mb * MESSAGES_PER_MB)
    return {"agents": max(3, messages // MESSAGES_PER_AGENT), "messages": messages, "passages": int(size_mb * PASSAGES_PER_MB)}


def fill_statements(numbers):
    """Return the statements of ``fill.sql`` with its ``:names`` replaced."""
    text = FILL_FILE.read_text(encoding="utf-8")
    return re.sub(r"(?<![:\w]):(agents|messages|passages)\b", lambda match: str(int(numbers[match.group(1)])), text)


def make_database(postgres, name, password, size_mb):
    """Create the database ``name`` as Letta leaves it, in schema ``letta``, filled, indexed and analysed.

    :param postgres: :class:`tests.lab.postgres.EmbeddedPostgres`.
    :returns: facts: ``bytes``, ``agents``, ``messages``, ``passages``, ``tables``, ``rows``.
    """
    server = postgres.create_letta_database(name, password=password, schema="letta")
    numbers = counts(size_mb)
    schema = SCHEMA_FILE.read_text(encoding="utf-8")
    split = _FIRST_CONSTRAINT.search(schema).start()
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute(schema[:split])
        cursor.execute(fill_statements(numbers))
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
