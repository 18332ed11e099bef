"""What tests of restores share: a small Letta database, a real set of it, playbooks as a person runs them, what is true afterwards.

``World`` is one target: a live database (or none), a store with backup sets, an inventory, a folder of reports.
"""
from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from psycopg2 import sql

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import catalog
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server, connect, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.digest import digest_database
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import journal as journals
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import phases as restore_phases
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import runs
from tests.lab import ROOT

SCHEMA_FILE = ROOT / "tests" / "integration" / "letta-0.16.8-schema.sql"
HEAD = "1c28e167b74f"
HOST = "db1"
# Awkward for every quoting on the way, but no "%": Letta itself cannot bear one in its URI.
PASSWORD = "letta's {{ pass }} $(word)"
ADMIN = "restore_admin"
ADMIN_PASSWORD = "admin's {{ secret }} \"word\""
ANSIBLE_PLAYBOOK = str(Path(sys.executable).with_name("ansible-playbook"))

# Three agents that talk, with what hangs on them; sound by every check of Letta's data. {agents} and {messages} are numbers.
FILL = """
INSERT INTO alembic_version VALUES ('{head}');
INSERT INTO organizations (id, name, privileged_tools) VALUES ('org-00000000-0000-4000-8000-000000000000', 'org', false);
INSERT INTO users (id, name, organization_id) SELECT 'user-00000000-0000-4000-8000-000000000000', 'user', id FROM organizations;
INSERT INTO agents (id, name, organization_id, message_buffer_autoclear, llm_config, embedding_config, tool_rules, message_ids, created_at)
  SELECT 'agent-00000000-0000-4000-8000-' || lpad(n::text, 12, '0'), 'agent {{{{ ' || n || ' }}}} ''"; $(true) ' || chr(128512),
         'org-00000000-0000-4000-8000-000000000000', false,
         '{{"model": "gpt-4o-mini", "model_endpoint_type": "openai", "context_window": 8192}}', 'null', '[]', '[]',
         now() - interval '1 day' FROM generate_series(1, {agents}) n;
INSERT INTO messages (id, role, agent_id, organization_id, content, tool_calls, created_at)
  SELECT 'message-00000000-0000-4000-8000-' || lpad(n::text, 12, '0'), CASE WHEN n <= {agents} THEN 'system' ELSE 'user' END,
         'agent-00000000-0000-4000-8000-' || lpad((n % {agents} + 1)::text, 12, '0'), 'org-00000000-0000-4000-8000-000000000000',
         json_build_array(json_build_object('type', 'text', 'text', repeat(md5(n::text), 4))), '[]', now() - interval '1 day'
  FROM generate_series(1, {messages}) n ORDER BY n;
UPDATE agents a SET message_ids = (SELECT json_agg(m.id ORDER BY m.sequence_id) FROM messages m WHERE m.agent_id = a.id);
INSERT INTO block (id, value, "limit", label, is_template, organization_id, read_only)
  SELECT 'block-00000000-0000-4000-8000-' || lpad(n::text, 12, '0'), 'remembers ' || n, 5000, 'human', false,
         'org-00000000-0000-4000-8000-000000000000', false FROM generate_series(1, {agents}) n;
INSERT INTO blocks_agents (agent_id, block_id, block_label)
  SELECT replace(id, 'block-', 'agent-'), id, label FROM block;
INSERT INTO archives (id, name, organization_id, vector_db_provider)
  VALUES ('archive-00000000-0000-4000-8000-000000000000', 'archive', 'org-00000000-0000-4000-8000-000000000000', 'NATIVE');
INSERT INTO archives_agents (agent_id, archive_id, is_owner)
  VALUES ('agent-00000000-0000-4000-8000-000000000001', 'archive-00000000-0000-4000-8000-000000000000', true);
INSERT INTO archival_passages (id, text, metadata_, organization_id, archive_id, embedding)
  SELECT 'passage-00000000-0000-4000-8000-' || lpad(n::text, 12, '0'), 'passage ' || n, '{{}}',
         'org-00000000-0000-4000-8000-000000000000', 'archive-00000000-0000-4000-8000-000000000000',
         (SELECT array_agg(((n * 31 + g * 17) % 1000)::float4 / 1000 - 0.5) FROM generate_series(1, 4096) g)::vector(4096)
  FROM generate_series(1, 10) n;
"""


def install_schema(server, schema="letta"):
    """Put Letta's schema into a prepared, empty database as its owner."""
    text = SCHEMA_FILE.read_text(encoding="utf-8")
    if schema != "letta":
        quoted = '"%s"' % schema.replace('"', '""')
        text = re.sub(r"\bletta\.", lambda _match: quoted + ".", text)
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute(text)


