"""Installs a real Letta into a virtual environment of its own: the wheel with its locked requirements, migrations from the sdist."""
from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from . import ROOT, places

VERSION = "0.16.8"
# The wheel lacks the migrations; the sdist is pinned by what it is.
SDIST_SHA256 = "363e26989e552c859ce2e7961d484acee6fccfc1e7b16e8f644b1ae1ccd754a3"
REQUIREMENTS = Path(__file__).with_name("letta-%s.txt" % VERSION)


def letta_home():
    """Return the folder with ``venv/``, ``alembic/`` and ``alembic.ini``; installed there at the first call.

    ``LETTA_LAB_CACHE`` names the cache folder (default ``<repo>/.lab``). Needs ``uv``, network to the package
    index, 800 MB, half a minute to a few. Two processes at once: the second waits for the first.

    :raises RuntimeError: when the installation fails; the next call tries again.
    """
    cache = Path(os.environ.get("LETTA_LAB_CACHE") or ROOT / ".lab")
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:8]
    home = cache / ("letta-%s-%s-py%d.%d" % (VERSION, wanted, *sys.version_info[:2]))
    if not home.exists():
        with places.locked(cache / "letta-install.lock"):
            if not home.exists():
                _install(home)
    return home


def _install(home):
    beside = Path(tempfile.mkdtemp(prefix=".letta-", dir=home.parent))
    try:
        uv = _find_uv()
        python = beside / "venv" / "bin" / "python"
        _run([uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(beside / "venv")])
        _run([uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(REQUIREMENTS)])
        _run([uv, "run", "--quiet", "--no-project", "--python", sys.executable, "--with", "pip", "python", "-m", "pip", "download",
              "--quiet", "--no-deps", "--no-binary", "letta", "--dest", str(beside / "sdist"), "letta==%s" % VERSION])
        _migrations_from(beside / "sdist" / ("letta-%s.tar.gz" % VERSION), beside)
        shutil.rmtree(beside / "sdist")
        beside.chmod(0o755)
        beside.rename(home)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _migrations_from(sdist, target):
    found = hashlib.sha256(sdist.read_bytes()).hexdigest()
    if found != SDIST_SHA256:
        raise RuntimeError("%s has SHA-256 %s, expected %s" % (sdist.name, found, SDIST_SHA256))
    top = "letta-%s/" % VERSION
    with tarfile.open(sdist) as archive:
        for member in archive:
            name = member.name[len(top):]
            if not member.isfile() or ".." in name or not (name == "alembic.ini" or name.startswith("alembic/")):
                continue
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.extractfile(member).read())


def _find_uv():
    beside_python = Path(sys.executable).with_name("uv")
    found = str(beside_python) if beside_python.exists() else shutil.which("uv")
    if not found:
        raise RuntimeError("`uv` is needed to install Letta for the lab: install the test requirements")
    return found


def _run(argv):
    # As pip does: trust whom the machine trusts, or a company's own authority is a stranger.
    env = dict({"UV_SYSTEM_CERTS": "1"}, **os.environ)
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=900, env=env)
    if done.returncode:
        raise RuntimeError("%s failed:\n%s" % (" ".join(argv[:4]), (done.stderr or done.stdout)[-3000:]))
