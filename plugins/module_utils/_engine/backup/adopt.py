# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adopting what people already have: a dump becomes a backup set, its facts read out of the dump itself."""
from __future__ import annotations

import os
import re
import stat
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone

from ..errors import RecoveryError
from ..letta import releases, secrets
from ..postgres import tools as pg_tools
from ..postgres.archive import open_archive
from ..postgres.catalog import database_facts
from ..postgres.connection import Server
from ..postgres.fitting import tools_to_read
from ..progress import Progress
from . import archive_facts, contents, copies, scratch, screening, sealed, store, volumes
from . import manifest as manifests
from .trust import OPEN, Seal

SILENT = Progress(None)
NOTHING_ADOPTED = "live database untouched, no set was made, the dump is as it was"
_MEMBER = re.compile(r"(toc\.dat|(\d+|blobs(_\d+)?)\.(dat|toc)(\.(gz|lz4|zst))?|blob_\d+\.dat(\.(gz|lz4|zst))?)")
_VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})*")
_GROWTH = {"none": 1.5}  # how much larger than its archive a database tends to be, to ask for disk before a restore


@dataclass(frozen=True)
class AdoptOptions:
    """What to adopt, and where to.

    :param dump: archive file, folder of directory format, or SQL file. :param root: the store.
    :param trust_sql: accept plain SQL, filtered; it needs ``server`` for a scratch database.
    :param taken_at: aware datetime of the dump; None takes the time of its file.
    :param redis: an RDB or AOF file. :param volumes: ``[{"name", "path"}]``, path being a tar file.
    :param seal: how the set is signed and encrypted.
    """

    dump: str
    root: str
    trust_sql: bool = False
    server: Server | None = None
    jobs: int | None = None
    bin_dir: str | None = None
    letta_version: str | None = None
    encryption_key: str = field(default="", repr=False)
    taken_at: datetime | None = None
    redis: str | None = None
    volumes: tuple = ()
    seal: Seal = OPEN


def plan_adopt(options):
    """Check a dump without adopting it.

    :returns: ``{"format", "compression", "database", "bytes", "schema", "revisions", "taken_at"}``; for plain SQL only what is known.
    :raises RecoveryError: as :func:`adopt_dump`.
    """
    sealed.check_seal(options.seal)
    if is_plain(options.dump):
        _check_trust(options)
        _sql_tools(options)
        size = os.path.getsize(options.dump)
        return {"format": "plain", "compression": None, "bytes": size, "taken_at": manifests.stamp(_taken_at(options))}
    tools = _reading_tools(options)
    archive = _open_checked(options.dump, tools)
    schema = archive_facts.letta_schema(archive)
    if os.path.isdir(options.root):
        store.check_free(options.root, _needed(options), "adopting %s" % options.dump)
    return {
        "format": archive.format,
        "compression": archive.compression,
        "database": archive.dbname,
        "bytes": archive.data_bytes(),
        "schema": schema,
        "revisions": archive_facts.revisions(archive, tools, schema),
        "taken_at": manifests.stamp(_taken_at(options)),
    }


def adopt_dump(options, progress=SILENT):
    """Make a backup set of a dump.

    :param options: :class:`AdoptOptions`.
    :returns: the sealed manifest of kind ``adopted``.
    :raises RecoveryError: ``usage`` (nothing there, plain SQL without trust or refused by line), ``backup_corrupt`` (damaged, or
        with objects no Letta database has), ``schema`` (no Letta dump), ``preflight`` (tools, store, disk). No set is left behind.
    """
    began = time.monotonic()
    try:
        sealed.check_seal(options.seal)
        is_sql = is_plain(options.dump)
        if is_sql:
            _check_trust(options)
        store.check_root(options.root, create=True)
        store.reap(options.root)
        needed = _needed(options)
        store.check_free(options.root, needed, "adopting %s" % options.dump)
        taken_at = _taken_at(options)
        set_id = manifests.new_id(taken_at)
        with store.incoming(options.root, set_id) as folder, sealed.making(folder, options.seal, needed) as plain:
            manifest = dict(format=manifests.FORMAT, id=set_id, kind="adopted", taken_at=manifests.stamp(taken_at))
            manifest.update(_content(options, plain, is_sql, progress))
            manifest = sealed.encrypt(plain, folder, manifest, options.seal, progress)
            manifest["files"] = manifests.checksum_files(folder, progress)
            manifest["finished_at"] = manifests.stamp(datetime.now(timezone.utc))
            manifest["seconds"] = {"total": round(time.monotonic() - began, 2)}
            return manifests.write(folder, manifest, options.seal.signing_key)
    except RecoveryError as exc:
        raise exc.with_now(NOTHING_ADOPTED) from None
    except OSError as exc:
        text = "adopting %s failed: %s" % (options.dump, exc)
        raise RecoveryError("preflight", text, NOTHING_ADOPTED, "check the disk and who owns it") from None


def is_plain(path):
    """Tell whether a dump is SQL text rather than an archive. :raises RecoveryError: ``usage`` when there is nothing to read."""
    try:
        if os.path.isdir(path):
            return False
        with open(path, "rb") as stream:
            head = stream.read(4096)
    except OSError as exc:
        raise RecoveryError("usage", "cannot read %s (%s)" % (path, exc.strerror), NOTHING_ADOPTED, "check letta_adopt_dump") from None
    if head.startswith((b"PGDMP", b"toc.dat\0")) or head[257:262] == b"ustar":
        return False
    text = head.lstrip()
    return b"\0" not in head and text.startswith((b"--", b"SET ", b"\\restrict", b"CREATE ", b"SELECT "))


