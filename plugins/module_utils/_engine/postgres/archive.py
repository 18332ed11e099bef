# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_dump archives: what is in them, whether they can be read, and their rows, without a server."""

from __future__ import annotations

import os
import stat
import tarfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from ..errors import RecoveryError
from ..progress import Progress
from . import ddl
from .copytext import CODECS, CopyEnded, CopyError, CopyScanner, decode_rows
from .listing import use_list
from .process import ToolFailed, run_tool, running_tool
from .toc import MAGIC, READ_SINCE, TocError, file_size, matches_listing, read_toc, split_columns

LIST_SECONDS = 300
COMPRESSED_FILES = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
)
_UNTOUCHED = "nothing was read into any database"


@dataclass(frozen=True)
class Archive:
    """A pg_dump archive and its table of contents.

    :param path: file, or folder of directory format.
    :param format: ``directory``, ``custom`` or ``tar``.
    :param compression: ``none``, ``gzip``, ``lz4`` or ``zstd``.
    :param dump_version: of the pg_dump that wrote it, ``18.6``.
    :param server_version: of the server it came from.
    :param dbname: of the database it came from.
    :param entries: tuple of :class:`TocEntry`.
    """

    path: str
    format: str
    compression: str
    dump_version: str
    server_version: str
    dbname: str
    entries: tuple = field(repr=False)

    def tables(self):
        """Return ``["schema.table"]`` of the tables it defines, sorted."""
        return sorted("%s.%s" % (entry.schema, entry.name) for entry in self.entries if entry.type == "TABLE")

    def schemas(self):
        """Return the names of the schemas it creates or uses, sorted."""
        named = {entry.name for entry in self.entries if entry.type == "SCHEMA"}
        return sorted(named | {entry.schema for entry in self.entries if entry.type == "TABLE"})

    def extensions(self):
        """Return ``{extension: schema}``."""
        return ddl.extensions(self.entries)

    def encoding(self):
        """Return the encoding its text is in, by PostgreSQL's name (``UTF8``)."""
        for entry in self.entries:
            if entry.type == "ENCODING" and "'" in entry.definition:
                return entry.definition.split("'")[1]
        return "UTF8"

    def data_entries(self):
        """Return the entries that hold rows, in the archive's order."""
        return [entry for entry in self.entries if entry.type == "TABLE DATA"]

    def member_bytes(self, entry):
        """Return the bytes that an entry's rows take on disk; 0 where that is not to be known."""
        if self.format != "directory":
            return 0
        name = os.path.join(self.path, entry.file)
        return next((file_size(name + end) for end in ("", ".gz", ".lz4", ".zst") if os.path.exists(name + end)), 0)

    def data_bytes(self):
        """Return the bytes it takes on disk."""
        if self.format != "directory":
            return file_size(self.path)
        return sum(file_size(os.path.join(self.path, name)) for name in os.listdir(self.path))


def open_archive(path, tools):
    """Recognise an archive and read its table of contents, with our reader and with pg_restore, which must agree.

    :param tools: Tools with ``pg_restore``.
    :returns: :class:`Archive`.
    :raises RecoveryError: ``usage`` for plain SQL, a compressed file or nothing there; ``preflight`` when pg_restore is too old or
        lacks the compression; ``backup_corrupt``, naming the file, when it is damaged.
    """
    path = str(path)
    form, toc = read_own(path)
    needed = READ_SINCE[toc.version[1]]
    if toc.compression not in ("none",) + tools.compressions:
        raise _tool_error(path, tools, max(needed, 16 if toc.compression != "gzip" else 0), toc.compression)
    if tools.version[0] < needed:
        raise _tool_error(path, tools, needed, toc.compression)
    try:
        listing = run_tool([tools.path("pg_restore"), "--list", path], timeout=LIST_SECONDS).stdout
    except ToolFailed as exc:
        raise corrupt(path, exc) from None
    if not matches_listing(toc, listing):
        raise RecoveryError(
            "backup_corrupt",
            "%s: pg_restore reads another table of contents out of it than it holds" % path,
            now=_UNTOUCHED,
            next_step="take another backup set, or make the dump again",
        )
    return Archive(path, form, toc.compression, toc.dump_version, toc.server_version, toc.dbname, toc.entries)


