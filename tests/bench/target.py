"""One database of the bench: what is done to it, and what each doing costs."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from psycopg2 import sql

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.process import run_tool
from tests.bench import ROOT, data
from tests.bench.prober import Prober, longest_gap

BARE = "bench_bare"
ANSIBLE_PLAYBOOK = str(Path(sys.executable).with_name("ansible-playbook"))
CALLBACKS = Path(__file__).with_name("callback")
# The state the commands tell about is a file: nothing is started or stopped.
SERVICE = """#!/bin/sh
case "$1" in
start) : >"$0.running" ;;
stop) rm -f "$0.running" ;;
status) test -e "$0.running" ;;
esac
"""


class Target:
    """A database of one size with a store, an inventory and a service of its own.

    :param postgres: running :class:`tests.lab.postgres.EmbeddedPostgres`. :param folder: a new folder for its files.
    :param shape: of :data:`data.SHAPES`. :param password: of the role that owns the databases, one for all of them.
    :param tools: :class:`Tools` for both sides of every comparison. :param jobs: parallel workers, the same on both sides.
    """

    owner = "letta"

    def __init__(self, postgres, folder, name, size_mb, password, tools, jobs, compression, shape="mixed"):
        self.postgres, self.folder, self.name, self.size_mb, self.shape = postgres, Path(folder), name, size_mb, shape
        self.tools, self.jobs, self.compression = tools, jobs, compression
        self.password = password
        self.root = self.folder / "store"
        self.facts = {}
        self.bare_dump = self.folder / "bare-dump"
        self.set_dir = None  # of the newest set, once one was taken

    @property
    def wanted(self):
        """The name of the agent that comes back alone."""
        return data.wanted_agent(self.facts)

    @property
    def admin(self):
        """The superuser's Server in the maintenance database."""
        return self.postgres.server()

    def prepare(self):
        """Make the database unless one of this size is there already; an empty store; the service's script."""
        self.folder.mkdir(parents=True)
        self.root.mkdir(mode=0o700)
        if self._databases(self.name):
            self.postgres.ensure_role(self.owner, self.password)
            self.facts = dict(data.counts(self.size_mb, self.shape), **data.facts(self.postgres, self.name))
        else:
            self.facts = data.make_database(self.postgres, self.name, self.password, self.size_mb, self.shape)
        service = self.folder / "service"
        service.write_text(SERVICE, encoding="ascii")
        service.chmod(0o700)
        (self.folder / "service.running").touch()

    def tidy(self):
        """Drop every database but the live one, and settle what was written, so that the next measurement pays for itself only."""
        for name in self._databases():
            self.postgres.drop_database(name)
        self.postgres.execute("CHECKPOINT")

    def _databases(self, name=None):
        if name:
            return self.postgres.execute("SELECT datname FROM pg_database WHERE datname = %s", params=(name,))
        rows = self.postgres.execute(
            "SELECT datname FROM pg_database WHERE datname = %s OR datname LIKE %s", params=(BARE, self.name + "\\_\\_%")
        )
        return [row[0] for row in rows]

    # -- the measurements: each returns {figure: value} ---------------------------------------------------------

    def backup(self, **changes):
        """Take a set by the engine; the sets before it are removed. :param changes: of :class:`BackupOptions`."""
        outcome = self._work("backup", **changes)
        for entry in self.root.iterdir():
            if entry.name.startswith("lb-") and entry.name != outcome["id"]:
                shutil.rmtree(entry)
        self.set_dir = self.root / outcome["id"]
        return dict(outcome["seconds"], memory_backup=outcome["peak_memory_bytes"])

    def pg_dump(self):
        """Dump by pg_dump alone."""
        shutil.rmtree(self.bare_dump, ignore_errors=True)
        argv = [self.tools.path("pg_dump"), "-Fd", "-j%d" % self.jobs, "--compress=%s" % self.compression, "-f", self.bare_dump]
        return {"pg_dump": self.clocked(argv, self.name)}

    def restore(self):
        """Restore by the engine, over the live database."""
        outcome = self._work("restore")
        if outcome["unequal"] or outcome["failed_checks"]:
            raise RuntimeError("the restored database is not what was saved: %s" % outcome)
        return dict(outcome["seconds"], memory_restore=outcome["peak_memory_bytes"])

    def pg_restore(self):
        """Load what pg_dump alone has dumped by pg_restore alone into an empty database."""
        if not self.bare_dump.exists():
            self.pg_dump()
        self.empty_database()
        return {"pg_restore": self.load_archive(self.bare_dump)}

    def playbook(self):
        """Restore by ``restore-full.yml`` while a prober reads the agents of the live database."""
        log, output = self.folder / "tasks.jsonl", self.folder / "playbook.log"
        log.unlink(missing_ok=True)
        with Prober(self.postgres.server(self.owner, self.password, self.name), self.folder / "reads.jsonl") as prober:
            time.sleep(0.5)  # reads of before, for the gap to begin at
            began = time.perf_counter()
            memory = self.play([ROOT / "playbooks" / "restore-full.yml", "-i", self._inventory()], output, log)
            seconds = time.perf_counter() - began
            time.sleep(0.5)
        tasks = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        swap = _task(tasks, "database_swap")
        loaded = _task(tasks, "pg_restore")
        report = json.loads((self.folder / "reports" / "latest" / "report.json").read_text(encoding="utf-8"))
        gap = longest_gap(prober.reads, swap["began"], swap["ended"])
        return {
            "playbook": seconds,
            "playbook.stage": sum(loaded["seconds"].values()),
            "playbook.validate": _task(tasks, "letta_validate")["seconds"],
            "downtime_reads": gap,
            "downtime_servers": report["downtime_seconds"],
            "memory_pg_restore": loaded["peak_memory_bytes"],
            "memory_playbook": memory,
        }

    def staged(self, undone=None):
        """Stage the newest set by the engine, and no more. :param undone: one of its choices, see :func:`choices.undo`."""
        outcome = self._work("stage", undone=undone)
        if outcome["unequal"]:
            raise RuntimeError("the staged database is not what was saved: %s" % outcome)
        return outcome["seconds"]

    # -- for whoever measures something else -----------------------------------------------------------------------

    def empty_database(self):
        """Make the empty database that tools alone load into."""
        self.postgres.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(BARE)))
        self.postgres.execute("DROP SCHEMA public", BARE)
        self.postgres.execute("CHECKPOINT")

    def load_archive(self, path):
        """Return the seconds that ``pg_restore -j`` of an archive takes into the empty database."""
        return self.clocked([self.tools.path("pg_restore"), "-j%d" % self.jobs, "--exit-on-error", "-d", BARE, path], BARE)

    def clocked(self, argv, database):
        """Return the seconds that a client tool takes."""
        began = time.perf_counter()
        run_tool(argv, self.admin.database(database))
        return time.perf_counter() - began

    def play(self, argv, output, log, **settings):
        """Run a playbook to its end.

        :param argv: the playbook and options. :param log: file for the times of its tasks. :param settings: environment beside ours.
        :returns: the peak memory of the largest process of it on the controller, in bytes.
        """
        environment = {
            **os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "bench_tasks", "LETTA_BENCH_TASKS": str(log),
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "ansible"), **settings,
        }  # fmt: skip
        argv = [ANSIBLE_PLAYBOOK, *map(str, argv)]
        with open(output, "w", encoding="utf-8") as stream:
            process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT)
            _pid, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError("the playbook failed:\n%s" % output.read_text(encoding="utf-8")[-4000:])
        return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    # -- inside -------------------------------------------------------------------------------------------------

    def _work(self, what, **changes):
        job = dict(
            do=what, server=asdict(self.admin), database=self.name, owner=self.owner, root=str(self.root), jobs=self.jobs,
            compression=self.compression, bin_dir=self.tools.bin_dir, vectors="binary", undone=None,
        )
        job.update(changes)
        argv = [sys.executable, "-m", "tests.bench.worker"]
        done = subprocess.run(argv, input=json.dumps(job), cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError("the engine's %s failed:\n%s" % (what, done.stderr[-3000:]))
        return json.loads(done.stdout)

    def _inventory(self):
        service = str(self.folder / "service")
        variables = dict(
            ansible_connection="local", ansible_python_interpreter=sys.executable, letta_db_host=self.admin.host,
            letta_db_port=self.admin.port, letta_db_name=self.name, letta_db_user=self.owner, letta_db_password=self.password,
            letta_db_admin_user=self.admin.user, letta_db_admin_password=self.admin.password, letta_db_ssl_mode="disable",
            letta_backup_root=str(self.root), letta_pg_bin_dir=self.tools.bin_dir, letta_restore_jobs=self.jobs,
            # The prober reads on purpose while no server runs; nobody else is there to be found.
            letta_foreign_sessions="terminate",
            letta_restore_force=True, letta_report_dir=str(self.folder / "reports"), letta_confirm="bench/" + self.name,
            letta_service_manager="command", letta_service_start=[service, "start"], letta_service_stop=[service, "stop"],
            letta_service_status=[service, "status"],
        )
        groups = {group: {"hosts": {"bench": {}}} for group in ("letta_database", "letta_servers", "letta_store")}
        path = self.folder / "hosts.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"all": {"hosts": {"bench": variables}, "children": groups}}), encoding="utf-8")
        return path


def _task(tasks, module):
    """Return the line of the task that ran a module of ours in earnest."""
    found = [task for task in tasks if task["module"] == "letta_ops.recovery." + module and not task["rehearsed"]]
    if len(found) != 1:
        raise RuntimeError("%d tasks of the playbook ran %s" % (len(found), module))
    return found[0]