def _check_trust(options):
    if not options.trust_sql:
        raise RecoveryError(
            "usage",
            "%s is plain SQL: restoring it would run whatever it says" % options.dump,
            next_step="pg_dump -Fc or -Fd makes an archive; -e letta_adopt_trust_sql=true accepts this one, filtered",
        )
    if options.server is None:
        raise RecoveryError(
            "usage", "plain SQL needs a server for a scratch database", next_step="set letta_db_host and letta_db_admin_user"
        )


def _sql_tools(options):
    """Return the tools that dump the scratch database. They meet names that the source of the SQL chose: old ones are refused."""
    tools = pg_tools.find_tools(options.bin_dir, min_major=database_facts(options.server)["server_version_num"] // 10000)
    if tools.below_floor():
        raise RecoveryError(
            "schema",
            "plain SQL is only taken with client tools of PostgreSQL %s or newer; found: %s" % (tools.below_floor(), tools),
            next_step="update them (CVE-2025-8714, CVE-2025-8715, CVE-2026-18408), or set letta_pg_bin_dir to newer ones",
        )
    return tools


def _taken_at(options):
    if options.taken_at:
        return options.taken_at
    toc = os.path.join(options.dump, "toc.dat")
    return datetime.fromtimestamp(os.stat(toc if os.path.exists(toc) else options.dump).st_mtime, timezone.utc)


def _needed(options):
    paths = [options.dump, options.redis] + [volume["path"] for volume in options.volumes]
    return sum(volumes.tree_bytes(path) if os.path.isdir(path) else os.path.getsize(path) for path in paths if path)


def _reading_tools(options):
    _check_members(options.dump)
    return tools_to_read(options.dump, options.bin_dir)


def _check_members(path):
    """Before anything of it is opened: a pipe in the place of a file would be waited for."""
    if os.path.isdir(path):
        for name in sorted(os.listdir(path)):
            if not _MEMBER.fullmatch(name) or not stat.S_ISREG(os.lstat(os.path.join(path, name)).st_mode):
                raise RecoveryError(
                    "backup_corrupt", "%s holds %r, which is no member of a pg_dump archive" % (path, name), next_step="dump again",
                )


def _open_checked(path, tools):
    _check_members(path)
    archive = open_archive(path, tools)
    refused = screening.refused(archive)
    if refused:
        names = ["%s %s" % entry for entry in refused]
        raise RecoveryError(
            "backup_corrupt",
            "%s holds what no Letta database has: %s" % (path, ", ".join(names[:5])),
            next_step="dump Letta's schema alone (pg_dump -n), or drop these objects; they could run code at restore",
            details={"refused": names},
        )
    return archive


def _content(options, folder, plain, progress):
    warnings = [] if options.taken_at else ["taken_at is the time of the dump's file: the dump itself does not say it with its time zone"]
    target = os.path.join(folder, "database")
    if plain:
        tools = _sql_tools(options)
        scratch.archive_plain_dump(options.dump, options.server, target, tools, options.jobs or 1, progress)
        warnings.append("made from plain SQL: filtered, loaded into a scratch database, dumped again")
    else:
        tools = _reading_tools(options)
        _open_checked(options.dump, tools)
        target = copies.copy_dump(options.dump, target, progress)
    # From here on the copy is read: what is digested is what the set holds.
    archive = _open_checked(target, tools)
    facts = archive_facts.content(archive, tools, progress)
    if len(facts["revisions"]) != 1:
        warnings.append("alembic_version holds %d revisions instead of one" % len(facts["revisions"]))
    return dict(
        made_by=contents.MADE_BY,
        adopted_from=os.path.abspath(options.dump),
        valid_until=None,
        letta=dict(
            version=options.letta_version,
            release_range=releases.release_range_of(facts["revisions"][0]) if len(facts["revisions"]) == 1 else None,
            alembic_revisions=facts["revisions"],
        ),
        postgresql=_postgresql(archive),
        database=_database(archive, facts["schema"], os.path.relpath(target, folder), plain),
        tables=facts["tables"],
        sequences=facts["sequences"],
        agents=facts["agents"],
        archives=facts["archives"],
        encryption_key=secrets.fingerprint(options.encryption_key) if options.encryption_key else None,
        redis=copies.copy_redis(options.redis, folder),
        volumes=copies.copy_volumes(options.volumes, folder),
        warnings=warnings,
    )


def _postgresql(archive):
    version = _VERSION.match(archive.server_version)
    parts = [int(part) for part in version.group().split(".")] if version else []
    number = None
    if parts:
        number = parts[0] * 10000 + (parts[1] if len(parts) > 1 else 0)
    dumped = _VERSION.match(archive.dump_version)
    return dict(
        server_version=version.group() if version else archive.server_version,
        server_version_num=number,
        dump_version=dumped.group() if dumped else archive.dump_version,
        pgvector=None,
        system_identifier=None,
    )


def _database(archive, schema, path, plain):
    owners = {entry.owner for entry in archive.entries if entry.type == "TABLE" and entry.schema == schema and entry.name == "agents"}
    size = archive.data_bytes()
    return dict(
        name=schema if plain and schema != "public" else "letta" if plain else archive.dbname,
        owner=None if plain else next(iter(owners), None),
        encoding=archive.encoding(),
        collate=None,
        ctype=None,
        locale_provider=None,
        locale=None,
        schema=schema,
        schemas=archive.schemas(),
        size_bytes=int(size * _GROWTH.get(archive.compression, 3)),
        size_estimated=True,
        settings=[] if schema == "public" else [dict(role=None, name="search_path", value=schema)],
        acl=[],
        comment=None,
        connection_limit=-1,
        extensions=[dict(name=name, version=None, schema=place) for name, place in sorted(archive.extensions().items())],
        archive=dict(path=path, format=archive.format, compression=archive.compression, bytes=size),
    )