def fill(server, agents=3, messages=300):
    """Fill an empty Letta schema with a few hundred rows; the search_path of the database finds the tables."""
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute(FILL.format(head=HEAD, agents=agents, messages=messages))


def add_writes(server, name="written later", messages=5, schema="letta"):
    """Write as Letta would after a backup: one more agent with messages, one block changed."""
    agent = "agent-%s" % secrets.token_hex(16)
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
        cursor.execute(
            "INSERT INTO agents (id, name, organization_id, message_buffer_autoclear, llm_config, message_ids, created_at)"
            " SELECT %s, %s, id, false, '{}', '[]', now() FROM organizations",
            (agent, name),
        )
        for _number in range(messages):
            cursor.execute(
                "INSERT INTO messages (id, role, agent_id, organization_id, tool_calls, created_at)"
                " SELECT %s, 'user', %s, id, '[]', now() FROM organizations",
                ("message-%s" % secrets.token_hex(16), agent),
            )
        cursor.execute("UPDATE block SET value = value || ' and more'")
    return agent


@pytest.fixture(scope="session")
def letta_shape(pg):
    """Name of a database on ``pg`` with Letta's schema in ``letta`` and a few hundred rows; never connect to it."""
    server = pg.create_letta_database("letta_shape", password=PASSWORD, schema="letta")
    install_schema(server)
    fill(server)
    make_admin(pg)
    return server.dbname


def make_admin(pg):
    """Make the role that restores, whose password wants care."""
    pg.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(sql.Identifier(ADMIN), sql.Literal(ADMIN_PASSWORD)))


