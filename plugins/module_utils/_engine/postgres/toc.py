# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of contents of a pg_dump archive, read from its binary form.

``pg_restore --list`` prints names without quotes and joins them by blanks, so that nasty names cannot be told apart; the
binary form is exact and holds the DDL and the COPY statement of every entry as well. Layout: ``ReadHead`` and ``ReadToc`` of
PostgreSQL's ``src/bin/pg_dump/pg_backup_archiver.c``, archive versions 1.12 (PostgreSQL 9.0) to 1.16 (17 and 18).
:func:`matches_listing` compares the outcome with what ``pg_restore --list`` makes of the same archive.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

MAGIC = b"PGDMP"
CUSTOM_FORMAT, TAR_FORMAT, DIRECTORY_FORMAT = 1, 3, 5  # the table of contents of directory format says tar
COMPRESSIONS = {0: "none", 1: "gzip", 2: "lz4", 3: "zstd"}
SECTIONS = {2: "pre-data", 3: "data", 4: "post-data"}
# First major version of pg_restore that reads an archive version.
READ_SINCE = {16: 17, 15: 16, 14: 12, 13: 9, 12: 9}
NEWEST_KNOWN, OLDEST_KNOWN = (1, 16), (1, 12)
_MAX_ENTRIES = 10000000
_MAX_DIGITS = 20  # more than any oid or number of an entry has; Python refuses to read numbers of thousands of them


class TocError(ValueError):
    """The table of contents cannot be read; the message says what is wrong."""


@dataclass(frozen=True)
class TocEntry:
    """One object of an archive.

    :param id: number of the entry (its data file is ``<id>.dat``).
    :param type: ``TABLE``, ``TABLE DATA``, ``INDEX`` …
    :param schema: name of its schema, ``""`` when it has none.
    :param name: its tag: for most types the object's name.
    :param owner: role, ``""`` when it has none.
    :param definition: its DDL.
    :param copy: COPY statement of a ``TABLE DATA`` entry.
    :param file: member that holds its data (directory and tar).
    :param section: ``pre-data``, ``data``, ``post-data``, or ``""`` for what is in none.
    :param depends: ids of the entries that must be there before.
    :param tablespace: ``""`` for the database's own.
    """

    id: int
    type: str
    schema: str
    name: str
    owner: str
    definition: str = field(default="", repr=False)
    copy: str = field(default="", repr=False)
    file: str = ""
    catalog_ids: tuple = (0, 0)
    section: str = ""
    depends: tuple = ()
    tablespace: str = ""

    def listing(self):
        """Return the entry's line as ``pg_restore --list`` writes it."""
        values = [self.type, self.schema or "-", self.name or "-", self.owner]
        values = [value.replace("\n", " ").replace("\r", " ") for value in values]
        return "%d; %d %d %s" % ((self.id,) + self.catalog_ids + (" ".join(values),))


@dataclass(frozen=True)
class Toc:
    """Header and entries of an archive."""

    version: tuple
    compression: str
    dbname: str
    server_version: str
    dump_version: str
    entries: tuple = field(repr=False)


class _Reader:
    """The primitive values of an archive. ``limit`` bounds every length, so that garbage cannot ask for memory."""

    def __init__(self, stream, limit):
        self._stream, self._limit = stream, limit
        self.int_size, self.offset_size = 4, 8

    def raw(self, size):
        if size > self._limit:
            raise TocError("a length of %d bytes cannot be" % size)
        data = self._stream.read(size)
        if len(data) != size:
            raise TocError("it ends in the middle of its table of contents")
        return data

    def byte(self):
        return self.raw(1)[0]

    def int(self):
        negative = self.byte()
        if negative > 1:
            raise TocError("its table of contents holds an impossible number")
        value = int.from_bytes(self.raw(self.int_size), "little")
        return -value if negative else value

    def text(self):
        size = self.int()
        return None if size < 0 else self.raw(size).decode("utf-8", "surrogateescape")


