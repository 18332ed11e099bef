"""The test bed of partial restores: a real Letta with a rich agent, a backup set of it, clones, damage, and what must not change.

``bed`` (session) seeds once and keeps its Letta running; ``bed.reset()`` puts the database under that running Letta back to what
was seeded, ``bed.clone()`` makes a copy that no Letta knows. Load on other agents: :class:`tests.lab.traffic.Traffic`.
"""
from __future__ import annotations

import os
import secrets
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import entities
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import catalog
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server, connect, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.digest import digest_database
from tests.lab.fixtures import LETTA_PASSWORD
from tests.lab.letta import LettaServer
from tests.lab.readback import agent_state, differences  # noqa: F401  (part of the kit)
from tests.lab.rich_seed import NEIGHBOURS, WALKERS, RichSeeder
from tests.lab.seed import SAMPLE_KEY
from tests.lab.traffic import Traffic  # noqa: F401  (part of the kit)
from tests.lab.valkey import EmbeddedValkey

LIVE, TEMPLATE = "partial_live", "partial_template"
QUIET = ("support-bot", *NEIGHBOURS, "sleeper", "sleeper's partner", "boss", "worker one", "worker two", "odd")

# Whose row it is, where no agent's id is in it: the column that names the shared thing.
_THINGS = {
    "archives": "id", "archival_passages": "archive_id", "passage_tags": "archive_id",
    "block": "id", "block_history": "block_id", "blocks_tags": "block_id", "blocks_conversations": "conversation_id",
    "sources": "id", "files": "source_id", "file_contents": "file_id", "source_passages": "source_id",
    "groups": "id", "groups_blocks": "group_id", "identities": "id", "identities_blocks": "identity_id",
}
# Which ids follow from some agents: what is theirs in any case, and things to which nobody else has a link.
_OWN = """
WITH links AS (
    SELECT archive_id AS thing, agent_id AS who FROM archives_agents
    UNION ALL SELECT source_id, agent_id FROM sources_agents
    UNION ALL SELECT identity_id, agent_id FROM identities_agents
    UNION ALL SELECT block_id, agent_id FROM blocks_agents
    UNION ALL SELECT b.block_id, c.agent_id FROM blocks_conversations b JOIN conversations c ON c.id = b.conversation_id
    UNION ALL SELECT b.block_id, coalesce(g.manager_agent_id, 'nobody') FROM groups_blocks b JOIN groups g ON g.id = b.group_id
    UNION ALL SELECT block_id, coalesce(a.agent_id, 'nobody') FROM identities_blocks LEFT JOIN identities_agents a USING (identity_id)
    UNION ALL SELECT m.group_id, m.agent_id FROM groups_agents m JOIN groups g ON g.id = m.group_id AND g.manager_agent_id IS NULL
), own AS (
    SELECT thing FROM links GROUP BY thing HAVING bool_and(who = ANY(%(agents)s))
    UNION SELECT id FROM conversations WHERE agent_id = ANY(%(agents)s)
    UNION SELECT id FROM groups WHERE manager_agent_id = ANY(%(agents)s)
    UNION SELECT unnest(%(agents)s)
)
SELECT thing FROM own UNION SELECT id FROM files WHERE source_id IN (SELECT thing FROM own)
"""


def belongings(server, agent_ids):
    """Return the set of ids of agents and of what only they use (archives, folders, files, blocks, identities, conversations, groups).

    Ask before the agents are damaged: what nobody uses is nobody's.
    """
    return {thing for (thing,) in query(server, _OWN, {"agents": list(agent_ids)})}


