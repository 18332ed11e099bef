"""Two API servers, a database host and a Redis host, reached over SSH by an ordinary user with sudo; a client that reads all the time."""
from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import stage
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import NoJournal
from tests.integration.restore_kit import ADMIN, ADMIN_PASSWORD, HOST, World, _yaml
from tests.lab.fixtures import LETTA_PASSWORD
from tests.lab.hosts import Hosts
from tests.lab.letta import environment
from tests.lab.letta_install import letta_home
from tests.lab.postgres import EmbeddedPostgres
from tests.lab.seed import SAMPLE_KEY
from tests.lab.valkey import EmbeddedValkey

SERVERS, REDIS, API_PORT = ("letta1", "letta2"), "redis1", 8283

# Stands for Letta where only its manners matter: no pool, a connection per request, nothing remembered but which database it met first.
STAND_IN = """
import http.server, json, os, sys, time, psycopg2
folder, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
has = lambda name: os.path.exists(os.path.join(folder, name))
if has("slow"):
    os.unlink(os.path.join(folder, "slow"))
    time.sleep(300)
dsn = open(os.path.join(folder, "dsn")).read()
def ask():
    connection = psycopg2.connect(dsn)
    cursor = connection.cursor()
    cursor.execute("SELECT oid::bigint FROM pg_database WHERE datname = current_database()")
    oid = cursor.fetchone()[0]
    connection.close()
    return oid
first = ask()
if has("only") and open(os.path.join(folder, "only")).read() != str(first):
    sys.exit("cannot work with database %d" % first)
with open(os.path.join(folder, "met"), "a") as met:
    met.write("%d\\n" % first)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body, code = b"{}", 200
        if self.path != "/v1/health/":
            try:
                body = json.dumps({"first": first, "now": ask(), "pid": os.getpid()}).encode()
            except psycopg2.Error:
                code = 500
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer((address, port), Handler).serve_forever()
"""
CONTROL = """
import json, os, signal, subprocess, sys
verb, folder = sys.argv[1], sys.argv[2]
pidfile = os.path.join(folder, "pid")
def running():
    try:
        pid = int(open(pidfile).read())
        return pid if open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()[0] != "Z" else 0
    except (OSError, ValueError):
        return 0
if verb == "status":
    sys.exit(0 if running() else 3)
with open(os.path.join(folder, "calls"), "a") as calls:
    calls.write(verb + "\\n")
if verb == "start" and not running():
    spec = json.load(open(os.path.join(folder, "spec.json")))
    log = open(os.path.join(folder, "log"), "ab")
    server = subprocess.Popen(spec["argv"], env=spec["env"], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                              start_new_session=True)
    open(pidfile, "w").write(str(server.pid))
if verb == "stop" and running():
    os.kill(running(), signal.SIGTERM)
"""


class Node:
    """One API server of a host: what it runs, and its operator's three commands."""

    def __init__(self, hosts, name):
        self.hosts, self.name, self.folder = hosts, name, hosts.folder / name / "letta"
        self.folder.mkdir()
        (self.folder / "control.py").write_text(CONTROL)
        (self.folder / "stand_in.py").write_text(STAND_IN)
        self.url = "http://%s:%d" % (hosts.address[name], API_PORT)

    def command(self, verb):
        return [sys.executable, str(self.folder / "control.py"), verb, str(self.folder)]

    def run(self, verb):
        """Do it by hand, on the host."""
        return self.hosts.run(self.name, self.command(verb))

    def becomes(self, argv, env):
        """Choose what it runs from its next start on."""
        (self.folder / "spec.json").write_text(json.dumps({"argv": argv, "env": env}))

    def becomes_letta(self, server, redis):
        home = self.folder / "home"
        home.mkdir()
        argv = [str(letta_home() / "venv" / "bin" / "letta"), "server", "--host", self.hosts.address[self.name], "--port", str(API_PORT)]
        self.becomes(argv, environment(home, server, SAMPLE_KEY, redis))

    def becomes_stand_in(self, server):
        dsn = "host=%s port=%d dbname=%s user=%s password='%s'"
        password = server.password.replace("\\", "\\\\").replace("'", "\\'")
        (self.folder / "dsn").write_text(dsn % (server.host, server.port, server.dbname, server.user, password))
        argv = [sys.executable, str(self.folder / "stand_in.py"), str(self.folder), self.hosts.address[self.name], str(API_PORT)]
        self.becomes(argv, {"PATH": os.environ["PATH"]})
        for name in ("calls", "met", "slow", "only"):
            (self.folder / name).unlink(missing_ok=True)

    def lines(self, name):
        path = self.folder / name
        return path.read_text().split() if path.exists() else []

    def ask(self, timeout=5):
        """Return what a read answers, as a client of it; OSError without an answer."""
        with urllib.request.urlopen(self.url + "/v1/agents/?limit=1", timeout=timeout) as response:
            return json.loads(response.read())

    def await_up(self, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.ask()
            except OSError:
                if time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "log").read_text(errors="replace")[-3000:]) from None
                time.sleep(0.1)