@dataclass
class World:
    """One target of restores on the session's PostgreSQL, with its own store, inventory and reports."""

    pg: object
    database: str
    folder: Path
    owner: str = "letta"
    variables: dict = field(default_factory=dict)
    hosts: dict = field(default_factory=dict)
    others: dict = field(default_factory=dict)  # further groups: their hosts, all of them this machine

    @property
    def root(self):
        """The backup root."""
        return str(self.folder / "store")

    @property
    def reports(self):
        """The folder of reports."""
        return self.folder / "reports"

    @property
    def admin(self):
        """The admin's :class:`Server` in the maintenance database."""
        return Server("127.0.0.1", self.pg.port, ADMIN, ADMIN_PASSWORD, "postgres", sslmode="disable")

    @property
    def live(self):
        """The admin's :class:`Server` in the live database."""
        return self.admin.database(self.database)

    @property
    def bin_dir(self):
        """Folder of the client tools."""
        return str(self.pg.bin_dir)

    def sql(self, statement, params=None, database=None):
        """Run one statement as admin in the live database (or another); returns rows."""
        return query(self.admin.database(database or self.database), statement, params)

    # -- sets ---------------------------------------------------------------------------------------------

    def backup(self, **options):
        """Take a real backup set of the live database; returns its manifest."""
        return take.take_backup(take.BackupOptions(server=self.live, root=self.root, bin_dir=self.bin_dir, jobs=1, **options))

    def copy_set(self, source, target_root=None):
        """Copy a set folder into this store."""
        shutil.copytree(source, Path(target_root or self.root) / Path(source).name)

    # -- runs -------------------------------------------------------------------------------------------------

    def run_options(self, **changes):
        """Return engine :class:`runs.RunOptions` for this target, driven by this process."""
        wanted = dict(
            root=self.root, host=HOST, database=self.database, owner=self.owner, phases=restore_phases.PHASES,
            bin_dir=self.bin_dir, controller=processes.identity(),
        )
        return runs.RunOptions(**dict(wanted, **changes))

    def inventory(self):
        """Write the inventory; returns its path. JSON is YAML: no value needs quoting by hand."""
        base = dict(
            letta_db_host="127.0.0.1", letta_db_port=self.pg.port, letta_db_name=self.database, letta_db_user=self.owner,
            letta_db_password=PASSWORD, letta_db_admin_user=ADMIN, letta_db_admin_password=ADMIN_PASSWORD,
            letta_db_ssl_mode="disable", letta_backup_root=self.root, letta_pg_bin_dir=self.bin_dir,
            letta_report_dir=str(self.reports), letta_restore_jobs=1,
        )
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        unsafe = {name: _unsafe(value) for name, value in dict(base, **self.variables).items() if value is not None}
        hosts = {HOST: local, **{name: dict(local, **facts) for name, facts in self.hosts.items()}}
        groups = {"letta_database": {"hosts": {HOST: {}}}}
        for group, names in self.others.items():
            hosts.update(dict.fromkeys(names, local))
            groups[group] = {"hosts": {name: {} for name in names}}
        if self.hosts:
            groups["letta_servers"] = {"hosts": {name: {} for name in self.hosts}}
        path = self.folder / "hosts.yml"
        path.write_text(_yaml({"all": {"vars": unsafe, "hosts": hosts, "children": groups}}), encoding="utf-8")
        return path

    def start_play(self, playbook, *arguments, env=None, confirm=True):
        """Start a playbook as a person would; returns the running process (text pipes)."""
        extra = dict(letta_confirm="%s/%s" % (HOST, self.database)) if confirm else {}
        argv = [ANSIBLE_PLAYBOOK, "-i", str(self.inventory()), str(ROOT / "playbooks" / playbook), *arguments]
        if extra:
            vars_file = self.folder / "confirm.yml"
            vars_file.write_text(_yaml({name: _unsafe(value) for name, value in extra.items()}), encoding="utf-8")
            argv += ["-e", "@%s" % vars_file]
        environment = dict(
            os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1", ANSIBLE_FORCE_COLOR="0",
            ANSIBLE_LOCAL_TEMP=str(self.folder / "ansible"), ANSIBLE_HOME=str(self.folder / "ansible_home"),
        )
        environment.pop(journals.CRASH_VARIABLE, None)
        return subprocess.Popen(
            argv, cwd=ROOT, env=dict(environment, **(env or {})), stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )

    def play(self, playbook, *arguments, env=None, confirm=True, timeout=180):
        """Run a playbook to its end; returns :class:`Played`."""
        process = self.start_play(playbook, *arguments, env=env, confirm=confirm)
        before = self._latest()
        try:
            output, _nothing = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _nothing = process.communicate()
            raise AssertionError("%s did not end in %d s:\n%s" % (playbook, timeout, output[-4000:])) from None
        after = self._latest()
        report = json.loads(after[0].read_text(encoding="utf-8")) if after and after != before else None
        return Played(process.returncode, output, report)

    def _latest(self):
        """Return (path, moment) of the newest report.json; a later run may write over an earlier one of the same id."""
        found = self.reports.glob("*/report.json") if self.reports.is_dir() else []
        moments = [(path, path.stat().st_mtime_ns) for path in found if path.parent.name != "latest"]
        return max(moments, key=lambda item: item[1]) if moments else None

    # -- what is true --------------------------------------------------------------------------------------------

    def journals(self):
        """Return all journals of the store, oldest first; an unreadable one fails the test."""
        found, errors = journals.list_runs(os.path.join(self.root, runs.RUNS))
        assert not errors, errors
        return found

    def databases(self):
        """Return {name: oid} of the databases of this target: the live one and those named after it."""
        rows = self.sql("SELECT datname, oid::bigint FROM pg_database", database="postgres")
        stem = self.database.encode()[:24].decode("utf-8", "ignore")
        return {name: oid for name, oid in rows if name == self.database or name.startswith(stem)}

    def fingerprint(self, database=None):
        """Return everything about a database that a person could miss; None when there is none."""
        return fingerprint(self.admin, database or self.database)

    def leftovers(self, kept=()):
        """Return what no ended run may leave: side databases, locks, unfinished journals, a closed live database.

        :param kept: names of databases that are kept on purpose (old ones, undone ones).
        """
        found = []
        expected = {self.database} | set(kept)
        found += ["database %s" % name for name in self.databases() if name not in expected]
        store = Path(self.root) / runs.RUNS
        found += ["lock %s" % path.name for path in store.glob("lock-*")] if store.is_dir() else []
        found += ["temporary file %s" % path for path in store.rglob("*.tmp-*")] if store.is_dir() else []
        found += ["unfinished journal %s" % item.run_id for item in self.journals() if item.data["status"] in journals.UNFINISHED]
        closed = self.sql("SELECT 1 FROM pg_database WHERE datname = %s AND NOT datallowconn", (self.database,), "postgres")
        return found + (["%s is closed" % self.database] if closed else [])

    def kept_names(self):
        """Return the names of databases that journals say are kept."""
        kept = [item.data.get(key) or {} for item in self.journals() for key in ("previous", "undone")]
        return {item["name"] for item in kept if item.get("name") and not item.get("dropped_at")}

    def tree(self, *folders):
        """Return {path: (size, mtime)} of everything below folders, to prove that nothing was written."""
        found = {}
        for folder in folders or (self.root, self.reports):
            for path in sorted(Path(folder).rglob("*")):
                facts = path.lstat()
                found[str(path)] = (facts.st_size, facts.st_mtime_ns, facts.st_mode)
        return found


@dataclass
class Played:
    """What a playbook did: exit code, everything it printed, the report it wrote (None without one)."""

    rc: int
    output: str
    report: dict | None

    def recap(self, host=HOST):
        """Return the counts of the PLAY RECAP for a host."""
        line = re.search(r"^%s\s+: (.*)$" % re.escape(host), self.output, re.MULTILINE)
        assert line, self.output[-3000:]
        return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line.group(1))}

    def ok(self):
        """Fail with the output unless the playbook succeeded; returns self."""
        assert self.rc == 0, self.output[-6000:]
        return self

    def refused(self, failure_class):
        """Fail unless the playbook failed with this class; returns self."""
        assert self.rc != 0, self.output[-6000:]
        assert self.report is not None, self.output[-6000:]
        assert self.report["failure_class"] == failure_class, self.output[-6000:]
        return self


