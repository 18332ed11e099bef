"""What the containers hold: filled once through the real API, kept, and brought back before each scenario."""
from __future__ import annotations

import hashlib
import inspect
import json
import shutil
import urllib.request
from pathlib import Path

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta.releases import head_of
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server

from .. import places
from ..letta import LettaServer, pg_uri
from ..old import make_old_database
from ..readback import agent_state, read_back
from ..seed import EMBEDDING, MODEL, Seeder
from . import API_PORT, DATABASE, FOLDER, MODEL_PORT, REDIS, SERVERS, STORE, images
from . import MODEL as MODEL_HOST
from .fleet import environment

SEED = FOLDER / "seed.json"
KEPT = "rehearsal_seed"
_VOLUME, _VOLUME_KEPT = "/var/lib/letta/memory", "/var/lib/letta-seed"
_ADDED = "/etc/systemd/system/letta.service.d"
_FILES = {"notes/first.md": "# First\n", "notes/deep/second.md": "caf\u00e9 {{ braces }} $(word)\n", "index.json": "{}\n"}


class Api(LettaServer):
    """The REST API of a server that somebody else runs. :param name: its container."""

    def __init__(self, facts, name=SERVERS[0]):
        self.name, self.url = name, "http://%s:%d" % (facts["addresses"][name], API_PORT)

    def log_tail(self, characters=4000):
        return "see `journalctl -u letta` on %s" % self.name


class Model:
    """The fake model service, as far as a seeder asks for it."""

    def __init__(self, facts):
        self.url = "http://%s:%d/hanging" % (facts["addresses"][MODEL_HOST], MODEL_PORT)

    @property
    def hanging(self):
        with urllib.request.urlopen(self.url, timeout=10) as answer:
            return json.load(answer)["hanging"]


def fill(fleet, facts):
    """Fill the system through Letta's API; what the same Letta was filled with before is loaded from the cache instead."""
    cached = _cached()
    if cached.exists():
        _load(fleet, cached)
    else:
        fleet.make_empty(facts)
        fleet.await_servers()
        api = Api(facts)
        made = Seeder(api, Model(facts)).everything()
        _remember(made=made, older=read_back(api))
        _save(fleet, cached)
    for path, text in _FILES.items():
        fleet.run(SERVERS[0], "install", "-d", "-m", "750", "-o", "letta", "-g", "letta", "%s/%s" % (_VOLUME, path.rpartition("/")[0]))
        fleet.put(SERVERS[0], {"%s/%s" % (_VOLUME, path): (text, 0o640, "letta")})


def fill_more(fleet, facts):
    """Write what only the newer set has, and remember how everything reads."""
    fleet.await_servers()
    api = Api(facts)
    body = {"name": "late", "agent_type": "letta_v1_agent", "model": MODEL, "embedding": EMBEDDING, "tags": ["late"]}
    late = api.api("POST", "/v1/agents/", body)["id"]
    api.say(late, "Written between the two backups")
    older, told = remembered()["older"], agent_state(api, late)
    runs = {run: {"facts": facts["facts"], "steps": facts["steps"]} for run, facts in told["runs"].items()}
    agent = {key: told[key] for key in next(iter(older["agents"].values()))}
    _remember(newer={**older, "agents": {**older["agents"], late: agent}, "runs": {**older["runs"], **runs}})


def keep(fleet, facts):
    """Make an agent that no set has, and keep database, sets and volume as they are then, for :func:`reset`."""
    body = {"name": "after", "agent_type": "letta_v1_agent", "model": MODEL, "embedding": EMBEDDING}
    Api(facts).api("POST", "/v1/agents/", body)
    # Letta asks for a moment without connections by itself: it keeps none.
    if not places.wait_for(lambda: _copied(fleet), 30, 0.5):
        raise RuntimeError("the database is in use all the time")
    fleet.run(DATABASE, "cp", "-aT", "/var/backups/letta", "/var/backups/letta.seed")
    fleet.run(SERVERS[0], "cp", "-aT", _VOLUME, _VOLUME_KEPT)


