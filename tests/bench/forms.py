"""What loading costs by each way there is: ours, PostgreSQL's own tools with every compression, and the floor below all of them."""
from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.catalog import quote_ident, quote_table, read_tables
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.process import run_tool
from tests.bench import community, effort
from tests.bench.about import COMPRESSIONS
from tests.bench.lines import CPU, INSTRUCTIONS
from tests.bench.target import BARE

PIECE = 32 << 20
_COLUMNS = (
    "SELECT attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"
)


class Forms:
    """The ways to load one :class:`~tests.bench.target.Target`. What is loaded from is made once, and not timed with the loads.

    :param there: what :func:`tests.bench.about.wants` found: whether the community's module can be run, instructions be counted.
    """

    def __init__(self, target, there):
        self.target, self.there = target, there
        self.known = [name for name in COMPRESSIONS if name in target.tools.compressions]
        self._made = False

    def measure_once(self, turned):
        """Measure every way once; ``turned`` reverses their order. :returns: {figure: value}"""
        self._make()
        dumps = {"backup": self.target.backup, **{"pg_dump." + name: self._dumping(name) for name in self.known if name != "lz4"}}
        loads = {"stage": self.target.staged, **{"pg_restore." + name: self._loading(name) for name in self.known}, "psql": self.psql}
        if self.there["community"]:
            loads.update({"postgresql_db": self.community, "postgresql_db.best": self.community_best})
        loads["floor"] = self.floor
        sample = {}
        for steps in (dumps, loads):
            for name, step in reversed(steps.items()) if turned else steps.items():
                self.target.tidy()
                if steps is loads:
                    self.target.empty_database()
                sample.update(self._measured(name, step))
        self.target.tidy()
        return sample

    def _measured(self, name, step):
        """Return the figures of a way with what it cost the processor."""
        with effort.measured([self.target.postgres.pid()], self.there["instructions"]) as spent:
            figures = step()
        figures = figures if isinstance(figures, dict) else {name: figures}
        figures[name + CPU] = spent.seconds
        if spent.instructions is not None:
            figures[name + INSTRUCTIONS] = spent.instructions
        return figures

    def _dumping(self, name):
        """``pg_dump -Fd -j`` with a compression at the level pg_dump has by itself."""

        def dump():
            seconds = self._dump(self.target.folder / "timed-dump", name)
            shutil.rmtree(self.target.folder / "timed-dump")
            return seconds

        return dump

    def _loading(self, name):
        """``pg_restore -j`` of a directory archive of that compression."""
        return lambda: self.target.load_archive(self._path(name))

    def psql(self):
        """``psql`` with a plain script."""
        argv = [self.target.tools.path("psql"), "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
        return self.target.clocked([*argv, "--file=%s" % self._path("plain"), "--dbname=" + BARE], BARE)

    def community(self):
        """``postgresql_db`` with what its own ``state: dump`` leaves in a ``.dir`` (pg_dump's default, gzip), and no option."""
        return self._community("postgresql_db", "gzip", None)

    def community_best(self):
        """``postgresql_db`` with the quickest archive, and as many jobs as the others have."""
        return self._community("postgresql_db.best", self.known[0], "--jobs=%d" % self.target.jobs)

    def floor(self):
        """Binary COPY of the same rows, as they are, into tables without indexes, on all workers; the indexes are built after."""
        target, archive = self.target, self._path(self.known[0])
        pg_restore = [target.tools.path("pg_restore"), "--exit-on-error", "--dbname=" + BARE]
        began = time.perf_counter()
        run_tool([*pg_restore, "--section=pre-data", archive], target.admin.database(BARE))
        with ThreadPoolExecutor(max_workers=target.jobs) as pool:
            list(pool.map(self._read_in, self._pieces))
        run_tool([*pg_restore, "--section=post-data", "--jobs=%d" % target.jobs, archive], target.admin.database(BARE))
        return time.perf_counter() - began

    # -- inside -------------------------------------------------------------------------------------------------

    def _path(self, name):
        return self.target.folder / ("dump-%s.dir" % name)

    def _community(self, figure, compression, options):
        began = time.perf_counter()
        task = community.restore(self.target, BARE, self._path(compression), options)
        return {figure: time.perf_counter() - began, figure + ".task": task}

    def _dump(self, path, compression):
        argv = [self.target.tools.path("pg_dump"), "-Fd", "-j%d" % self.target.jobs, "--compress=%s" % compression, "-f", path]
        return self.target.clocked(argv, self.target.name)

    def _make(self):
        if self._made:
            return
        for name in self.known:
            self._dump(self._path(name), name)
        plain = [self.target.tools.path("pg_dump"), "-Fp", "-f", self._path("plain")]
        self.target.clocked(plain, self.target.name)
        self._pieces = self._write_out()
        self._made = True

    def _write_out(self):
        """Write every table as binary files; returns [(statement that reads one, its path)], the largest first."""
        folder, found = self._path("binary"), []
        folder.mkdir()
        with closing(connect(self.target.admin.database(self.target.name))) as conn, conn.cursor() as cursor:
            for schema, name, _kind, oid, size, pages in read_tables(cursor):
                cursor.execute(_COLUMNS, (oid,))
                columns = ", ".join(quote_ident(row[0]) for row in cursor.fetchall())
                count = max(1, min(-(-size // PIECE), pages))
                for number in range(count):
                    path = folder / ("%s.%d" % (name, number))
                    where = "ctid >= '(%d,0)'" % (pages * number // count)
                    where += " AND ctid < '(%d,0)'" % (pages * (number + 1) // count) if number + 1 < count else ""
                    table = quote_table(schema, name)
                    with open(path, "wb") as stream:
                        cursor.copy_expert("COPY (SELECT %s FROM %s WHERE %s) TO STDOUT (FORMAT binary)" % (columns, table, where), stream)
                    found.append((size / count, "COPY %s (%s) FROM STDIN (FORMAT binary)" % (table, columns), path))
        return [(statement, path) for _size, statement, path in sorted(found, reverse=True)]

    def _read_in(self, piece):
        statement, path = piece
        with closing(connect(self.target.admin.database(BARE))) as conn, conn.cursor() as cursor, open(path, "rb") as stream:
            cursor.copy_expert(statement, stream, 1 << 20)
