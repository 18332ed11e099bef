"""Seeded databases, and the shipped sample backup set that is made from one."""
from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from . import ROOT, places
from .letta import LettaServer, migrate, remove_home
from .letta_install import VERSION
from .openai_stub import OpenAIStub
from .readback import read_back
from .seed import SAMPLE_KEY, Seeder
from .stand import DATABASE, ROLE

SETS = ROOT / "playbooks" / "files" / "sample-sets"
FACTS = ROOT / "tests" / "fixtures" / "sample.json"


def fill(server, redis, home, key=SAMPLE_KEY):
    """Migrate a prepared database and fill it through a real Letta, which is then killed in the middle of work.

    :param server: Letta's role in a database as ``init.sql`` leaves it. :param redis: (host, port), no password.
    :param home: scratch folder of the server.
    :returns: {"made": ids by kind, "readback": see :func:`.readback.read_back`, "seconds": {step: s}}.
    """
    marks = [("start", time.monotonic())]
    migrate(server, home, key)
    marks.append(("migrate", time.monotonic()))
    with OpenAIStub() as stub:
        letta = LettaServer(home, server, stub.proxy, key, redis).start()
        try:
            marks.append(("start server", time.monotonic()))
            seeder = Seeder(letta, stub)
            made = seeder.everything()
            seeder.in_flight()
            marks.append(("seed", time.monotonic()))
            readback = read_back(letta)
            marks.append(("read back", time.monotonic()))
        finally:
            letta.kill()
    seconds = {name: round(at - before, 1) for (_, before), (name, at) in zip(marks, marks[1:])}
    return {"made": made, "readback": readback, "seconds": seconds}


def seed_stand(stand):
    """Start the stand, make its Letta database and fill it; writes ``seed.json`` into the stand's folder.

    :raises FileExistsError: when there is a Letta database already.
    """
    stand.up()
    postgres = stand.postgres()
    if postgres.execute("SELECT 1 FROM pg_database WHERE datname = %s", params=(DATABASE,)):
        raise FileExistsError("%s has a database %s already: `python -m tests.lab down --remove` first" % (stand.folder, DATABASE))
    server = postgres.create_letta_database(DATABASE, ROLE, stand.letta_password())
    home = stand.folder / "letta"
    with stand.valkey().without_password() as redis:
        facts = fill(server, redis, home)
    remove_home(home)
    facts["bytes"] = postgres.execute("SELECT pg_database_size(%s)", params=(DATABASE,))[0][0]
    places.secret_file(stand.folder / "seed.json", json.dumps(facts, indent=1, sort_keys=True) + "\n")
    return facts


def make_sample(stand):
    """Seed a fresh stand, back it up with ``playbooks/backup.yml``, and make that set the shipped sample; returns its folder.

    :raises RuntimeError: when the playbook fails.
    """
    facts = seed_stand(stand)
    extra = {**stand.variables(), "letta_encryption_key": SAMPLE_KEY, "letta_version": VERSION}
    extra["letta_report_dir"] = str(stand.folder / "reports")
    places.secret_file(stand.folder / "sample-vars.json", json.dumps(extra))
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(ROOT / "inventories" / "local"),
            str(ROOT / "playbooks" / "backup.yml"), "-e", "@%s" % (stand.folder / "sample-vars.json"),
            "-e", "ansible_python_interpreter=%s" % sys.executable]
    done = subprocess.run(argv, cwd=ROOT, check=False, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError("backup.yml failed:\n%s" % (done.stdout + done.stderr)[-4000:])
    (made,) = [path for path in stand.backup_root.iterdir() if path.name.startswith("lb-")]
    return install_sample(made, facts)


def install_sample(made, facts):
    """Put a backup set and what was read back from its source where the playbooks and tests look for them."""
    for old in SETS.glob("lb-*"):
        shutil.rmtree(old)
    SETS.mkdir(parents=True, exist_ok=True)
    shutil.copytree(made, SETS / made.name)
    FACTS.parent.mkdir(parents=True, exist_ok=True)
    kept = {"set": made.name, "made": facts["made"], "readback": facts["readback"]}
    FACTS.write_text(json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=True) + "\n", encoding="utf-8")
    return SETS / made.name


def sample():
    """Return (folder of the shipped sample set, its facts: {"set", "made", "readback"})."""
    facts = json.loads(FACTS.read_text(encoding="utf-8"))
    return SETS / facts["set"], facts