def fingerprint(admin, database):
    """Return oid, facts of the database itself, digests of every table, sequences; None when there is no such database."""
    rows = query(admin, "SELECT oid::bigint, datallowconn FROM pg_database WHERE datname = %s", (database,))
    if not rows:
        return None
    oid, opened = rows[0]
    server = admin.database(database)
    if not opened:
        query(admin, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(database)))
    try:
        facts = catalog.database_facts(server)
        for volatile in ("name", "size_bytes"):
            facts.pop(volatile)
        found = {name: (item.rows, item.digest) for name, item in digest_database(server, form=None).items()}
        return {"oid": oid, "open": opened, "facts": facts, "tables": found, "sequences": catalog.sequences(server)}
    finally:
        if not opened:
            query(admin, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(database)))


def content(print_):
    """Return the part of a fingerprint that a restore brings back: everything but which database it is."""
    return None if print_ is None else {key: print_[key] for key in ("facts", "tables", "sequences")}


def break_load(set_dir):
    """Make a set that passes every check before the load and fails in it: its largest data member is another table's."""
    folder = Path(set_dir) / "database"
    members = sorted((path for path in folder.iterdir() if path.name.endswith(".dat.gz")), key=lambda path: path.stat().st_size)
    shutil.copyfile(members[-2], members[-1])  # the smallest are without a row: those would load
    manifest = manifests.load(str(set_dir))
    manifest.pop("checksum")
    manifest["files"] = manifests.checksum_files(str(set_dir))
    os.unlink(os.path.join(set_dir, "manifest.json"))
    manifests.write(str(set_dir), manifest)


def _unsafe(value):
    """Mark text as data, so that braces in a password are not taken for a template."""
    return _Unsafe(value) if isinstance(value, str) and "{" in value else value


class _Unsafe(str):
    """Text that Ansible must not template."""

    __slots__ = ()


def _yaml(data, depth=0):
    """Write plain data as YAML flow text: JSON, with ``!unsafe`` before text that must not be templated."""
    if isinstance(data, dict):
        return "{%s}" % ", ".join("%s: %s" % (json.dumps(key), _yaml(value, depth + 1)) for key, value in data.items())
    if isinstance(data, list):
        return "[%s]" % ", ".join(_yaml(value, depth + 1) for value in data)
    return ("!unsafe " if isinstance(data, _Unsafe) else "") + json.dumps(data)


def _worlds(pg, letta_shape, parent):
    """Yield a factory of targets below a folder; all of them gone afterwards."""
    made = []

    def make(live=True, database=None, **options):
        name = database or "lr_%s" % secrets.token_hex(4)
        folder = parent / ("world%d" % len(made))
        folder.mkdir()
        world = World(pg, name, folder, **options)
        os.makedirs(world.root, 0o700)
        made.append(world)
        if live:
            pg.clone_database(name, letta_shape, password=PASSWORD)
        return world

    yield make
    if not pg.running():
        pg.start()
    for world in made:
        for name in world.databases():
            pg.drop_database(name)


@pytest.fixture
def make_world(pg, letta_shape, tmp_path):
    """Factory of targets: ``make_world()`` has a live database, ``make_world(live=False)`` has none; all gone after the test."""
    yield from _worlds(pg, letta_shape, tmp_path)


@pytest.fixture(scope="module")
def make_module_world(pg, letta_shape, tmp_path_factory):
    """The same for all tests of a file."""
    yield from _worlds(pg, letta_shape, tmp_path_factory.mktemp("worlds"))


@pytest.fixture(scope="session")
def shape_set(pg, letta_shape, tmp_path_factory):
    """Folder of one real backup set of ``letta_shape``'s content, to be copied into stores; never write to it."""
    folder = tmp_path_factory.mktemp("shape")
    world = World(pg, "letta_shape_source", folder)
    os.makedirs(world.root, 0o700)
    pg.clone_database(world.database, letta_shape, password=PASSWORD)
    manifest = world.backup()
    pg.drop_database(world.database)
    return Path(world.root) / manifest["id"]


@pytest.fixture
def world(make_world, shape_set):
    """A live database with writes since its backup, and that backup set in the store."""
    made = make_world()
    made.copy_set(shape_set)
    add_writes(made.live)
    return made


@pytest.fixture
def empty_world(make_world, shape_set):
    """No live database, a backup set in the store."""
    made = make_world(live=False)
    made.copy_set(shape_set)
    return made
