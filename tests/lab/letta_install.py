"""Installs a real Letta into a virtual environment of its own: the wheel with its locked requirements, migrations from the sdist."""
from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from . import ROOT, places
from .programs import run

VERSION = "0.16.8"
# The wheel lacks the migrations; the sdist is pinned by what it is.
SDIST_SHA256 = "363e26989e552c859ce2e7961d484acee6fccfc1e7b16e8f644b1ae1ccd754a3"
# Releases before it whose sdists hold their migrations.
OLD_SDISTS = {
    "0.11.7": "d5123d19fe5ef1389eb9bee580a254cc159459b1da6ae0bd6faab74f2fb2bce7",
    "0.13.0": "95757449422d6cbc2d338dfe9f4f005e5b853cada73ba07429d94bfe5d719d89",
    "0.14.0": "c50c2209d8d7790a45ea928129a87855d1c022cec4034ef38da485a869e2e198",
    "0.16.4": "6881749980d36f6708b0b61b11f7b07cebafb3ec0c5e203d0c214436d9d161b9",
}
# A release that starts with the dependencies of the one above.
OLDER = "0.16.4"
OLDER_WHEEL = "letta==%s --hash=sha256:1e1e1028e21a4ce6dee6e5e091c3d2361fe01883ce6777a53c95fb707cf99176\n" % OLDER
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


def install_for(target, python, platform):
    """Install Letta below ``target`` as another machine uses it: ``venv/`` for its Python, ``alembic/`` and ``alembic.ini`` beside it.

    :param python: that machine's Python, as "3.13". :param platform: as uv names them, "x86_64-manylinux_2_40". Only wheels and pure
        Python packages can be installed so; all of Letta's are.
    """
    target = Path(target)
    packages = target / "venv" / "lib" / ("python%s" % python) / "site-packages"
    run([find_uv(), "pip", "install", "--quiet", "--target", str(packages), "--python-version", python, "--python-platform", platform,
         "--python", sys.executable, "-r", str(REQUIREMENTS)])
    quicken(packages)
    # They name this machine's Python.
    shutil.rmtree(packages / "bin")
    (target / "venv" / "bin").mkdir()
    (target / "venv" / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n", encoding="ascii")
    with tempfile.TemporaryDirectory(dir=target) as folder:
        _migrations_from(_download(VERSION, folder, SDIST_SHA256), target)


def quicken(packages):
    """Let Letta start in six sevenths of the time: a library for English plurals, which it imports for a code generator, has its types
    checked while it runs, for which all its functions are compiled anew at every start (2.1 of 14 s).

    :param packages: the folder ``site-packages``. Files are replaced, not written to: the installer's cache links to them.
    """
    path = Path(packages) / "inflect" / "__init__.py"
    text = path.read_text(encoding="utf-8")
    path.unlink()
    path.write_text(re.sub(r"^ *@typechecked\n", "", text, flags=re.MULTILINE), encoding="utf-8")


def install_older(target):
    """Install the package of release :data:`OLDER` below ``target``, and nothing else: first on PYTHONPATH, it is what another Letta's
    programs start.
    """
    target = Path(target)
    target.mkdir()
    wanted = target / "wanted.txt"
    wanted.write_text(OLDER_WHEEL, encoding="ascii")
    run([find_uv(), "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", str(target), "--python", sys.executable,
         "-r", str(wanted)])
    # Programs name this machine's Python; the others were for the installer.
    shutil.rmtree(target / "bin")
    for path in (wanted, target / ".lock"):
        path.unlink(missing_ok=True)


def old_migrations(release, folder):
    """Download the sdist of an old release and return its migrations.

    :param release: one of :data:`OLD_SDISTS`; other releases have no sdist with migrations. :param folder: for the download.
    :returns: {file name: source}.
    """
    sdist = _download(release, folder, OLD_SDISTS[release])
    found = {}
    with tarfile.open(sdist) as archive:
        for member in archive:
            parts = member.name.split("/")
            if member.isfile() and parts[1:3] == ["alembic", "versions"] and member.name.endswith(".py"):
                found[parts[-1]] = archive.extractfile(member).read().decode("utf-8")
    return found


def _download(version, folder, expected):
    uv = find_uv()
    run([uv, "run", "--quiet", "--no-project", "--python", sys.executable, "--with", "pip", "python", "-m", "pip", "download",
         "--quiet", "--no-deps", "--no-binary", "letta", "--dest", str(folder), "letta==%s" % version])
    sdist = Path(folder) / ("letta-%s.tar.gz" % version)
    found = hashlib.sha256(sdist.read_bytes()).hexdigest()
    if found != expected:
        raise RuntimeError("%s has SHA-256 %s, expected %s" % (sdist.name, found, expected))
    return sdist


def _install(home):
    beside = Path(tempfile.mkdtemp(prefix=".letta-", dir=home.parent))
    try:
        uv = find_uv()
        python = beside / "venv" / "bin" / "python"
        run([uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(beside / "venv")])
        run([uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(REQUIREMENTS)])
        quicken(next((beside / "venv" / "lib").glob("python3*/site-packages")))
        (beside / "sdist").mkdir()
        _migrations_from(_download(VERSION, beside / "sdist", SDIST_SHA256), beside)
        shutil.rmtree(beside / "sdist")
        beside.chmod(0o755)
        beside.rename(home)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _migrations_from(sdist, target):
    top = "letta-%s/" % VERSION
    with tarfile.open(sdist) as archive:
        for member in archive:
            name = member.name[len(top):]
            if not member.isfile() or ".." in name or not (name == "alembic.ini" or name.startswith("alembic/")):
                continue
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.extractfile(member).read())


def find_uv():
    """Return the path of ``uv``, the one beside this Python first.

    :raises RuntimeError: when there is none.
    """
    beside_python = Path(sys.executable).with_name("uv")
    found = str(beside_python) if beside_python.exists() else shutil.which("uv")
    if not found:
        raise RuntimeError("`uv` is needed to install Letta for the lab: install the test requirements")
    return found