def foreign_rows(server, mine=()):
    """Return {table: {owner: (rows, digest)}} of every row that is none of ``mine`` (see :func:`belongings`), in one snapshot.

    Compare two with :func:`differences`: a sentence names table and owner. Rows are told apart by the agent's id where they
    have one, else by the archive, block, folder, file, group, conversation or identity; rows of all other tables (tools, providers,
    jobs …) are foreign, digested as a whole. For a database under traffic let ``mine`` hold what the agents under traffic have, too.

    What it does not see: sequences; *which* of its own rows a table lost when ``mine`` has some; links between two things are
    counted with one of them only (``groups_agents`` and other links of agents with the agent, ``blocks_conversations`` with the
    conversation, ``groups_blocks`` with the group, ``identities_blocks`` with the identity); rows without the owner's id
    (``steps`` with ``agent_id`` NULL) count as everybody's.
    """
    columns, found = {}, {}
    for schema, table, column in query(server, "SELECT table_schema, table_name, column_name FROM information_schema.columns"):
        columns.setdefault("%s.%s" % (schema, table), set()).add(column)
    tables = [name for name in digest_tables(server) if entities.bare_name(name) in entities.TABLES]
    groups = {name: _THINGS.get(entities.bare_name(name)) or entities.agent_group_column(name, columns[name]) for name in tables}
    for name, digest in digest_database(server, groups={name: column for name, column in groups.items() if column}).items():
        whose = digest.groups if groups.get(name) else {"": (digest.rows, digest.digest)}
        found[entities.bare_name(name)] = {owner: item for owner, item in whose.items() if owner not in mine}
    return found


def digest_tables(server):
    """Return the names ("schema.table") of the ordinary tables."""
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        return ["%s.%s" % row[:2] for row in catalog.read_tables(cursor) if row[2] == "r"]


# -- damage --------------------------------------------------------------------------------------------------


def run_sql(server, *statements, **params):
    """Run statements in one transaction; ``%(name)s`` are the parameters."""
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute("BEGIN")
        for statement in statements:
            cursor.execute(statement, params)
        cursor.execute("COMMIT")


def delete_agent(server, agent_id):
    """Delete an agent as ``DELETE /v1/agents/{id}`` of 0.16.8 does: with its sleeptime group and partner, runs, steps, messages.

    Blocks, archives, folders, identities, traces stay. As in Letta it fails for the manager of another kind of group
    (foreign key): :func:`delete_groups` first. Not for a sleeptime partner itself, of which Letta also tells the manager.
    """
    whose = ("SELECT %(agent)s UNION SELECT m.agent_id FROM groups g JOIN groups_agents m ON m.group_id = g.id"
             " WHERE g.manager_agent_id = %(agent)s AND g.manager_type IN ('sleeptime', 'voice_sleeptime')")
    ids = [who for (who,) in query(server, whose, {"agent": agent_id})]
    runs = "(SELECT id FROM runs WHERE agent_id = ANY(%(ids)s))"
    run_sql(
        server,
        "DELETE FROM groups WHERE manager_agent_id = %(agent)s AND manager_type IN ('sleeptime', 'voice_sleeptime')",
        "DELETE FROM messages WHERE run_id IN " + runs, "DELETE FROM steps WHERE run_id IN " + runs,
        "DELETE FROM runs WHERE agent_id = ANY(%(ids)s)", "DELETE FROM agents_tags WHERE agent_id = ANY(%(ids)s)",
        "DELETE FROM agents WHERE id = ANY(%(ids)s)", agent=agent_id, ids=ids,
    )  # fmt: skip


def delete_groups(server, manager_id):
    """Delete the groups that an agent manages; their members stay."""
    run_sql(server, "DELETE FROM groups WHERE manager_agent_id = %(agent)s", agent=manager_id)


def delete_messages(server, agent_id):
    """Delete the newer half of an agent's messages; ``message_ids`` goes on naming them."""
    run_sql(server, "DELETE FROM messages WHERE agent_id = %(agent)s AND sequence_id > (SELECT percentile_disc(0.5) WITHIN GROUP"
                    " (ORDER BY sequence_id) FROM messages WHERE agent_id = %(agent)s)", agent=agent_id)


def change_blocks(server, agent_id):
    """Overwrite every block of an agent, shared ones included, as a later write of Letta would (version raised)."""
    run_sql(server, "UPDATE block SET value = 'damaged', version = version + 1, updated_at = now()"
                    " WHERE id IN (SELECT block_id FROM blocks_agents WHERE agent_id = %(agent)s)", agent=agent_id)