class Reader:
    """A client behind a load balancer: each request goes to the next server, and to the other one when that does not answer."""

    def __init__(self, nodes, pause=0.05):
        self.nodes, self.pause, self.seen = itertools.cycle(nodes), pause, []
        self.count = len(nodes)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._over.set()
        self._thread.join(30)

    def _read(self):
        while not self._over.wait(self.pause):
            answered = False
            for node in itertools.islice(self.nodes, self.count):
                try:
                    node.ask()
                    answered = True
                    break
                except OSError:
                    continue
            self.seen.append((time.monotonic(), answered))
            if answered and self.count % 2 == 0:
                next(self.nodes)

    def outages(self):
        """Return the seconds between the last answer before and the first one after, for each stretch without answers."""
        found, last, failing = [], None, False
        for moment, answered in self.seen:
            if answered:
                if failing and last is not None:
                    found.append(moment - last)
                last, failing = moment, False
            else:
                failing = True
        return found


@dataclass
class Far(World):
    """A world whose hosts are reached over SSH."""

    lab: Hosts | None = None
    nodes: dict = field(default_factory=dict)

    def inventory(self):
        """Write the inventory; returns its path."""
        shared = dict(
            letta_db_host="127.0.0.1", letta_db_port=self.pg.port, letta_db_name=self.database, letta_db_user=self.owner,
            letta_db_password=LETTA_PASSWORD, letta_db_admin_user=ADMIN, letta_db_admin_password=ADMIN_PASSWORD,
            letta_db_ssl_mode="disable", letta_backup_root=self.root, letta_pg_bin_dir=self.bin_dir,
            letta_report_dir=str(self.reports), letta_restore_jobs=1, letta_service_manager="command", letta_restore_force=True,
        )  # fmt: skip
        hosts = {name: self.lab.variables(name) for name in self.lab.names}
        for name, node in self.nodes.items():
            commands = {"letta_service_" + verb: node.command(verb) for verb in ("start", "stop", "status")}
            hosts[name].update(commands, letta_api_url=node.url)
        groups = {"letta_database": [HOST], "letta_servers": list(self.nodes), "letta_redis": [REDIS]}
        children = {group: {"hosts": {name: {} for name in names}} for group, names in groups.items()}
        path = self.folder / "hosts.yml"
        # A password with braces is data.
        text = _yaml({"all": {"vars": dict(shared, **self.variables), "hosts": hosts, "children": children}})
        path.write_text(text.replace('"letta_db_admin_password": "', '"letta_db_admin_password": !unsafe "'), encoding="utf-8")
        return path

    def live_oid(self):
        with self.lab.inside(HOST):
            return self.databases()[self.database]

    def letta_role(self):
        """Where the API servers find the database."""
        return Server(self.lab.address[HOST], self.pg.port, self.owner, LETTA_PASSWORD, self.database, sslmode="disable")


def build(lab, folder, sample_set):
    """Return (:class:`Far` with this set of the sample in its store and live, Redis): servers are there, and nothing runs on them yet."""
    with lab.inside(HOST):
        pg = EmbeddedPostgres(lab.folder / "pg", fsync=False, settings={"listen_addresses": "*"}).start()
        with open(pg.data_dir / "pg_hba.conf", "a", encoding="ascii") as rules:
            rules.write("host all all samenet scram-sha-256\n")
        pg.execute("SELECT pg_reload_conf()")
        pg.ensure_role("letta", LETTA_PASSWORD)
        pg.execute("CREATE ROLE %s SUPERUSER LOGIN PASSWORD '%s'" % (ADMIN, ADMIN_PASSWORD.replace("'", "''")))
        far = Far(pg, "letta", folder, lab=lab)
        os.makedirs(far.root, 0o700)
        made = Path(shutil.copytree(sample_set, Path(far.root) / sample_set.name))
        options = stage.StageOptions(str(made), far.database, far.owner, 1, far.bin_dir)
        stage.stage_set(far.admin, manifests.load(str(made)), options, NoJournal())
    with lab.inside(REDIS):
        redis = EmbeddedValkey(lab.folder / "redis", host=lab.address[REDIS]).start()
    far.variables.update(letta_redis_host=redis.host, letta_redis_port=redis.port)
    far.nodes = {name: Node(lab, name) for name in SERVERS}
    return far, redis