def read_own(path):
    """Return (format, :class:`Toc`): the table of contents as :mod:`toc` reads it, whatever the form of the archive is."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            member = os.path.join(path, "toc.dat")
            if not os.path.exists(member):
                raise RecoveryError("backup_corrupt", "%s is missing: no pg_dump archive of directory format" % member, now=_UNTOUCHED)
            with open(member, "rb") as stream:
                return "directory", read_toc(stream, file_size(member))
        with open(path, "rb") as stream:
            head = stream.read(1024)
            stream.seek(0)
            if head.startswith(MAGIC):
                return "custom", read_toc(stream, file_size(path))
        if head[257:262] == b"ustar" or head.startswith(b"toc.dat\0"):
            with tarfile.open(path, "r:") as archive:
                inner = archive.getmember("toc.dat")
                if not inner.isreg():  # a link may lead to itself
                    raise TocError("its toc.dat is no file")
                return "tar", read_toc(archive.extractfile(inner), file_size(path))
    except (FileNotFoundError, PermissionError, NotADirectoryError) as exc:
        raise RecoveryError("usage", "cannot read %s: %s" % (path, exc.strerror), next_step="check letta_adopt_dump") from None
    except TocError as exc:
        if "archive version" in str(exc):
            raise RecoveryError(
                "preflight", "%s cannot be understood: %s" % (path, exc), next_step="dump again with PostgreSQL 18's pg_dump or older"
            ) from None
        raise corrupt(path, exc) from None
    except (tarfile.TarError, KeyError, OSError, EOFError) as exc:
        raise corrupt(path, exc) from None
    raise _not_an_archive(path, head)


def _not_an_archive(path, head):
    for magic, name in COMPRESSED_FILES:
        if head.startswith(magic):
            return RecoveryError("usage", "%s is a %s-compressed file, no pg_dump archive" % (path, name), next_step="decompress it first")
    if head and b"\0" not in head:
        return RecoveryError(
            "usage",
            "%s is a plain SQL dump (or other text): restoring it runs whatever SQL its source chose" % path,
            next_step="pg_dump -Fc or -Fd makes an archive; to accept this one, filtered: adopt.yml -e letta_adopt_trust_sql=true",
            details={"format": "plain"},
        )
    return RecoveryError(
        "backup_corrupt", "%s is no pg_dump archive: it begins neither as custom nor as tar format does" % path, now=_UNTOUCHED
    )


def _tool_error(path, tools, major, compression):
    extra = " with %s" % compression if compression not in ("none", "gzip") else ""
    return RecoveryError(
        "preflight",
        "%s needs pg_restore %d+%s; found: %s" % (path, major, extra, tools),
        next_step="install PostgreSQL client tools %d or newer%s (Debian: apt install postgresql-client-%d), or set letta_pg_bin_dir"
        % (major, " built" + extra if extra else "", major),
    )


def corrupt(path, reason):
    """Return the error of a damaged archive."""
    text = reason.stderr.strip().splitlines()[-1] if isinstance(reason, ToolFailed) and reason.stderr.strip() else str(reason)
    return RecoveryError(
        "backup_corrupt",
        "%s is damaged: %s" % (path, text),
        now=_UNTOUCHED,
        next_step="take another backup set (ansible-playbook playbooks/catalog.yml --tags verify lists the good ones)",
    )


def table_columns(archive):
    """Return ``{"schema.table": {column: type}}`` from the archive's own DDL; see :func:`ddl.table_columns`."""
    return ddl.table_columns(archive.entries)


def data_columns(entry):
    """Return the columns of a ``TABLE DATA`` entry, in the order of its text.

    :raises RecoveryError: ``usage`` for a dump of INSERT statements, which has no such text.
    """
    if not entry.copy:
        raise RecoveryError(
            "usage", "%s.%s was dumped as INSERT statements" % (entry.schema, entry.name), next_step="dump again without --inserts"
        )
    return split_columns(entry.copy)


@contextmanager
def selected(archive, tools, entries, stdout=None):
    """Run pg_restore over some entries only, in the given order; yields the running process, its text on ``stdout``."""
    with use_list("%d; 0 0 SELECTED\n" % entry.id for entry in entries) as listing:
        argv = [tools.path("pg_restore"), "--use-list=%s" % listing, "--file=%s" % (stdout or "-"), archive.path]
        ended = None
        try:
            with running_tool(argv) as process:
                try:
                    yield process
                except CopyEnded as exc:
                    ended = exc  # leaving the block in peace lets pg_restore's own words come first
            if ended is not None:
                raise ended
        except (ToolFailed, CopyError, TocError, UnicodeDecodeError) as exc:
            raise corrupt(archive.path, exc) from None


def check_readable(archive, tools, progress=None):
    """Read the whole archive once: every member decompresses, every table's text is complete and has its number of columns.

    ``pg_restore --list`` notices few damages. A flipped byte inside the text of an *uncompressed* archive (tar always is) can
    still look like data: only a checksum or a digest tells.

    :returns: ``{"schema.table": rows}``.
    :raises RecoveryError: ``backup_corrupt``, naming the archive and the table.
    """
    progress = progress or Progress(None)
    data = archive.data_entries()
    rest = [entry for entry in archive.entries if entry.type != "TABLE DATA"]
    progress.start("verify", len(data), "tables")
    with selected(archive, tools, rest, os.devnull):
        pass
    rows = {}
    if not data:
        return rows
    columns = [len(data_columns(entry)) for entry in data]
    with selected(archive, tools, data) as process:
        for position, (number, block) in enumerate(CopyScanner(process.stdout, [entry.copy for entry in data])):
            label = "%s.%s" % (data[number].schema, data[number].name)
            lines = block.count(b"\n")
            rows[label] = rows.get(label, 0) + lines
            if block.count(b"\t") != lines * max(columns[number] - 1, 0):
                raise CopyError("a row of %s has another number of columns" % label)
            if position % 16 == 0:
                progress.update(number, label)
    progress.update(len(data))
    return rows


def read_rows(archive, tools, table):
    """Stream one table.

    :param table: ``schema.table``.
    :returns: (columns, iterator of tuples of str or None); closing the iterator ends pg_restore.
    :raises RecoveryError: ``usage`` when the archive has no rows of such a table; ``backup_corrupt`` while reading.
    """
    entry = next((item for item in archive.data_entries() if "%s.%s" % (item.schema, item.name) == table), None)
    if entry is None:
        raise RecoveryError("usage", "%s holds no rows of a table %s" % (archive.path, table))
    columns = data_columns(entry)
    codec = CODECS.get(archive.encoding(), "utf-8")

    def rows():
        with ExitStack() as stack:  # unwinds pg_restore also when the reader stops early
            process = stack.enter_context(selected(archive, tools, [entry]))
            for _number, block in CopyScanner(process.stdout, [entry.copy]):
                yield from decode_rows(block, len(columns), codec)

    return columns, rows()