def read_toc(stream, size):
    """Read a table of contents.

    :param stream: binary stream at the magic word.
    :param size: bytes the file has, as a bound for every length in it.
    :returns: :class:`Toc`.
    :raises TocError: when it is no archive, is damaged, or has a version outside 1.12 to 1.16.
    """
    reader = _Reader(stream, max(size, 64))
    if reader.raw(len(MAGIC)) != MAGIC:
        raise TocError("it does not begin as a pg_dump archive does")
    version = (reader.byte(), reader.byte())
    reader.byte()  # revision, always 0
    if not OLDEST_KNOWN <= version <= NEWEST_KNOWN:
        raise TocError("its archive version is %d.%d; known are %d.%d to %d.%d" % (version + OLDEST_KNOWN + NEWEST_KNOWN))
    reader.int_size, reader.offset_size, format_code = reader.byte(), reader.byte(), reader.byte()
    if (
        reader.int_size not in (4, 8)
        or reader.offset_size not in (4, 8)
        or format_code not in (CUSTOM_FORMAT, TAR_FORMAT, DIRECTORY_FORMAT)
    ):
        raise TocError("its header is damaged")
    if version >= (1, 15):
        compression = COMPRESSIONS.get(reader.byte())
        if compression is None:
            raise TocError("its header names an unknown compression")
    else:
        compression = "none" if reader.int() == 0 else "gzip"
    for _unused in range(7):  # when it was made, in the local time of that host: of no use without its zone
        reader.int()
    dbname, server_version, dump_version = reader.text(), reader.text(), reader.text()
    count = reader.int()
    if not 0 <= count <= _MAX_ENTRIES:
        raise TocError("its table of contents claims %d entries" % count)
    entries = tuple(_read_entry(reader, version, format_code) for _unused in range(count))
    return Toc(version, compression, dbname or "", server_version or "", dump_version or "", entries)


def _read_entry(reader, version, format_code):
    number = reader.int()
    reader.int()  # whether it has data: told by its type as well
    catalog_ids = (_oid(reader.text()), _oid(reader.text()))
    name, kind = reader.text(), reader.text()
    section = SECTIONS.get(reader.int(), "")
    definition, dummy, copy = reader.text(), reader.text(), reader.text()
    schema, tablespace = reader.text(), reader.text()
    if version >= (1, 14):
        reader.text()  # access method
    if version >= (1, 16):
        reader.int()  # relkind
    owner = reader.text()
    reader.text()  # WITH OIDS
    depends = tuple(_oid(text) for text in iter(reader.text, None))
    file = ""
    if format_code == CUSTOM_FORMAT:
        reader.raw(1 + reader.offset_size)  # place of its data in the file
    else:
        file = reader.text() or ""
    return TocEntry(
        number, kind or "", schema or "", name or "", owner or "", definition or "", copy or "", file, catalog_ids, section, depends,
        tablespace or "",
    )  # fmt: skip


def _oid(text):
    if not text or not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS:
        raise TocError("its table of contents holds an impossible number")
    return int(text)


def matches_listing(toc, listing):
    """Tell whether every line of ``pg_restore --list`` is an entry of ``toc``, and the number of entries is the same.

    An archive that PostgreSQL's own tool reads differently than we do must not pass for understood.
    """
    known = {entry.listing().encode("utf-8", "surrogateescape").decode("utf-8", "replace") for entry in toc.entries}
    for line in listing.splitlines():
        if line.startswith(";     TOC Entries:"):
            if line.rsplit(":", 1)[1].strip() != str(len(toc.entries)):
                return False
        elif line and not line.startswith(";") and line not in known:
            return False
    return True


def split_columns(copy_statement):
    """Return the column names of ``COPY schema.table (a, "b c") FROM stdin;``, in order; empty for a table without columns."""
    text = copy_statement.rstrip()
    if not text.startswith("COPY ") or not text.endswith(" FROM stdin;"):
        raise TocError("a COPY statement of it is damaged")
    text = text[len("COPY ") : -len(" FROM stdin;")]
    end = _end_of_name(text)
    rest = text[end:].strip()
    if not rest:
        return []
    if rest[0] != "(" or rest[-1] != ")":
        raise TocError("a COPY statement of it is damaged")
    return [unquote(part.strip()) for part in split_top_level(rest[1:-1])]


def _end_of_name(text):
    """Return where a qualified, maybe quoted name at the start of ``text`` ends."""
    quoted = False
    for position, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif not quoted and char in " (\n":
            return position
    return len(text)


def unquote(name):
    """Return an SQL identifier without its quotes."""
    if len(name) >= 2 and name[0] == name[-1] == '"':
        return name[1:-1].replace('""', '"')
    return name


def split_top_level(text, separator=","):
    """Split SQL text at separators outside quotes and parentheses."""
    parts, depth, quote, start = [], 0, "", 0
    for position, char in enumerate(text):
        if quote:
            if char == quote:
                quote = ""
        elif char in "\"'":
            quote = char
        elif char in "([":
            depth += 1
        elif char in ")]":
            depth -= 1
        elif char == separator and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    parts.append(text[start:])
    return parts


def file_size(path):
    """Return a file's size in bytes."""
    return os.stat(path).st_size
