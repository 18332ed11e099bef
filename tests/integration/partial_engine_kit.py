"""What engine-level tests of partial restores share: the shipped sample (everything a real Letta holds) as live database and as set."""
from __future__ import annotations

import json
import os
import secrets
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial import begin, ending, touched, undo
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial.carry_out import carry_out
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial.plan import Policies
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial.selection import Selection
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import load, sidedb
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.archive import open_archive
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.digest import digest_database
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import runs, stage
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import PARTIAL, Journal, list_runs
from tests.integration import partial_kit
from tests.integration.restore_kit import PASSWORD
from tests.lab import servers
from tests.lab.sample import FACTS, SETS

MADE = json.loads(FACTS.read_text(encoding="utf-8"))["made"]
AGENTS = MADE["agents"]


@dataclass
class Part:
    """A live database and a store with one set of it."""

    pg: object
    database: str
    root: str
    set_id: str
    busy_wait: int = 0
    key: str = ""

    @property
    def server(self):
        """The superuser's :class:`Server` in the maintenance database."""
        return self.pg.server(dbname="postgres")

    @property
    def live(self):
        """The superuser's :class:`Server` in the live database."""
        return self.pg.server(dbname=self.database)

    def sql(self, statement, params=None):
        """Run a statement in the live database; returns rows."""
        with closing(connect(self.live)) as conn, conn.cursor() as cursor:
            cursor.execute(statement, params)
            return cursor.fetchall() if cursor.description else []

    def delete_agent(self, *agents):
        """Delete agents as Letta does, a sleeptime partner with its manager; groups of a supervisor first, which Letta cannot."""
        for agent in agents:
            self.sql("delete from groups where manager_agent_id = %s and manager_type not in ('sleeptime', 'voice_sleeptime')", (agent,))
            partial_kit.delete_agent(self.live, agent)

    def options(self, policies=None, busy_wait=None, check=False, controller=None, backup_id=None, key=None, **rest):
        """Return :class:`PartialOptions` for this target, driven by this process, out of the sample set unless another is named.

        :param rest: ``traces``, ``upgrade``, ``why``, ``links``, ``live``, ``imported``, ``embed``, and the selection.
        """
        others = {name: rest.pop(name) for name in ("traces", "upgrade", "why", "links", "live", "imported", "embed") if name in rest}
        base = runs.RunOptions(
            root=self.root, host="db1", database=self.database, owner="letta", bin_dir=servers.bin_dir_of_samples(),
            controller=controller or processes.identity(), check=check, backup_id=backup_id or self.set_id,
            encryption_key=self.key if key is None else key,
        )
        wanted = Selection(**{name: tuple(value) if isinstance(value, list) else value for name, value in rest.items()})
        return begin.PartialOptions(
            base, wanted, Policies(**(policies or {})), busy_wait=self.busy_wait if busy_wait is None else busy_wait, **others
        )

    def plan(self, **wanted):
        """Plan only; the run stays open unless ``check``."""
        return begin.plan(self.server, self.options(**wanted))

    def restore(self, **wanted):
        """Plan, apply and finish; returns (plan, outcome) with outcome None when there was nothing to do."""
        options = self.options(**wanted)
        return self._carry_out(begin.plan(self.server, options), options)

    def _carry_out(self, begun, options):
        if not begun["run_dir"]:
            return begun["plan"], None
        try:
            return begun["plan"], self.carry_out(begun, options)
        except BaseException:
            self.fail(begun)
            raise

    def carry_out(self, begun, options=None):
        """Apply a plan and finish; returns the outcome with what it touched."""
        journal = Journal.load(begun["run_dir"])
        outcome = carry_out(self.server, self.database, journal, options or self.options())
        ending.finish(self.server, self.root, journal)
        return dict(outcome, **touched.of(journal))

    def fail(self, begun):
        """End a run that failed; returns what is true then."""
        return ending.fail(self.server, self.root, Journal.load(begun["run_dir"]), {})

    def undo(self, restore_id=None):
        """Take a run back, by default the last that succeeded; returns (plan, outcome)."""
        options = self.options()
        last = [item for item in list_runs(os.path.join(self.root, runs.RUNS), PARTIAL)[0] if item.data["status"] == "succeeded"]
        begun = undo.begin(self.server, options, restore_id or last[-1].run_id)
        return self._carry_out(begun, options)

    def take_set(self):
        """Take a set of the live database; returns its id."""
        return take.take_backup(take.BackupOptions(server=self.live, root=self.root, bin_dir=str(self.pg.bin_dir), jobs=1))["id"]

    def contents(self):
        """Return {table: (rows, digest)} of the live database."""
        return {name: (item.rows, item.digest) for name, item in digest_database(self.live).items()}


def differing(before, after):
    """Return the names of tables whose content differs."""
    return sorted(name for name in set(before) | set(after) if before.get(name) != after.get(name))


def renew_tools(part, which):
    """Give tools other ids, as another server has made them."""
    part.sql(
        "begin; set session_replication_role = replica;"
        " create temporary table renewed on commit drop as select id as old, 'tool-' || gen_random_uuid() as new from tools where %s;"
        " update tools set id = new from renewed where id = old; update tools_agents set tool_id = new from renewed where tool_id = old;"
        " commit" % which
    )


def load_sample(pg):
    """Make a database with the sample's content, to be cloned; returns its name. Never connect to it."""
    set_dir = next(path for path in SETS.iterdir() if path.name.startswith("lb-"))
    manifest = manifests.load(str(set_dir))
    server = pg.create_letta_database("partial_sample", password=PASSWORD, schema="letta")
    pg.drop_database(server.dbname)
    admin = pg.server(dbname="postgres")
    sidedb.create_side_database(admin, server.dbname, "letta", manifest["database"])
    tools = stage.tools_for(manifest, servers.bin_dir_of_samples())
    load.load_archive(admin, server.dbname, open_archive(stage.archive_path(str(set_dir), manifest), tools), tools, "letta")
    return server.dbname


def store_sample(root):
    """Make a store with the sample's set; returns the set's id."""
    set_dir = next(path for path in SETS.iterdir() if path.name.startswith("lb-"))
    os.makedirs(root, 0o700)
    shutil.copytree(set_dir, root / set_dir.name)
    for path in Path(root).rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return set_dir.name


@pytest.fixture(scope="session")
def sample_live(pg):
    """Name of a database with the sample's content, to be cloned; never connect to it."""
    return load_sample(pg)


@pytest.fixture
def part(pg, sample_live, tmp_path):
    """A live database equal to the sample set, and that set in a store."""
    name = "part_%s" % secrets.token_hex(4)
    set_id = store_sample(tmp_path / "store")
    pg.clone_database(name, sample_live, password=PASSWORD)
    yield Part(pg, name, str(tmp_path / "store"), set_id)
    for (existing,) in query(pg.server(dbname="postgres"), "SELECT datname FROM pg_database"):
        if existing.startswith(name):
            pg.drop_database(existing)
