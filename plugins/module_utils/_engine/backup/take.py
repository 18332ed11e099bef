# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a backup set of a running system: dump, digests and facts of one and the same snapshot."""
from __future__ import annotations

import os
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Optional

from psycopg2 import sql

from ..errors import RecoveryError
from ..letta import releases, secrets
from ..postgres import catalog, dump, tools as pg_tools
from ..postgres.archive import open_archive
from ..postgres.connection import Server, connect
from ..postgres.digest import digest_database
from ..progress import Progress
from . import agents, archive_facts, catalogue, redisdump, store, volumes
from . import manifest as manifests

MADE_BY = "letta_ops.recovery 0.1.0"
# pg_dump writes a vector as text, about 2.4 times its binary size; compressed it comes back to roughly what it was.
_WORST_RATIO = {"none": 3.0}
_SPARE = 64 << 20


@dataclass(frozen=True)
class BackupOptions:
    """What to back up, and where to.

    :param server: the Letta database and a role that may read all of it.
    :param root: the store. :param jobs: parallel dump workers (None: from the cores, at most 4).
    :param compression: ``zstd``, ``lz4``, ``gzip:1``, ``none``; None takes the best the tools have.
    :param letta_version: the release that runs, None when not known. :param encryption_key: for its fingerprint only.
    :param redis: a :class:`~.redisdump.RedisServer` or None. :param volumes: ``[{"name", "path"}]``.
    :param kind: ``backup`` or ``safety``. :param valid_until: aware datetime, for safety sets.
    """

    server: Server
    root: str
    jobs: Optional[int] = None
    compression: Optional[str] = None
    bin_dir: Optional[str] = None
    letta_version: Optional[str] = None
    encryption_key: str = field(default="", repr=False)
    redis: Optional[redisdump.RedisServer] = None
    volumes: tuple = ()
    kind: str = "backup"
    valid_until: Optional[datetime] = None


def plan_backup(options):
    """Check everything a backup needs, changing nothing but the (created) store.

    :returns: ``{"database", "size_bytes", "needed_bytes", "compression", "jobs", "tools_version", "schema", "revisions"}``.
    :raises RecoveryError: ``preflight`` (unreachable, tools older than the server, store, disk), ``schema`` (no Letta database).
    """
    return _prepare(options, create=False)[0]


def _prepare(options, create):
    volumes.check_volumes(options.volumes)
    facts = catalog.database_facts(options.server)
    major = facts["server_version_num"] // 10000
    wanted = options.compression.split(":")[0] if options.compression else None
    tools = pg_tools.find_tools(options.bin_dir, min_major=major, compression=wanted, need=("pg_dump", "pg_restore"))
    compression = options.compression or pg_tools.best_compression(tools)
    with closing(connect(options.server)) as conn:
        schema = letta_schema(conn, options.server.dbname)
        revisions = _revisions(conn, schema)
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
    )
    return plan, facts, tools


def _estimate(options, facts, compression):
    extra = sum(volumes.tree_bytes(volume["path"]) for volume in options.volumes) + _SPARE
    return int(facts["size_bytes"] * _ratio(options, compression)) + extra


def _ratio(options, compression):
    # The newest set of the same database and compression knows better than any rule of thumb.
    for info in catalogue.list_sets(options.root) if os.path.isdir(options.root) else []:
        if info.usable and info.kind == "backup" and info.database == options.server.dbname:
            database = manifests.load(info.path)["database"]
            if database["archive"]["compression"] == compression and database["size_bytes"]:
                return 1.25 * database["archive"]["bytes"] / database["size_bytes"]
    return _WORST_RATIO.get(compression, 1.0)


def letta_schema(conn, dbname):
    """Return the schema that holds ``alembic_version``. :raises RecoveryError: ``schema`` when there is none, or several."""
    with conn.cursor() as cursor:
        cursor.execute(
            "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relname = 'alembic_version' AND c.relkind IN ('r', 'p') ORDER BY 1"
        )
        found = [row[0] for row in cursor.fetchall()]
    if len(found) == 1:
        return found[0]
    what = "no table alembic_version" if not found else "alembic_version in several schemas (%s)" % ", ".join(found)
    raise RecoveryError("schema", "%s holds %s: this is no Letta database" % (dbname, what), next_step="check letta_db_name")


