"""What the fault tests share on top of ``restore_kit``: damaging sets on purpose, a service that misbehaves, holding NOW to its word."""
from __future__ import annotations

import json
import os
import re
import signal
import sys
from contextlib import closing
from pathlib import Path

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect

LABELS = ("PLAN", "STEPS", "REJECT", "WARN", "FAIL", "NOW", "NEXT", "REPORT", "UNDO", "DONE", "PROVE", "CHECKS", "PHASES", "REDIS")

# -- damaging a set ----------------------------------------------------------------------------------------------


def only_set(world):
    """Return the folder of the one set in a world's store."""
    (found,) = Path(world.root).glob("lb-*")
    return found


def largest_member(set_dir, folder="database"):
    """Return the largest file below a folder of a set."""
    return max((path for path in (set_dir / folder).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def flip(path):
    """Flip one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.write_bytes(data)


def cut(path):
    """Cut a file in half."""
    os.truncate(path, path.stat().st_size // 2)


def read_manifest(set_dir):
    """Return the manifest as it stands, unchecked."""
    return json.loads((set_dir / manifests.MANIFEST).read_text(encoding="utf-8"))


def write_manifest(set_dir, manifest):
    """Write a manifest as it is given, true or not."""
    (set_dir / manifests.MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def reseal(set_dir, **changes):
    """Rebuild checksums and manifest over the files as they are now, as whoever damaged the set cleverly would."""
    manifest = {key: value for key, value in read_manifest(set_dir).items() if key != "checksum"}
    for name, value in changes.items():
        merge = isinstance(value, dict) and isinstance(manifest.get(name), dict)
        manifest[name] = dict(manifest[name], **value) if merge else value
    manifest["files"] = manifests.checksum_files(str(set_dir))
    (set_dir / manifests.SUMS).unlink(missing_ok=True)
    manifests.write(str(set_dir), manifest)
    return manifests.load(str(set_dir))


# -- a service -------------------------------------------------------------------------------------------------------

# Stands for Letta: connects like Letta, holds its session, and refuses a database it was told it cannot live with.
SERVER = """
import http.server, json, os, subprocess, sys, time, psycopg2
folder = sys.argv[1]
if os.path.exists(os.path.join(folder, "broken")):
    sys.exit("the service is broken")
dsn = open(os.path.join(folder, "dsn")).read()
connection = psycopg2.connect(dsn)
connection.autocommit = True
cursor = connection.cursor()
cursor.execute("SELECT oid::bigint FROM pg_database WHERE datname = current_database()")
oid = str(cursor.fetchone()[0])
only = os.path.join(folder, "only")
if os.path.exists(only) and open(only).read() != oid:
    sys.exit("cannot work with database %s" % oid)
address = os.path.join(folder, "address")
api = None
if os.path.exists(os.path.join(folder, "prelude.json")):
    # As Letta's own image does before its server starts: alembic upgrade head.
    prelude = json.load(open(os.path.join(folder, "prelude.json")))
    subprocess.run(prelude["argv"], cwd=prelude["cwd"], env=dict(os.environ, **prelude["env"]), check=True, capture_output=True)
version = open(os.path.join(folder, "version")).read() if os.path.exists(os.path.join(folder, "version")) else ""
if os.path.exists(address):
    port, token = open(address).read().split(" ", 1)
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            free = self.path == "/v1/health/"
            self.send_response(200 if free or self.headers.get("Authorization") == "Bearer " + token else 401)
            body = json.dumps({"version": version, "status": "ok"} if free and version else []).encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
    api = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
open(os.path.join(folder, "serving"), "w").write(oid)
api.serve_forever() if api else time.sleep(300)
"""
CONTROL = """
import os, signal, subprocess, sys, time
verb, folder = sys.argv[1], sys.argv[2]
pidfile, serving = os.path.join(folder, "pid"), os.path.join(folder, "serving")
def running():
    try:
        pid = int(open(pidfile).read())
        return pid if open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()[0] != "Z" else 0
    except (OSError, ValueError):
        return 0
with open(os.path.join(folder, "calls"), "a") as calls:
    calls.write(verb + "\\n")
if verb == "status":
    sys.exit(0 if running() and os.path.exists(serving) else 3)
if verb == "start":
    server = subprocess.Popen([sys.executable, os.path.join(folder, "server.py"), folder], start_new_session=True)
    open(pidfile, "w").write(str(server.pid))
    for _ in range(200):
        if os.path.exists(serving):
            sys.exit(0)
        if server.poll() is not None:
            sys.exit("it went down")
        time.sleep(0.05)
if verb == "stop" and running() and not os.path.exists(os.path.join(folder, "stubborn")):
    os.kill(running(), signal.SIGTERM)
    if os.path.exists(serving):
        os.unlink(serving)
"""


class Service:
    """A stand-in for a Letta server on the world's live database, driven by three commands.

    Files in its folder make it misbehave: ``stubborn`` (does not stop), ``broken`` (never starts), ``only`` (an oid: no other database).
    """

    def __init__(self, world, password):
        self.world = world
        self.folder = world.folder / "service"
        self.folder.mkdir()
        (self.folder / "server.py").write_text(SERVER)
        (self.folder / "control.py").write_text(CONTROL)
        quoted = password.replace("\\", "\\\\").replace("'", "\\'")
        dsn = "host=127.0.0.1 port=%d dbname='%s' user=%s password='%s' application_name=letta"
        (self.folder / "dsn").write_text(dsn % (world.pg.port, world.database, world.owner, quoted))
        base = [sys.executable, str(self.folder / "control.py")]
        world.hosts["letta1"] = {"letta_service_%s" % verb: base + [verb, str(self.folder)] for verb in ("start", "stop", "status")}
        world.variables.update(letta_service_manager="command", letta_service_stop_timeout=2, letta_service_start_timeout=5)

    def answer_at(self, port, token):
        """Serve an API too: health is free, the rest needs the token."""
        (self.folder / "address").write_text("%d %s" % (port, token))
        self.world.hosts["letta1"].update(letta_api_url="http://127.0.0.1:%d" % port, letta_api_token=token)

    def misbehave(self, how, text=""):
        """Switch a way of misbehaving on."""
        (self.folder / how).write_text(text)

    def run(self, verb):
        """Run one of the three commands; returns its exit code."""
        return os.spawnv(os.P_WAIT, sys.executable, self.world.hosts["letta1"]["letta_service_" + verb])

    @property
    def calls(self):
        """Every command that was run, status left out."""
        path = self.folder / "calls"
        return [line for line in path.read_text().split() if line != "status"] if path.exists() else []

    @property
    def serving(self):
        """Oid of the database it works on, None while it does not run."""
        if self.run("status") != 0:
            return None
        return int((self.folder / "serving").read_text())

    def close(self):
        """End the process, whatever it was told."""
        try:
            os.kill(int((self.folder / "pid").read_text()), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return


def session(world, database=None, application="old-worker", user=None):
    """Open a session in the live database as a forgotten client would; use with ``closing``."""
    server = world.admin.database(database or world.database)
    return closing(connect(user or server, application_name=application))


def latest_report(world):
    """Return the newest report, also when a resumed run wrote it over its own earlier one."""
    return json.loads((world.reports / "latest" / "report.json").read_text(encoding="utf-8"))


# -- what a failure said, and whether it is true ------------------------------------------------------------------


def said(output, label):
    """Return the text behind a label of the last block that has it, its folded lines joined; empty when there is none."""
    text, taking = "", False
    for line in output.splitlines():
        if line.startswith(label.ljust(7)):
            text, taking = line[7:].strip(), True
        elif taking and line.startswith("       ") and line.strip():
            text += " " + line.strip()
        else:
            taking = False
    return text


def databases_named(world, text):
    """Return the databases of the world that a sentence names, the live one left out."""
    return {name for name in world.databases() if name != world.database and name in text}


def untrue_claims(world, before, now, calls=()):
    """Hold a NOW sentence against the database. Returns what is not so.

    :param before: fingerprint of live before the run. :param calls: start and stop commands that the services saw.
    """
    after, lies = world.fingerprint(), []
    beside = {name for name in world.databases() if name != world.database}
    if re.search("untouched|is the database it was|old database again|no name has changed", now) and after != before:
        lies.append("live is not what it was")
    if "nothing stopped" in now and "stop" in calls:
        lies.append("services were stopped: %s" % (calls,))
    if ("no side database" in now or "was dropped" in now) and beside:
        lies.append("there is a side database: %s" % beside)
    unnamed = beside - databases_named(world, now)
    if unnamed:
        lies.append("kept and not told: %s" % unnamed)
    kept = re.findall(r"(\S+__(?:restore|before|undone)_r-[0-9a-f]{8})", now)
    lies += ["said to be kept, but is not: %s" % name for name in kept if name not in beside]
    return lies
