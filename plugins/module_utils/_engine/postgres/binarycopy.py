# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The binary form of COPY: taking rows apart without understanding their values.

Layout (PostgreSQL's documentation of COPY, "Binary Format"): a signature, flags, the length of an extension area; per row the
number of fields as 16 bits, per field its length as 32 bits (-1 for NULL) and its bytes; at the end -1 as 16 bits.
"""
from __future__ import annotations

import struct

SIGNATURE = b"PGCOPY\n\xff\r\n\0"
HEADER = SIGNATURE + bytes(8)
TRAILER = b"\xff\xff"
_CHUNK = 1 << 20
_SHORT, _LONG = struct.Struct(">h"), struct.Struct(">i")


class BinaryError(ValueError):
    """Bytes that are no complete binary COPY data; the message says where."""


def rows(stream, width):
    """Iterate over the rows of a stream.

    :param stream: with ``read``, at its start. :param width: number of columns.
    :returns: iterator of (bytes of the row without its field count, [bytes of a field, None for NULL]).
    :raises BinaryError: when a row has another number of columns, or the data does not end as it should.

    Memory: a chunk, or the longest row.
    """
    data, at = stream.read(_CHUNK), len(HEADER)
    if data[:at] != HEADER:
        raise BinaryError("this is no binary COPY data")
    number = 0
    while True:
        try:
            found = _row(data, at, width, number)
        except struct.error:
            found = None  # the row goes on in what was not read yet
        if found is None:
            more = stream.read(max(_CHUNK, len(data) - at))
            if not more:
                raise BinaryError("the data ends within row %d" % (number + 1))
            data, at = data[at:] + more, 0
            continue
        end, fields = found
        if fields is None:
            if data[end:] or stream.read(1):
                raise BinaryError("something follows the end of the data")
            return
        yield data[at + 2 : end], fields
        at, number = end, number + 1


def _row(data, at, width, number):
    """Return (end of the row at ``at``, its fields); fields None at the end mark; None when the row is not all there."""
    (count,) = _SHORT.unpack_from(data, at)
    at += 2
    if count == -1:
        return at, None
    if count != width:
        raise BinaryError("row %d has %d columns instead of %d" % (number + 1, count, width))
    fields = []
    for _field in range(width):
        (length,) = _LONG.unpack_from(data, at)
        at += 4
        if length < -1:
            raise BinaryError("row %d has a field of length %d" % (number + 1, length))
        fields.append(None if length < 0 else data[at : at + length])
        at += max(length, 0)
    return (at, fields) if at <= len(data) else None


def prefixed(row, width, value):
    """Return a row of :func:`rows` as COPY takes it, with one more field before the others.

    :param value: its bytes.
    """
    return _SHORT.pack(width + 1) + _LONG.pack(len(value)) + value + row


def row_of(fields):
    """Return a row as COPY takes it. :param fields: list of bytes, None for NULL."""
    parts = [_SHORT.pack(len(fields))]
    for value in fields:
        parts += (_LONG.pack(-1),) if value is None else (_LONG.pack(len(value)), value)
    return b"".join(parts)