def _revisions(conn, schema):
    with conn.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT version_num FROM {}.alembic_version ORDER BY 1").format(sql.Identifier(schema)))
        return [row[0] for row in cursor.fetchall()]


def take_backup(options, progress=Progress(None)):
    """Take a backup set.

    :param options: :class:`BackupOptions`.
    :returns: the sealed manifest; the set is in ``<root>/<id>``.
    :raises RecoveryError: ``preflight``, ``schema``, ``usage``, ``cancelled``; no set and no leftover in any of these cases.
    """
    began = time.monotonic()
    try:
        plan, facts, tools = _prepare(options, create=True)
        store.reap(options.root)
        with closing(connect(options.server, "letta_ops_backup", autocommit=False)) as conn:
            taken_at, snapshot = _open_snapshot(conn)
            set_id = manifests.new_id(taken_at)
            with store.incoming(options.root, set_id) as folder:
                content = _Content(options, plan, facts, tools, conn, snapshot, folder, progress)
                manifest = content.collect(dict(format=manifests.FORMAT, id=set_id, kind=options.kind, taken_at=manifests.stamp(taken_at)))
                conn.rollback()
                manifest["files"] = manifests.checksum_files(folder, progress)
                manifest["finished_at"] = manifests.stamp(datetime.now(timezone.utc))
                manifest["seconds"]["total"] = round(time.monotonic() - began, 2)
                return manifests.write(folder, manifest)
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


