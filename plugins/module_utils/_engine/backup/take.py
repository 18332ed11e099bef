# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a backup set of a running system: dump, digests and facts of one and the same snapshot."""
from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone

from ..errors import RecoveryError
from ..postgres import catalog, packing, segments
from ..postgres import tools as pg_tools
from ..postgres.connection import Server, connect, losses_told, psycopg2
from ..postgres.sidedb import first_line
from ..progress import Progress
from ..redisserver import RedisServer
from . import catalogue, sealed, store, versions, volumes
from . import manifest as manifests
from .contents import Content
from .trust import OPEN, Seal

SILENT = Progress(None)

# pg_dump writes a vector as text, about 2.4 times its binary size; compressed it comes back to roughly what it was.
_WORST_RATIO = {"none": 3.0}
_SPARE = 64 << 20
_DATA = ("database/", segments.FOLDER + "/")


@dataclass(frozen=True)
class BackupOptions:
    """What to back up, and where to.

    :param server: the Letta database and a role that may read all of it.
    :param root: the store. :param jobs: parallel dump workers (None: from the cores, at most 4).
    :param compression: ``zstd``, ``lz4``, ``gzip:1``, ``none``; None takes the best the tools have.
    :param vectors: ``binary`` takes tables with vectors as binary COPY beside the archive, ``text`` leaves them to pg_dump.
    :param letta_version: the release that runs, None when not known. :param encryption_key: for its fingerprint only.
    :param redis: a :class:`~..redisserver.RedisServer` or None.
    :param volumes: ``[{"name", "path"}]``, with ``archive`` and ``host`` where it was archived elsewhere.
    :param kind: ``backup`` or ``safety``. :param valid_until: aware datetime, for safety sets.
    :param seal: how the set is signed and encrypted.
    """

    server: Server
    root: str
    jobs: int | None = None
    compression: str | None = None
    vectors: str = "binary"
    bin_dir: str | None = None
    letta_version: str | None = None
    encryption_key: str = field(default="", repr=False)
    redis: RedisServer | None = None
    volumes: tuple = ()
    kind: str = "backup"
    valid_until: datetime | None = None
    seal: Seal = OPEN


def plan_backup(options):
    """Check everything a backup needs, changing nothing but the (created) store.

    :returns: ``{"database", "size_bytes", "needed_bytes", "compression", "jobs", "tools_version", "schema", "revisions", "vectors"}``;
        the last is how tables with vectors are compressed, empty when there are none in binary form.
    :raises RecoveryError: ``preflight`` (unreachable, tools older than the server, store, disk), ``schema`` (no Letta database).
    """
    return _prepare(options, create=False)[0]


def _prepare(options, create):
    volumes.check_volumes(options.volumes)
    sealed.check_seal(options.seal)
    facts = catalog.database_facts(options.server)
    major = facts["server_version_num"] // 10000
    wanted = options.compression.split(":")[0] if options.compression else None
    tools = pg_tools.find_tools(options.bin_dir, min_major=major, compression=wanted, need=("pg_dump", "pg_restore"))
    compression = options.compression or pg_tools.best_compression(tools)
    schema, revisions, binary = _letta_facts(options)
    if create or os.path.isdir(options.root):
        store.check_root(options.root, create=create)
    needed = _estimate(options, facts, compression)
    if os.path.isdir(options.root):
        store.check_free(options.root, needed, "a backup of %s" % options.server.dbname)
    plan = dict(
        database=options.server.dbname,
        size_bytes=facts["size_bytes"],
        needed_bytes=needed,
        compression=compression,
        jobs=options.jobs or min(os.cpu_count() or 1, 4),
        tools_version=tools.version_text,
        schema=schema,
        revisions=revisions,
        vectors=packing.best() if binary else "",
    )
    return plan, facts, tools


def _letta_facts(options):
    """Return Letta's schema, its revisions, and the tables to take in binary form. :raises RecoveryError: ``preflight``, ``schema``."""
    server = options.server
    try:
        with closing(connect(server)) as conn, conn.cursor() as cursor:
            schema = versions.letta_schema(cursor, server.dbname)
            binary = options.vectors == "binary" and segments.tables_with_vectors(cursor)[0]
            return schema, versions.revisions(cursor, schema), binary
    except psycopg2.errors.InsufficientPrivilege as exc:
        step = "GRANT pg_read_all_data TO %s, or back up as the owner of the tables" % server.user
        raise RecoveryError("preflight", "%s cannot be read: %s" % (server, first_line(exc)), store.NOTHING_KEPT, step) from None


def _estimate(options, facts, compression):
    extra = sum(volumes.needed_bytes(volume) for volume in options.volumes) + _SPARE
    return int(facts["size_bytes"] * _ratio(options, compression)) + extra


def _ratio(options, compression):
    # The newest set of the same database and compression knows better than any rule of thumb.
    for info in catalogue.list_sets(options.root) if os.path.isdir(options.root) else []:
        if info.usable and info.kind == "backup" and info.database == options.server.dbname:
            manifest = manifests.load(info.path)
            database = manifest["database"]
            form = bool(database.get("segments")) == (options.vectors == "binary")
            if form and database["archive"]["compression"] == compression and database["size_bytes"]:
                taken = sum(entry["size"] for entry in manifest["files"] if entry["path"].startswith(_DATA))
                return 1.25 * taken / database["size_bytes"]
    return _WORST_RATIO.get(compression, 1.0)


def take_backup(options, progress=SILENT):
    """Take a backup set.

    :param options: :class:`BackupOptions`.
    :returns: the sealed manifest; the set is in ``<root>/<id>``.
    :raises RecoveryError: ``preflight``, ``schema``, ``usage``, ``cancelled``; no set and no leftover in any of these cases.
    """
    began = time.monotonic()
    try:
        plan, facts, tools = _prepare(options, create=True)
        store.reap(options.root)
        server = options.server
        with losses_told(server), closing(connect(server, "letta_ops_backup", autocommit=False)) as conn:
            taken_at, snapshot = _open_snapshot(conn)
            set_id = manifests.new_id(taken_at)
            with store.incoming(options.root, set_id) as folder, sealed.making(folder, options.seal, plan["needed_bytes"]) as plain:
                content = Content(options, plan, facts, tools, conn, snapshot, plain, progress)
                manifest = content.collect(dict(id=set_id, kind=options.kind, taken_at=manifests.stamp(taken_at)))
                conn.rollback()
                manifest = sealed.encrypt(plain, folder, manifest, options.seal, progress)
                manifest["files"] = manifests.checksum_files(folder, progress)
                manifest["finished_at"] = manifests.stamp(datetime.now(timezone.utc))
                manifest["seconds"]["total"] = round(time.monotonic() - began, 2)
                return manifests.write(folder, manifest, options.seal.signing_key)
    except RecoveryError as exc:
        raise exc.with_now(store.NOTHING_KEPT) from None
    except pg_tools.ToolFailed as exc:
        raise RecoveryError("preflight", "the dump failed: %s" % exc, store.NOTHING_KEPT, "mend what it names and back up again") from None
    except OSError as exc:
        raise RecoveryError(
            "preflight", "writing the set failed: %s" % exc, store.NOTHING_KEPT, "check the disk of letta_backup_root and back up again"
        ) from None


def _open_snapshot(conn):
    with conn.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute("SELECT now(), pg_export_snapshot()")
        return cursor.fetchone()
