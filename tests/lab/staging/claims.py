"""What the verifiers of `extensions/molecule` look with: hosts over SSH, the database, the API, the newest report."""
from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache

import testinfra

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.digest import digest_database
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.rowsums import form_of

from ..readback import differences, read_back
from ..seed import EMBEDDING, MODEL
from . import DATABASE, FOLDER, IMAGES_OF, REDIS, SERVERS, seeds
from .fleet import load

HOSTS = tuple(IMAGES_OF)
HEAD = "1c28e167b74f"
# A mere start of Letta 0.16.8 writes to these.
BY_A_START = {"letta.providers", "letta.provider_models", "letta.tools", "letta.sandbox_configs", "letta.organizations", "letta.users"}
__all__ = [
    "BY_A_START",
    "DATABASE",
    "FOLDER",
    "HEAD",
    "HOSTS",
    "REDIS",
    "SERVERS",
    "agents",
    "answers",
    "api",
    "changed_since_kept",
    "databases",
    "differences",
    "digests",
    "explained",
    "history",
    "host",
    "load",
    "manifest",
    "new_agent",
    "query",
    "read_back",
    "read_differently",
    "redis",
    "rehearsed",
    "remembered",
    "report",
    "server",
    "sets",
    "unequal",
]  # fmt: skip
remembered = seeds.remembered


@lru_cache
def host(name):
    """Return a host as testinfra sees it, over SSH and with sudo."""
    return testinfra.get_host("ssh://%s" % name, ssh_config=load()["ssh_config"], sudo=True)


def server(database="letta", user="letta"):
    """Return the database as Letta's role (or as the administrator, ``letta_admin``) sees it."""
    facts = load()
    password = facts["db_password" if user == "letta" else "admin_password"]
    return Server(facts["addresses"][DATABASE], 5432, user, password, database, sslmode="disable")


def databases():
    """Return the names of all databases but PostgreSQL's own and the one that is kept for the next scenario."""
    rows = query(server("postgres", "letta_admin"), "SELECT datname FROM pg_database WHERE NOT datistemplate")
    return {name for (name,) in rows} - {"postgres", seeds.KEPT}


def digests(tables):
    """Return {table: its digest in the live database}, in the form that the ``tables`` of a manifest have."""
    return {table: found.digest for table, found in digest_database(server(), form=form_of(tables)).items()}


@lru_cache
def sets():
    """Return the ids of the sets on the database host, oldest first."""
    return sorted(host(DATABASE).check_output("ls -d /var/backups/letta/lb-* | xargs -n 1 basename").split())


def manifest(set_id):
    """Return what a set says of itself."""
    return json.loads(host(DATABASE).check_output("cat /var/backups/letta/%s/manifest.json", set_id))


def unequal(set_id, explained=()):
    """Return the tables whose rows in the live database are not those of the set, but for what a start of Letta writes."""
    tables = manifest(set_id)["tables"]
    live = digests(tables)
    return sorted(table for table, facts in tables.items()
                  if table not in BY_A_START and table not in explained and live.get(table) != facts["digest"])  # fmt: skip


def explained():
    """Return the tables whose rows the newest run changed, and said why."""
    return {table["name"] for table in report()["tables"] if table["digest"] == "explained"}


def api(name=SERVERS[0]):
    """Return the REST API of a server."""
    return seeds.Api(load(), name)


def changed_since_kept():
    """Return the tables whose live rows are not those that the scenario began with, but for what a start of Letta writes."""
    kept = digest_database(server(seeds.KEPT, "letta_admin"))
    return {table for table, found in digest_database(server()).items() if found != kept.get(table)} - BY_A_START


def history():
    """Return the lines of the history of rehearsals, those of the newest rehearsal only."""
    text = host(DATABASE).check_output("cat /var/backups/letta/.rehearsals/history.jsonl")
    records = [json.loads(line) for line in text.splitlines()]
    return [record for record in records if record["rehearsal"] == records[-1]["rehearsal"]]


def rehearsed():
    """Return {set: verdict} of the newest rehearsal."""
    return {record["set"]: record["verdict"] for record in history()}


def agents(name=SERVERS[0]):
    """Return {name: id} of the agents that a server tells of."""
    return {agent["name"]: agent["id"] for agent in api(name).everything("/v1/agents/")}


def new_agent():
    """Make an agent; returns its id."""
    body = {"name": "new", "agent_type": "letta_v1_agent", "model": MODEL, "embedding": EMBEDDING}
    return api().api("POST", "/v1/agents/", body)["id"]


def answers(agent, name=SERVERS[0]):
    """Tell whether an agent takes a turn to its end; ``name`` is the server that is asked."""
    return api(name).say(agent, "Are you there?")["stop_reason"]["stop_reason"] == "end_turn"


def redis():
    """Return the keys in Redis."""
    return set(host(REDIS).check_output("redis-cli --scan").split())


def report():
    """Return the report of the newest run."""
    return json.loads((FOLDER / "reports" / "latest" / "report.json").read_text(encoding="utf-8"))


def read_differently(when):
    """Return how the API's answers differ from those at the ``older`` or ``newer`` backup, but for what the report says was closed.

    That is a run, and of its agent how its last run ended.
    """
    closed = {item["id"] for item in report()["reconciled"]}
    told = [remembered()[when], read_back(api())]
    for answers in told:
        answers["runs"] = {run: facts for run, facts in answers["runs"].items() if run not in closed}
        for agent in closed & set(answers["agents"]):
            for name in ("last_stop_reason", "updated_at"):
                answers["agents"][agent]["state"].pop(name, None)
    return differences(*told)


def started():
    """Return when the newest run began, in seconds since 1970."""
    return datetime.fromisoformat(report()["started_at"]).timestamp()