def reset(fleet):
    """Bring the kept state back, whatever a scenario has left; both servers answer afterwards.

    Servers that run go on: they connect anew for each request, and what they remember (organisation, user, tools) is in the kept state too.
    """
    for name in (*SERVERS, DATABASE, REDIS, STORE, MODEL_HOST):
        fleet.start(name)
    fleet.run(MODEL_HOST, "systemctl", "restart", "model.service")
    rows = _sql(fleet, "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname NOT IN ('postgres', '%s')" % KEPT).split()
    for name in rows:
        _sql(fleet, 'ALTER DATABASE "%s" WITH ALLOW_CONNECTIONS true' % name, 'DROP DATABASE "%s" WITH (FORCE)' % name)
    _sql(fleet, "CREATE DATABASE letta OWNER letta TEMPLATE %s" % KEPT, "ALTER DATABASE letta SET search_path TO letta")
    fleet.run(REDIS, "redis-cli", "FLUSHALL")
    fleet.run(DATABASE, "sh", "-c", "rm -rf /var/backups/letta && cp -a /var/backups/letta.seed /var/backups/letta")
    fleet.run(STORE, "sh", "-c", "rm -rf /srv/letta/*")
    fleet.run(SERVERS[0], "sh", "-c", f"rm -rf {_VOLUME} {_VOLUME}.* && cp -a {_VOLUME_KEPT} {_VOLUME}")
    for name in SERVERS:
        # A server of another release that a scenario left behind when it failed; see schema_upgrade.
        fleet.run(name, "sh", "-c", f"[ ! -e {_ADDED} ] || (rm -r {_ADDED} && systemctl daemon-reload && systemctl stop letta.service)")
    fleet.start_servers()
    fleet.await_servers()


def interrupt(facts):
    """Leave work of every kind hanging in the model service: a background run, a stream, a file; the process ends, the work does not."""
    seeder = Seeder(Api(facts), Model(facts))
    seeder.made = remembered()["made"]
    seeder.in_flight()
    _remember(made=seeder.made)


def make_old(fleet, facts):
    """Make a database ``letta_old`` as Letta 0.11.7 left it."""

    class Postgres:
        """The containers' PostgreSQL, as far as it is asked for."""

        @staticmethod
        def clone_database(name, template, password):
            """Make it anew instead: only one is wanted."""
            fleet.make_database(name)
            server = Server(facts["addresses"][DATABASE], 5432, "letta", password, name, sslmode="disable")
            env = {**environment(facts), "LETTA_PG_URI": pg_uri(server)}
            argv = ["/opt/letta/venv/bin/python", "-m", "alembic", "upgrade", template]
            fleet.run(DATABASE, *argv, workdir="/opt/letta", env=env)
            return server

    release = "0.11.7"
    schemas = {release: head_of(release)}
    make_old_database(Postgres, "letta_old", release, schemas, facts["db_password"], key=facts["encryption_key"])


def remembered():
    """Return what was made ({kind: {our key: id}} as ``made``) and how it read at either backup (``older``, ``newer``)."""
    return json.loads(SEED.read_text(encoding="utf-8"))


def _cached():
    """Return the folder for what this Letta is filled with by this seeder (its secrets are under the key of this checkout)."""
    tags = images.tag("letta") + images.tag("model")
    seen = hashlib.sha256(tags.encode() + Path(inspect.getfile(Seeder)).read_bytes())
    return FOLDER / ("filled-%s" % seen.hexdigest()[:12])


def _save(fleet, folder):
    dump = fleet.run(DATABASE, "sh", "-c", "pg_dump -Fc letta | base64 -w0", user="postgres")
    for old in FOLDER.glob("filled-*"):
        shutil.rmtree(old)
    folder.mkdir(mode=0o700)
    (folder / "database.b64").write_text(dump, encoding="ascii")
    shutil.copy(SEED, folder / SEED.name)


def _load(fleet, folder):
    _sql(fleet, "CREATE DATABASE letta OWNER letta TEMPLATE template0",
         "ALTER DATABASE letta SET search_path TO letta")  # fmt: skip
    fleet.run(DATABASE, "psql", "-qX", "-c", "DROP SCHEMA public", "letta", user="postgres")
    load = "base64 -d | pg_restore --exit-on-error --dbname=letta"
    fleet.run(DATABASE, "sh", "-c", load, user="postgres", given=(folder / "database.b64").read_text(encoding="ascii"))
    shutil.copy(folder / SEED.name, SEED)
    fleet.start_servers()


def _remember(**more):
    known = remembered() if SEED.exists() else {}
    places.secret_file(SEED, json.dumps({**known, **more}, indent=1, sort_keys=True) + "\n")


def _copied(fleet):
    try:
        return _sql(fleet, "CREATE DATABASE %s OWNER letta TEMPLATE letta" % KEPT) == ""
    except RuntimeError:
        return False


def _sql(fleet, *statements):
    argv = [part for statement in statements for part in ("-c", statement)]
    return fleet.run(DATABASE, "psql", "-qXAt", "-v", "ON_ERROR_STOP=1", *argv, user="postgres")
