"""Bringing one agent back: by module ``agent_restore``, and as people do without it, with a scratch database and COPY."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect
from tests.bench import ROOT, data, effort
from tests.bench.lines import CPU
from tests.bench.target import BARE

# The agent's rows, so that a row comes after those it refers to: table -> which rows.
_AGENT, _BLOCKS, _ARCHIVES = "agent_id = %(agent)s", "= any(%(blocks)s)", "= any(%(archives)s)"
ROWS = {
    "agents": "id = %(agent)s",
    "agents_tags": _AGENT, "agent_environment_variables": _AGENT, "tools_agents": _AGENT, "identities_agents": _AGENT,
    "sources_agents": _AGENT, "files_agents": _AGENT,
    "block": "id " + _BLOCKS, "blocks_agents": _AGENT,
    "archives": "id " + _ARCHIVES, "archives_agents": _AGENT, "archival_passages": "archive_id " + _ARCHIVES,
    "passage_tags": "archive_id " + _ARCHIVES,
    "conversations": _AGENT, "runs": _AGENT, "run_metrics": _AGENT, "steps": _AGENT, "step_metrics": _AGENT, "messages": _AGENT,
    "conversation_messages": _AGENT,
}  # fmt: skip
# What stays when Letta deletes an agent.
LEFT = ("block", "archives", "archival_passages", "passage_tags")


class Agent:
    """The last agent of a target's database, deleted and brought back time and again.

    :param target: a prepared :class:`tests.bench.target.Target`; the backup set is taken here when it has none.
    :raises RuntimeError: later, when what came back is not what was there.
    """

    servers = ()  # process ids of servers beside PostgreSQL that work for a way

    def __init__(self, target):
        self.target = target
        if target.set_dir is None:
            target.backup()
        if not target.bare_dump.exists():  # with the agent in it
            target.pg_dump()
        with self._live() as conn, conn.cursor() as cursor:
            cursor.execute("select id from agents where name = %s", (target.wanted,))
            ((agent,),) = cursor.fetchall()
            self.ids = {"agent": agent}
            for name, link, column in (("blocks", "blocks_agents", "block_id"), ("archives", "archives_agents", "archive_id")):
                cursor.execute("select %s from %s where agent_id = %%s" % (column, link), (agent,))
                self.ids[name] = [row[0] for row in cursor.fetchall()]
        self.before = self._digests()
        rows = {table: count for table, (count, _digest) in self.before.items()}
        if not all(rows.values()) or [rows["messages"], rows["archival_passages"]] != list(data.own(target.shape).values()):
            raise RuntimeError("this is not the agent to measure: %s" % rows)
        self.rows = sum(rows.values())

    def measure_once(self, turned):
        """Measure every way once; ``turned`` lets the others go first. Returns {figure: value}."""
        sample = {}
        steps = self.steps()
        for figure, step, left in reversed(steps) if turned else steps:
            self.target.tidy()
            if left is not None:
                self._delete(left)
            with effort.measured([self.target.postgres.pid(), *self.servers]) as spent:
                sample.update(step())
            sample[figure + CPU] = spent.seconds
            sample.update(self.settle())
            if self._digests() != self.before:
                raise RuntimeError("%s: the agent's rows are not those of before" % figure)
        self.target.tidy()
        return sample

    def steps(self):
        """Return [(figure, way, the tables whose rows of this agent stay before it; None to delete nothing)]."""
        return [("partial", self.deleted, LEFT), ("wiped", self.wiped, ()), ("scratch", self.scratch, ())]

    def settle(self):
        """Tidy up after a way, which is not measured; returns what is to be told of it."""
        return {}

    def deleted(self):
        """Bring it back after it was deleted as Letta does."""
        return self._module("partial")

    def wiped(self):
        """Bring it back after its blocks, its archive and the passages in it were removed too."""
        return self._module("wiped")

    def _module(self, figure):
        """Make the three calls of ``agent_restore`` that the playbook makes; returns the figures."""
        target, sample, memory = self.target, {}, []
        given = dict(
            login_host=target.admin.host, login_port=target.admin.port, login_user=target.admin.user, login_password=target.admin.password,
            ssl_mode="disable", backup_root=str(target.root), host="bench", database=target.name, owner=target.owner,
            bin_dir=target.tools.bin_dir, controller=processes.identity(),
        )  # fmt: skip
        run_dir, parts = None, {}
        for state in ("planned", "applied", "finished"):
            wanted = dict(agents=[self.ids["agent"]], jobs=target.jobs) if state == "planned" else dict(run_dir=run_dir)
            seconds, result, looked = self._call(dict(given, state=state, **wanted))
            run_dir = run_dir or result["run"]["run_dir"]
            parts.update({"%s.%s" % (figure, part): value for part, value in looked["seconds"].items()})
            sample["%s.%s" % (figure, state)] = seconds
            memory.append(looked["peak_memory_bytes"])
            if state == "applied":
                sample[figure + ".held"] = result["applied"]["held_seconds"]
        total = sum(sample["%s.%s" % (figure, state)] for state in ("planned", "applied", "finished"))
        return dict(sample, **parts, **{figure: total, "memory_" + figure: max(memory)})

    def scratch(self):
        """Bring it back by ``pg_restore -j`` of the whole archive into a scratch database, and COPY of its rows from there."""
        loaded = self.target.pg_restore()["pg_restore"]
        began = time.perf_counter()
        with self._live() as live, closing(self._connect(BARE)) as scratch, live.cursor() as into, scratch.cursor() as out:
            for table, where in ROWS.items():
                with tempfile.TemporaryFile() as stream:
                    out.copy_expert(out.mogrify("copy (select * from %s where %s) to stdout" % (table, where), self.ids), stream)
                    stream.seek(0)
                    into.copy_expert("copy %s from stdin" % table, stream)
        copied = time.perf_counter() - began
        return {"scratch": loaded + copied, "scratch.load": loaded, "scratch.copy": copied}

    # -- inside -------------------------------------------------------------------------------------------------

    def _call(self, arguments):
        """Run the module; returns (seconds from the start of its process to its end, its result, what it was seen to do)."""
        times = self.target.folder / "module.json"
        environment = dict(os.environ, LETTA_BENCH_TIMES=str(times))
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.module"], input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}), cwd=ROOT,
            env=environment, capture_output=True, text=True,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError("agent_restore failed:\n%s\n%s" % (done.stdout[-3000:], done.stderr[-3000:]))
        return seconds, json.loads(done.stdout), json.loads(times.read_text(encoding="utf-8"))

    def _connect(self, database):
        conn = connect(self.target.admin.database(database), "letta_bench", autocommit=False)
        with conn.cursor() as cursor:
            cursor.execute("set search_path = letta")
        conn.commit()
        return conn

    def _live(self):
        return _committed(self._connect(self.target.name))

    def _delete(self, left):
        """Delete the agent's rows but those of the tables ``left``."""
        with self._live() as conn, conn.cursor() as cursor:
            for table, where in reversed(ROWS.items()):
                if table not in left:
                    cursor.execute("delete from %s where %s" % (table, where), self.ids)
        there = {table for table, (count, _digest) in self._digests().items() if count}
        if there != set(left):
            raise RuntimeError("the agent was not deleted: rows in %s" % ", ".join(sorted(there)))

    def _digests(self):
        """Return {table: (rows, digest)} of what the agent has in the live database."""
        found = {}
        with self._live() as conn, conn.cursor() as cursor:
            for table, where in ROWS.items():
                text = "select count(*), md5(string_agg(md5(t::text), '' order by md5(t::text))) from %s t where %s"
                cursor.execute(text % (table, where), self.ids)
                found[table] = cursor.fetchone()
        return found


class _committed:
    """The connection for the block: committed at its end, rolled back on an error, closed."""

    def __init__(self, conn):
        self._conn = conn

    def __enter__(self):
        return self._conn

    def __exit__(self, kind, *_info):
        if kind is None:
            self._conn.commit()
        self._conn.close()