def detach_blocks(server, agent_id):
    """Take all blocks away from an agent; the blocks stay."""
    run_sql(server, "DELETE FROM blocks_agents WHERE agent_id = %(agent)s", agent=agent_id)


# -- the bed -------------------------------------------------------------------------------------------------


@dataclass
class Bed:
    """What was seeded, its backup set, and the running Letta.

    :param made: {kind: {key: id}}, see :class:`RichSeeder`. :param root: the store. :param set_dir: the set in it.
    :param key: LETTA_ENCRYPTION_KEY of everything here. :param seconds: {step: s} of the preparation.
    """

    pg: object
    letta: LettaServer
    redis: EmbeddedValkey
    made: dict
    root: str
    set_dir: Path
    seconds: dict
    key: str = SAMPLE_KEY

    def agent(self, name):
        """Return the id of a seeded agent."""
        return self.made["agents"][name]

    @property
    def walkers(self):
        """The ids of the agents that are there for traffic."""
        return [self.agent(name) for name in WALKERS]

    @property
    def live(self) -> Server:
        """The superuser's :class:`Server` in the database of the running Letta."""
        return self.pg.server(dbname=LIVE)

    def reset(self):
        """Put the seeded state back under the running Letta, which connects anew by itself; its Redis is emptied."""
        self.pg.drop_database(LIVE)
        self.pg.clone_database(LIVE, TEMPLATE, password=LETTA_PASSWORD)
        self.redis.client().flushall()

    def clone(self, name=None):
        """Return Letta's role's :class:`Server` in a fresh copy of the seeded database; the caller drops it."""
        return self.pg.clone_database(name or "partial_%s" % secrets.token_hex(4), TEMPLATE, password=LETTA_PASSWORD)


@pytest.fixture(scope="session")
def bed(pg, letta_template, openai_stub, tmp_path_factory):
    """The running Letta on a database filled by :class:`RichSeeder`, a template of it and a backup set of that; see :class:`Bed`.

    The role "letta" gets the password ``LETTA_PASSWORD``; other kits give it theirs, after which ``reset()`` is needed.
    """
    folder, marks = tmp_path_factory.mktemp("bed"), [("", time.monotonic())]
    server = pg.clone_database(LIVE, letta_template, password=LETTA_PASSWORD)
    redis = EmbeddedValkey(folder / "redis").start()
    letta = LettaServer(folder / "letta", server, openai_stub.proxy, SAMPLE_KEY, (redis.host, redis.port), pooled=True)
    try:
        letta.start()
        marks.append(("start", time.monotonic()))
        made = RichSeeder(letta, openai_stub).everything()
        marks.append(("seed", time.monotonic()))
        # The pool's connections stand in the way of a template.
        pg.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", params=(LIVE,))
        pg.clone_database(TEMPLATE, LIVE, password=LETTA_PASSWORD)
        root = folder / "store"
        os.makedirs(root, 0o700)
        options = take.BackupOptions(pg.server(dbname=TEMPLATE), str(root), jobs=1, bin_dir=str(pg.bin_dir), letta_version="0.16.8",
                                     encryption_key=SAMPLE_KEY)  # fmt: skip
        manifest = take.take_backup(options)
        marks.append(("template and set", time.monotonic()))
        seconds = {name: round(at - before, 1) for (_, before), (name, at) in zip(marks, marks[1:])}
        yield Bed(pg, letta, redis, made, str(root), root / manifest["id"], seconds)
    finally:
        letta.kill()
        redis.destroy()
        for name in (LIVE, TEMPLATE):
            pg.drop_database(name)


@pytest.fixture
def fresh_bed(bed):
    """The bed with the seeded state under its running Letta."""
    bed.reset()
    return bed


@pytest.fixture
def clone(bed):
    """Factory: ``clone()`` returns Letta's role's :class:`Server` in a fresh copy of the seeded database; gone after the test."""
    made = []

    def make():
        made.append(bed.clone())
        return made[-1]

    yield make
    for server in made:
        bed.pg.drop_database(server.dbname)
