# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a backup set in the making: all of one snapshot, except what stands outside of snapshots and says so."""
from __future__ import annotations

import os
import threading
import time

from ..letta import releases, secrets
from ..postgres import catalog, dump
from ..postgres.archive import open_archive
from ..postgres.connection import psycopg2
from ..postgres.digest import digest_database
from . import agents, archive_facts, queries, redisdump, versions, volumes
from . import manifest as manifests

MADE_BY = "letta_ops.recovery 0.1.0"
_DATABASE_FACTS = (
    "owner", "encoding", "collate", "ctype", "locale_provider", "locale", "settings", "acl", "comment", "connection_limit", "extensions",
)  # fmt: skip


class Content:
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
        with self.conn.cursor() as cursor:
            revisions = versions.revisions(cursor, schema)
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
            agents=agents.agent_digests(digests, groups, self._agent_names(columns), self._archive_links(columns)),
            queries=self._test_queries(columns),
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
            except Exception as exc:  # noqa: BLE001 (handed to the main thread, which raises it)
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

    def _test_queries(self, columns):
        schema = self.plan["schema"]
        bare = {name[len(schema) + 1 :]: found for name, found in columns.items()}
        with self.conn.cursor() as cursor:
            cursor.execute("SAVEPOINT queries")
            try:
                return queries.record(cursor, schema, bare)
            except psycopg2.Error as exc:
                # They only help to prove a restore: a backup without them is a backup.
                cursor.execute("ROLLBACK TO SAVEPOINT queries")
                self.warnings.append("no test queries recorded: %s %s" % (type(exc).__name__, exc.pgcode or ""))
                return None

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
        names = (catalog.quote_ident(first), catalog.quote_ident(second), catalog.quote_table(self.plan["schema"], table))
        return self._query("SELECT %s, %s FROM %s" % names)

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
        archive = os.path.join(self.folder, "database")
        return dict(
            {name: self.facts.get(name) for name in _DATABASE_FACTS},
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
