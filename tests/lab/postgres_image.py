"""An image of PostgreSQL with pgvector for a :class:`.engine.DockerEngine`, made of this machine's files.

No official image: nothing can be fetched here. The entrypoint does what the official one promises (``POSTGRES_*``, an empty data
folder is filled, the server runs as an unprivileged user) and no more. The programs are those of the wheel that the lab's servers are of.
"""
from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile

from . import servers

DATA = "/var/lib/postgresql/data"
HOME = "usr/lib/postgresql/18"
TOOLS = ("pg_amcheck", "pg_dump", "pg_isready", "pg_restore", "psql")
SERVER = ("initdb", "postgres")
PROGRAMS = ("cat", "chmod", "chown", "mkdir", "rm", "setpriv", "sh")
ENTRYPOINT = """#!/bin/sh
set -e
[ "$1" = postgres ] || exec "$@"
if [ -n "$POSTGRES_PASSWORD_FILE" ]; then POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE"); fi
as="setpriv --reuid=999 --regid=999 --clear-groups"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  [ -n "$POSTGRES_PASSWORD" ] || { echo "Error: superuser password is not specified" >&2; exit 1; }
  umask 077
  printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
  mkdir -p "$PGDATA"
  chown 999:999 "$PGDATA" /tmp/password
  chmod 700 "$PGDATA"
  $as initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile=/tmp/password --auth-host=scram-sha-256 --auth-local=trust \\
    -E UTF8 --locale=C.UTF-8 --no-sync
  rm /tmp/password
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  printf 'CREATE DATABASE "%s"\\n' "$POSTGRES_DB" | $as postgres --single -D "$PGDATA" postgres
fi
unset POSTGRES_PASSWORD
exec $as "$@"
"""


def import_postgres(engine, name="postgres-of-the-lab:18", tools=TOOLS):
    """Make the image in an engine; returns its id (``sha256:…``).

    :param tools: the client tools it has, as far as the server's package has them in working order.
    """
    repository, _colon, tag = name.partition(":")
    changes = [
        "ENV PATH=/%s:/usr/bin PGDATA=%s" % (_programs(servers.postgres()), DATA), "VOLUME %s" % DATA, 'ENTRYPOINT ["/entrypoint.sh"]',
        'CMD ["postgres"]',
    ]  # fmt: skip
    engine.client.api.import_image_from_data(_archive(tools), repository=repository, tag=tag, changes=changes)
    return engine.client.images.get(name).id


def _archive(tools):
    wheel = servers.postgres()
    install = wheel.bin_dir.parent
    # The psql in the wheel of PostgreSQL 17 crashes: an image is made without it.
    asked = {tool: subprocess.run([install / "bin" / tool, "--version"], capture_output=True, check=False) for tool in tools}
    sound = [tool for tool, answer in asked.items() if not answer.returncode]
    files = {"%s/%s" % (_programs(wheel), program): install / "bin" / program for program in (*SERVER, *sound)}
    files.update({"usr/bin/%s" % program: shutil.which(program) for program in PROGRAMS})
    for source in list(files.values()):
        files.update(libraries(source))
    folders = {
        "%s/lib" % HOME: install / "lib",
        "%s/share" % HOME: install / "share",
        "usr/lib/locale/C.utf8": "/usr/lib/locale/C.utf8",
        "usr/lib/%s" % wheel.libs.name: wheel.libs,
    }
    if wheel.uses_system_zones:
        folders["usr/share/zoneinfo"] = "/usr/share/zoneinfo"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", dereference=True) as archive:
        add_root(archive)
        for name, source in sorted(files.items()):
            archive.add(os.path.realpath(source), name, filter=of_root)
        for name, source in folders.items():
            archive.add(source, name, filter=lambda member: None if member.name in files else of_root(member))
        add_text(archive, "entrypoint.sh", ENTRYPOINT, 0o755)
    return packed.getvalue()


def _programs(wheel):
    """Return the folder of the programs in the image: as it really is below the server's own, PostgreSQL finds the rest from there."""
    return "%s/%s" % (HOME, wheel.bin_dir.resolve().relative_to(wheel.bin_dir.parent.resolve()))


def add_root(archive):
    """Add the folders around what is in an image, and its accounts."""
    for name in ("bin", "lib", "lib64", "sbin"):
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, "usr/" + name
        archive.addfile(link)
    for name, mode in (("tmp", 0o1777), ("proc", 0o755), ("dev", 0o755), ("sys", 0o755), ("usr/sbin", 0o755)):
        folder = tarfile.TarInfo(name)
        folder.type, folder.mode = tarfile.DIRTYPE, mode
        archive.addfile(folder)
    add_text(archive, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\npostgres:x:999:999::/tmp:/bin/sh\n", 0o644)
    add_text(archive, "etc/group", "root:x:0:\npostgres:x:999:\n", 0o644)


def libraries(program):
    """Return {path in the image: file} of what a program is linked with; the wheel's own libraries come with it."""
    told = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"(?m)(?:=> |^\s+)(/(?:usr/)?lib\S*) \(", told)
    return {path.lstrip("/") if path.startswith("/usr/") else "usr" + path: path for path in found}


def of_root(member):
    """Give a file of the archive to root, readable by everybody."""
    member.uid = member.gid = 0
    member.mode |= 0o444 | (0o111 if member.isdir() else 0)
    return member


def add_text(archive, name, text, mode):
    """Add a file to an archive."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(text), mode
    archive.addfile(member, io.BytesIO(text.encode()))
