# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text form of COPY: finding tables in pg_restore's output, and undoing its escapes."""

from __future__ import annotations

import re

CHUNK = 1 << 20
NULL = b"\\N"
_END = b"\\.\n"
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
SIMPLE_ESCAPES = ((b"\\n", b"\n"), (b"\\t", b"\t"), (b"\\r", b"\r"), (b"\\b", b"\b"), (b"\\f", b"\f"), (b"\\v", b"\v"))
_LETTERS = {escape[1:]: value for escape, value in SIMPLE_ESCAPES}

# PostgreSQL's name of an encoding -> Python's. SQL_ASCII says nothing about its bytes; they are taken as they are.
CODECS = {
    "UTF8": "utf-8",
    "SQL_ASCII": "utf-8",
    "LATIN1": "iso8859-1",
    "LATIN2": "iso8859-2",
    "LATIN3": "iso8859-3",
    "LATIN4": "iso8859-4",
    "LATIN5": "iso8859-9",
    "LATIN6": "iso8859-10",
    "LATIN7": "iso8859-13",
    "LATIN8": "iso8859-14",
    "LATIN9": "iso8859-15",
    "LATIN10": "iso8859-16",
    "ISO_8859_5": "iso8859-5",
    "ISO_8859_6": "iso8859-6",
    "ISO_8859_7": "iso8859-7",
    "ISO_8859_8": "iso8859-8",
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
    "WIN866": "cp866",
    "WIN874": "cp874",
    "WIN1250": "cp1250",
    "WIN1251": "cp1251",
    "WIN1252": "cp1252",
    "WIN1253": "cp1253",
    "WIN1254": "cp1254",
    "WIN1255": "cp1255",
    "WIN1256": "cp1256",
    "WIN1257": "cp1257",
    "WIN1258": "cp1258",
    "EUC_JP": "euc_jp",
    "EUC_JIS_2004": "euc_jis_2004",
    "EUC_KR": "euc_kr",
    "EUC_CN": "gb2312",
}


class CopyError(ValueError):
    """Text that is no complete COPY data; the message says where."""


class CopyEnded(CopyError):
    """The text ended too early: whoever writes it may have said why."""


class CopyScanner:
    """Iterates over ``(index of the table, bytes of whole lines)`` in the output of pg_restore.

    :param stream: binary stream with ``read``.
    :param statements: the COPY statements to come, in order. Exactly these are looked for: nothing else in the text can
        pass for one of them.
    :raises CopyError: when a statement does not come, or its data does not end.

    Memory: one chunk, or the longest row.
    """

    def __init__(self, stream, statements):
        self._read = getattr(stream, "read1", stream.read)
        self._statements = [text.encode("utf-8", "surrogateescape") for text in statements]

    def __iter__(self):
        rest = b""
        for index, statement in enumerate(self._statements):
            rest = self._skip_to(b"\n" + statement, b"\n" + rest, index)
            while True:
                if rest.startswith(_END):
                    rest = rest[len(_END) :]
                    break
                end = rest.find(b"\n" + _END)
                cut = end + 1 if end >= 0 else rest.rfind(b"\n") + 1
                if cut:
                    yield index, rest[:cut]
                    rest = rest[cut:]
                    continue
                rest = self._grow(rest, "the rows of table %d of %d do not end" % (index + 1, len(self._statements)))
        while self._read(CHUNK):  # what comes after the last table is read, so that the tool can end by itself
            pass

    def _skip_to(self, marker, rest, index):
        while True:
            start = rest.find(marker)
            if start >= 0:
                return rest[start + len(marker) :]
            kept = rest[-len(marker) :]
            rest = self._grow(kept, "the rows of table %d of %d are missing" % (index + 1, len(self._statements)))

    def _grow(self, rest, problem):
        """Read more behind ``rest``: as much again when a single row is longer than a chunk."""
        parts, size = [rest], 0
        while size < max(CHUNK // 4, len(rest)):
            data = self._read(CHUNK)
            if not data:
                break
            parts.append(data)
            size += len(data)
        if not size:
            raise CopyEnded(problem)
        return b"".join(parts)


def unescape(value):
    """Return a COPY field (not NULL) as the bytes it stands for."""
    if b"\\" not in value:
        return value
    # pairs of backslashes first: what lies between them holds single escapes only
    parts = value.split(b"\\\\")
    for position, escaped in enumerate(parts):
        if b"\\" in escaped:
            part = escaped
            for escape, plain in SIMPLE_ESCAPES:
                part = part.replace(escape, plain)
            if b"\\" in part:
                return _ESCAPE.sub(_escaped, value)
            parts[position] = part
    return b"\\".join(parts)


def _escaped(match):
    code = match.group(1)
    if code[:1] == b"x" and len(code) > 1:
        return bytes((int(code[1:], 16),))
    if code[:1].isdigit() and code[:1] not in b"89":
        return bytes((int(code, 8) & 0xFF,))
    return _LETTERS.get(code, code)


def split_rows(block, width):
    """Return the rows of a block of whole lines as lists of fields.

    :param width: number of columns.
    :raises CopyError: when a row has another number.
    """
    lines = block.split(b"\n")
    lines.pop()
    if width == 0:
        if any(lines):
            raise CopyError("a row of a table without columns holds text")
        return [[] for dummy in lines]
    rows = [line.split(b"\t") for line in lines]
    if rows and set(map(len, rows)) != {width}:
        raise CopyError("a row has another number of columns than its table")
    return rows


def decode_rows(block, width, codec="utf-8"):
    """Yield the rows of a block as tuples of str or None.

    :raises CopyError, UnicodeDecodeError: when the text is damaged.
    """
    for row in split_rows(block, width):
        yield tuple(None if field == NULL else unescape(field).decode(codec) for field in row)