class _Content:
    """The parts of one set in the making. Holds the coordinating connection, whose snapshot all parts share."""

    def __init__(self, options, plan, facts, tools, conn, snapshot, folder, progress):
        self.options, self.plan, self.facts, self.tools = options, plan, facts, tools
        self.conn, self.snapshot, self.folder, self.progress = conn, snapshot, folder, progress
        self.warnings = []

    def collect(self, head):
        """Return the manifest's body, with the dump, Redis and volumes written into the folder."""
        schema, columns = self.plan["schema"], self._columns()
        groups = agents.group_columns(columns, schema)
        digests, seconds = self._dump_and_digest(groups)
        revisions = _revisions(self.conn, schema)
        if len(revisions) != 1:
            self.warnings.append("alembic_version holds %d revisions instead of one" % len(revisions))
        return dict(
            head,
            made_by=MADE_BY,
            valid_until=manifests.stamp(self.options.valid_until) if self.options.valid_until else None,
            letta=dict(
                version=self.options.letta_version,
                release_range=releases.release_range_of(revisions[0]) if len(revisions) == 1 else None,
                alembic_revisions=revisions,
            ),
            postgresql=self._postgresql(),
            database=self._database(),
            tables={name: {"rows": found.rows, "digest": found.digest} for name, found in sorted(digests.items())},
            sequences=self._sequences(),
            agents=agents.agent_digests(digests, groups, self._agent_names(columns), self._archive_links(columns), schema),
            encryption_key=secrets.fingerprint(self.options.encryption_key) if self.options.encryption_key else None,
            redis=self._redis(),
            volumes=self._volumes(),
            seconds=seconds,
            warnings=self.warnings,
        )

    def _dump_and_digest(self, groups):
        # The dump runs in this thread, so that a signal ends it at once; the digest is the server's work and runs beside it.
        box, began = {}, time.monotonic()

        def digest():
            try:
                box["digests"] = digest_database(self.options.server, snapshot=self.snapshot, jobs=1, groups=groups)
            except Exception as exc:  # handed to the main thread below
                box["error"] = exc
            box["seconds"] = round(time.monotonic() - began, 2)

        worker = threading.Thread(target=digest, daemon=True)
        worker.start()
        dump.dump_directory(
            self.options.server,
            os.path.join(self.folder, "database"),
            self.tools,
            self.plan["jobs"],
            self.plan["compression"],
            self.snapshot,
            self.progress,
        )
        dumped = round(time.monotonic() - began, 2)
        worker.join()
        if "error" in box:
            raise box["error"]
        return box["digests"], {"dump": dumped, "digest": box["seconds"]}

    def _columns(self):
        rows = self._query(
            "SELECT n.nspname || '.' || c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"
            " AND n.nspname = %s ORDER BY 1, a.attnum",
            (self.plan["schema"],),
        )
        columns = {}
        for table, column in rows:
            columns.setdefault(table, []).append(column)
        return columns

    def _query(self, statement, params=None):
        with self.conn.cursor() as cursor:
            cursor.execute(statement, params)
            return cursor.fetchall()

    def _pairs(self, columns, table, first, second):
        if not {first, second} <= set(columns.get("%s.%s" % (self.plan["schema"], table), ())):
            return []
        name = sql.Identifier(self.plan["schema"], table)
        return self._query(sql.SQL("SELECT {}, {} FROM {}").format(sql.Identifier(first), sql.Identifier(second), name))

    def _agent_names(self, columns):
        return dict(self._pairs(columns, "agents", "id", "name"))

    def _archive_links(self, columns):
        return self._pairs(columns, agents.LINK_TABLE, "agent_id", "archive_id")

    def _postgresql(self):
        vector = [found["version"] for found in self.facts["extensions"] if found["name"] == "vector"]
        return dict(
            server_version=self.facts["server_version"],
            server_version_num=self.facts["server_version_num"],
            dump_version=self.plan["tools_version"],
            pgvector=vector[0] if vector else None,
            system_identifier=self.facts.get("system_identifier"),
        )

    def _database(self):
        names = ("owner", "encoding", "collate", "ctype", "locale_provider", "locale", "settings", "acl", "comment", "connection_limit", "extensions")
        archive = os.path.join(self.folder, "database")
        return dict(
            {name: self.facts.get(name) for name in names},
            name=self.options.server.dbname,
            schema=self.plan["schema"],
            schemas=catalog.user_schemas(self.options.server),
            size_bytes=self.facts["size_bytes"],
            archive=dict(path="database", format="directory", compression=self.plan["compression"], bytes=volumes.tree_bytes(archive)),
        )

    def _sequences(self):
        # A sequence stands outside of snapshots. What counts is the value in the archive: it is what a restore brings back.
        known = catalog.sequences(self.options.server)
        dumped = archive_facts.sequence_values(open_archive(os.path.join(self.folder, "database"), self.tools))
        return {name: dict(value, column=(known.get(name) or {}).get("column")) for name, value in sorted(dumped.items())}

    def _redis(self):
        if self.options.redis is None:
            return None
        target = os.path.join(self.folder, "redis", "dump.rdb")
        os.mkdir(os.path.dirname(target), 0o700)
        try:
            return dict(redisdump.take_snapshot(self.options.redis, target), path="redis/dump.rdb")
        except redisdump.RedisSnapshotError as exc:
            # Nothing in Redis has to survive (it holds locks, streams and caches), so its absence must not cost the database's backup.
            os.rmdir(os.path.dirname(target))
            self.warnings.append("no Redis snapshot: %s" % exc)
            return None

    def _volumes(self):
        # After the dump: what the git-backed memory has more than the database is found at restore, what it lacks is lost.
        done = []
        if self.options.volumes:
            os.mkdir(os.path.join(self.folder, "volumes"), 0o700)
        for volume in self.options.volumes:
            self.progress.start("volumes", item=volume["name"])
            archive = "volumes/%s.tar.gz" % volume["name"]
            facts = volumes.archive_volume(volume["path"], os.path.join(self.folder, archive))
            done.append(dict(facts, name=volume["name"], source=volume["path"], archive=archive))
            if facts["skipped_count"]:
                self.warnings.append("volume %s: %d entries left out (links, sockets …)" % (volume["name"], facts["skipped_count"]))
        return done
