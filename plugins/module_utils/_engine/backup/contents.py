# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a backup set in the making: all of one snapshot, except what stands outside of snapshots and says so."""
from __future__ import annotations

import os
import tarfile
import threading
import time
from functools import cached_property

from ..errors import RecoveryError
from ..letta import releases, secrets
from ..letta.memory import EQUAL
from ..postgres import catalog, dump, segments
from ..postgres.archive import open_archive
from ..postgres.connection import psycopg2
from ..postgres.digest import digest_database
from ..postgres.rowsums import MD5, form_of, in_words
from . import agents, archive_facts, figures, memory, queries, redisdump, screening, versions, volumes
from . import manifest as manifests

ENDS_WITHIN = 10  # seconds
MADE_BY = "letta_ops.recovery 0.1.0"
_DATABASE_FACTS = (
    "owner", "encoding", "collate", "ctype", "locale_provider", "locale", "settings", "acl", "comment", "connection_limit", "extensions",
)  # fmt: skip


class _Beside(threading.Thread):
    """A function that runs beside, from now on.

    :ivar seconds: how long it took.
    """

    def __init__(self, function):
        super().__init__(daemon=True)
        self._function, self._began, self._error = function, time.monotonic(), None
        self.seconds = 0.0
        self.start()

    def run(self):
        try:
            self._result = self._function()
        except BaseException as exc:  # noqa: BLE001 (handed to the main thread, which raises it)
            self._error = exc
        self.seconds = round(time.monotonic() - self._began, 2)

    def result(self):
        """Wait for it, and return what it returned or raise what it raised."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._result


class Content:
    """The parts of one set in the making. Holds the coordinating connection, whose snapshot all parts share."""

    def __init__(self, options, plan, facts, tools, conn, snapshot, folder, progress):
        self.options, self.plan, self.facts, self.tools = options, plan, facts, tools
        self.conn, self.snapshot, self.folder, self.progress = conn, snapshot, folder, progress
        self.warnings = []
        self.segments = None

    def collect(self, head):
        """Return the manifest's body, with the dump, Redis and volumes written into the folder."""
        schema, columns = self.plan["schema"], self._columns()
        groups = agents.group_columns(columns, schema)
        digests, seconds = self._dump_and_digest(groups)
        tables = in_words(digests)
        with self.conn.cursor() as cursor:
            revisions = versions.revisions(cursor, schema)
        if len(revisions) != 1:
            self.warnings.append("alembic_version holds %d revisions instead of one" % len(revisions))
        return dict(
            head,
            format=manifests.FORMAT_SEGMENTS if self.segments or form_of(tables) != MD5 else manifests.FORMAT,
            made_by=MADE_BY,
            valid_until=manifests.stamp(self.options.valid_until) if self.options.valid_until else None,
            letta=dict(
                version=self.options.letta_version,
                release_range=releases.release_range_of(revisions[0]) if len(revisions) == 1 else None,
                alembic_revisions=revisions,
            ),
            postgresql=self._postgresql(),
            database=self._database(),
            tables=tables,
            sequences=self._sequences(),
            agents=agents.agent_digests(digests, groups, self._agent_names(columns), self._archive_links(columns)),
            archives=agents.passage_digests(digests, schema),
            **self._test_queries(columns),
            encryption_key=secrets.fingerprint(self.options.encryption_key) if self.options.encryption_key else None,
            redis=self._redis(),
            volumes=self._volumes(),
            seconds=seconds,
            warnings=self.warnings,
        )

    def _dump_and_digest(self, groups):
        # The dump runs in this thread, so that a signal ends it at once; the digest is the server's work and runs beside it.
        server, began = self.options.server, time.monotonic()
        digest = _Beside(lambda: digest_database(server, snapshot=self.snapshot, jobs=1, groups=groups, form=None))
        tables = self._in_binary()
        taking = segments.Taking(server, self.snapshot, self.folder, self.plan["vectors"], agents.key_columns(self.plan["schema"]))
        binary = _Beside(lambda: taking.run(tables, self.plan["jobs"])) if tables else None
        try:
            dump.dump_directory(
                server,
                os.path.join(self.folder, "database"),
                self.tools,
                self.plan["jobs"],
                self.plan["compression"],
                self.snapshot,
                self.progress,
                [(table.schema, table.name) for table in tables],
                self._written,
            )
            dumped = round(time.monotonic() - began, 2)
            while binary and binary.is_alive():
                self.progress.update(self._written())
                binary.join(dump.POLL_SECONDS)
            self._warn_of_foreign_objects()  # which takes one core, while the server is at the rest of the digests
            digests = digest.result()
            if binary:
                self.segments = dict(binary.result(), probe=self._probe())
        except BaseException:
            taking.stop()
            if binary:  # it must not write any more when the folder is removed
                binary.join(ENDS_WITHIN)
            raise
        return digests, dict({"dump": dumped, "digest": digest.seconds}, **({"vectors": binary.seconds} if binary else {}))

    @cached_property
    def _dumped(self):
        """What was dumped; opening it asks pg_restore for its table of contents."""
        return open_archive(os.path.join(self.folder, "database"), self.tools)

    def _warn_of_foreign_objects(self):
        """Say now, while they can be removed, what a restore of this set would refuse."""
        found = screening.refused(self._dumped)
        if found:
            names = ", ".join("%s %s" % item for item in found[:5])
            text = "restore-full.yml will refuse this set: the database holds %d objects that no Letta database has: %s"
            self.warnings.append(text % (len(found), names) + "; remove them and back up again")

    def _written(self):
        return sum(dump.folder_bytes(os.path.join(self.folder, name)) for name in ("database", segments.FOLDER))

    def _in_binary(self):
        if not self.plan["vectors"]:
            return []
        with self.conn.cursor() as cursor:
            tables, warnings = segments.tables_with_vectors(cursor)
        self.warnings += warnings
        return tables

    def _probe(self):
        with self.conn.cursor() as cursor:
            return segments.probe(cursor)

    def _test_queries(self, columns):
        schema = self.plan["schema"]
        bare = {name[len(schema) + 1 :]: found for name, found in columns.items()}
        with self.conn.cursor() as cursor:
            cursor.execute("SAVEPOINT queries")
            try:
                asked = queries.record(cursor, schema, bare)
                return {"queries": asked, "figures": figures.of_queries(cursor, schema, bare, asked)}
            except psycopg2.Error as exc:
                # They only help to prove a restore: a backup without them is a backup.
                cursor.execute("ROLLBACK TO SAVEPOINT queries")
                self.warnings.append("no test queries recorded: %s %s" % (type(exc).__name__, exc.pgcode or ""))
                return {"queries": None, "figures": None}

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
            **({"segments": self.segments} if self.segments else {}),
        )

    def _sequences(self):
        # A sequence stands outside of snapshots. What counts is the value in the archive: it is what a restore brings back.
        known = catalog.sequences(self.options.server)
        dumped = archive_facts.sequence_values(self._dumped)
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

    def _memory_rows(self):
        with self.conn.cursor() as cursor:
            cursor.execute("SAVEPOINT memory")
            try:
                return memory.rows(cursor, self.plan["schema"])
            except psycopg2.Error as exc:
                cursor.execute("ROLLBACK TO SAVEPOINT memory")
                self.warnings.append("git-backed memory was not compared with the rows: %s %s" % (type(exc).__name__, exc.pgcode or ""))
                return {}

    def _archive(self, volume, target, known):
        if not volume.get("archive"):
            return memory.archive(volume["path"], target, known)
        try:
            facts = memory.take_over(volume["archive"], target, known, self.options.seal.scratch_dir)
        except (tarfile.TarError, OSError, EOFError, ValueError) as exc:
            text = "volume %s: what was brought from %s cannot be read: %s" % (volume["name"], volume.get("host"), exc)
            raise RecoveryError("preflight", text, next_step="run backup.yml again") from None
        return dict(facts, skipped_count=volume.get("skipped_count") or 0)

    def _tell_of_memory(self, name, found):
        if not found:
            return
        if found["moved"]:
            text = "volume %s: %d agents committed memory while each of %d archives was written: theirs may be torn"
            self.warnings.append(text % (name, found["moved"], memory.ATTEMPTS))
        others = [one["verdict"] for one in found["agents"].values() if one["verdict"] != EQUAL]
        if others:
            counts = ", ".join("%d %s" % (others.count(verdict), verdict) for verdict in sorted(set(others)))
            self.warnings.append("volume %s: the memory of %d agents is not that of their rows (%s)" % (name, len(others), counts))

    def _volumes(self):
        # After the dump: what the git-backed memory has more than the database is found at restore, what it lacks is lost.
        done, known = [], self._memory_rows() if self.options.volumes else {}
        if self.options.volumes:
            os.mkdir(os.path.join(self.folder, "volumes"), 0o700)
        for volume in self.options.volumes:
            self.progress.start("volumes", item=volume["name"])
            archive = "volumes/%s.tar.gz" % volume["name"]
            facts = self._archive(volume, os.path.join(self.folder, archive), known)
            self._tell_of_memory(volume["name"], facts.get("memory"))
            done.append(dict(facts, name=volume["name"], source=volume["path"], host=volume.get("host"), archive=archive))
            if facts.get("skipped_count"):
                self.warnings.append("volume %s: %d entries left out (links, sockets …)" % (volume["name"], facts["skipped_count"]))
        return done
