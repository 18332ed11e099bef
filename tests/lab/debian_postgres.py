"""PostgreSQL 15 with pgvector, of which no wheel exists: Debian's packages unpacked, the extension built from Debian's source package.

Nothing is installed and /etc/apt stays as it is: apt works on lists and sources in a folder of its own, with the mirror that the machine
uses, and checks signatures and checksums as always. PostgreSQL finds its files by where its programs are, so all of it may lie anywhere.
"""
from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .programs import run

NEEDED = ("apt-get", "dpkg-deb", "dpkg-source", "gcc", "make", "tar")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
APT = """Dir::Etc::SourceList "{0}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "{0}/state";
Dir::State::Status "{0}/status";
Dir::Cache "{0}/cache";
Acquire::Languages "none";
Acquire::AllowInsecureRepositories "false";
APT::Get::AllowUnauthenticated "false";
APT::Sandbox::User "root";
"""  # the unprivileged user of apt often cannot reach a checkout


@dataclass(frozen=True)
class Packages:
    """A PostgreSQL of Debian.

    :param major: its release. :param suite: of Debian that has it. :param extension: the newer suite whose source of pgvector is built.
    """

    major: str
    suite: str
    extension: str

    @property
    def release(self):
        """What a row of results calls it: which minor release it is, the mirror decides."""
        return "%s of Debian" % self.major

    @property
    def requirement(self):
        """Where it comes from."""
        return "%s, pgvector of %s" % (self.suite, self.extension)

    @property
    def wanted(self):
        """Names of the packages that are unpacked."""
        return ["%s-%s" % (name, self.major) for name in ("postgresql", "postgresql-client", "postgresql-server-dev")]


def built(packages, cache):
    """Return the folder that holds ``postgresql/pginstall`` and a file ``versions``, made below ``cache`` at the first call.

    :raises RuntimeError: where it cannot be had, saying what is missing or what failed; the next call tries again.
    """
    from .places import locked

    home = cache / ("debian-%s-%s" % (packages.major, packages.suite))
    if home.exists():
        return home
    lacking = [name for name in NEEDED if not shutil.which(name)]
    if lacking:
        raise RuntimeError("PostgreSQL %s is made of Debian's packages, and there is no %s here" % (packages.major, ", ".join(lacking)))
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "unpack.lock"):
        if not home.exists():
            _build(packages, home)
    return home


def sources(packages, mirror, keyring=KEYRING):
    """Return apt's list of sources: the packages of one suite, the source packages of a newer one.

    :param mirror: its address. :param keyring: of Debian; apt's own trusted keys are used where it is not there.
    :raises RuntimeError: without a mirror.
    """
    if not mirror:
        raise RuntimeError("PostgreSQL %s is made of Debian's packages, and /etc/apt has no source of them" % packages.major)
    option = "[signed-by=%s] " % keyring if keyring.exists() else ""
    return "deb %s%s %s main\ndeb-src %s%s %s main\n" % (option, mirror, packages.suite, option, mirror, packages.extension)


def _build(packages, home):
    from .staging.images import mirror

    listed = sources(packages, mirror())
    with tempfile.TemporaryDirectory(dir=home.parent) as name:
        folder = Path(name)
        for part in ("state/lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(listed, encoding="utf-8")
        (folder / "apt.conf").write_text(APT.format(folder), encoding="utf-8")
        _fetch(packages, folder)
        tree = folder / "home" / "postgresql" / "pginstall"
        _unpack(packages, folder, tree)
        version = _extend(folder, tree / "bin" / "pg_config")
        _slim(packages, tree)
        for program in ("postgres", "pg_restore", "psql"):
            run([str(tree / "bin" / program), "--version"])  # names a library that the machine lacks
        (server,) = folder.glob("postgresql-%s_*.deb" % packages.major)
        (folder / "home" / "versions").write_text("%s-pgvector-%s" % (server.name.split("_")[1], version), encoding="utf-8")
        (folder / "home").rename(home)


def _fetch(packages, folder):
    # Read after the machine's own settings, of which proxies and authorities stay.
    apt = ["env", "-C", str(folder), "apt-get", "-qq", "-c", str(folder / "apt.conf")]
    run([*apt, "update"])
    run([*apt, "download", *packages.wanted])
    run([*apt, "source", "--only-source", "pgvector"])


def _unpack(packages, folder, tree):
    """The packages' ``/usr`` is the tree; where other servers have their programs, it has a link to them."""
    for package in folder.glob("*.deb"):
        run(["dpkg-deb", "-x", str(package), str(folder / "root")])
    tree.parent.mkdir(parents=True)
    (folder / "root" / "usr").rename(tree)
    (tree / "bin").symlink_to(Path("lib", "postgresql", packages.major, "bin"))
    # What programs of wheels are linked with lies here; Debian's use the machine's.
    tree.parent.with_name("postgresql.libs").mkdir()


def _extend(folder, pg_config):
    """Build pgvector into the tree; returns its version."""
    (source,) = (path for path in folder.glob("pgvector-*") if path.is_dir())
    # As Debian builds it, for any processor of this kind; and no bitcode, which would need clang.
    run(["make", "-C", str(source), "PG_CONFIG=%s" % pg_config, "OPTFLAGS=", "with_llvm=no", "install"])
    return source.name.partition("-")[2]


def _slim(packages, tree):
    """Leave what a server and its client tools need. Without its library for it, PostgreSQL compiles no queries."""
    library = tree / "lib" / "postgresql" / packages.major / "lib"
    shutil.rmtree(library / "bitcode", ignore_errors=True)
    for path in [*library.glob("llvmjit*"), *library.glob("*.a")]:
        path.unlink()
    shutil.rmtree(tree / "include")
    for path in (tree / "share").iterdir():
        if path.name != "postgresql":
            shutil.rmtree(path)
