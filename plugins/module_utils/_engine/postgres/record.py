# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the fields of COPY text to the text of records, exactly as PostgreSQL's ``record_out`` writes them.

A converter takes the raw COPY fields of one column (many rows at once) and returns what stands between the commas of the
record's text. Columns are handled whole because a call per field would cost more than the work.
"""

from __future__ import annotations

import re
import struct
import sys
from array import array
from functools import partial
from hashlib import md5 as _md5

from .copytext import NULL, CopyError, unescape

# It finds damage; it is no signature, and servers under FIPS rules must not mistake it for one.
md5 = partial(_md5, usedforsecurity=False)

# Types whose text never holds a character that a record quotes, and never is empty.
PLAIN_TYPES = frozenset(
    (
        "smallint",
        "integer",
        "bigint",
        "boolean",
        "numeric",
        "real",
        "double precision",
        "uuid",
        "oid",
        "xid",
        "cid",
        "inet",
        "cidr",
        "macaddr",
    )
)
TIMESTAMPTZ = ("timestamp with time zone", "tstzrange", "tstzmultirange")
_QUOTED = re.compile(rb'[\\"(), ]')
_TIME = re.compile(rb"(\d{4,})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(\.\d+)?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?( BC)?")
_ZEROS = tuple((count, b",0" * count) for count in (1024, 128, 16, 1))
_SWAP = sys.byteorder == "little"


def converter(base, is_array):  # noqa: PLR0911  (one line per kind reads best)
    """Return the converter of a column.

    :param base: type as :func:`ddl.value_kind` reduces it.
    :param is_array: whether the column is an array of it.
    """
    if base in TIMESTAMPTZ and not (base == TIMESTAMPTZ[0] and not is_array):
        return _per_value(lambda value: _quote(_TIME.sub(_utc_match, unescape(value))))
    if base == TIMESTAMPTZ[0]:
        return _timestamps
    if is_array:
        return texts
    if base in PLAIN_TYPES:
        return _plain
    if base == "bytea":
        return _bytea
    if base in _VECTORS:
        return _vectors(_VECTORS[base])
    return texts


def _plain(column):
    return [b"" if value == NULL else value for value in column] if NULL in column else column


def texts(column):
    """Convert text of any kind."""
    few = set(column)
    if len(few) * 2 <= len(column):
        known = {value: _text(value) for value in few}
        return [known[value] for value in column]
    return [_text(value) for value in column]


def _text(value, search=_QUOTED.search):
    if search(value) is None:
        return value or b'""'
    if b"\\" not in value:
        return b'"%b"' % value.replace(b'"', b'""')
    if value == NULL:
        return b""
    # COPY writes a backslash as two, and so does a record: only the other escapes have to be undone
    if b"\\" in value.replace(b"\\\\", b""):
        return _quote(unescape(value))
    return b'"%b"' % value.replace(b'"', b'""')


def _quote(value):
    """Return a value as a record writes it: quoted when it must be, quotes and backslashes doubled."""
    if value and not re.search(rb'["\\(),\s]', value):
        return value
    return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'""')


def _per_value(convert):
    def column_converter(column):
        return [b"" if value == NULL else convert(value) for value in column]

    return column_converter


def _timestamps(column):
    few = set(column)
    if len(few) * 2 <= len(column):
        known = {value: _timestamp(value) for value in few}
        return [known[value] for value in column]
    return [b'"%b"' % value if value.endswith(b"+00") else _timestamp(value) for value in column]


def _timestamp(value):
    if value == NULL:
        return b""
    if value.endswith(b"+00"):
        return b'"%b"' % value
    return _quote(_TIME.sub(_utc_match, value))  # infinity is left as it is


def _utc_match(match):
    """Return a timestamp with a zone's offset as PostgreSQL prints it in UTC. Proleptic Gregorian, as PostgreSQL counts."""
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, offset_hour, offset_minute, offset_second, bc = match.groups()[6:]
    offset = int(offset_hour) * 3600 + int(offset_minute or 0) * 60 + int(offset_second or 0)
    if not offset and not offset_minute:
        return match.group()
    seconds = hour * 3600 + minute * 60 + second + (offset if sign == b"-" else -offset)
    days, seconds = divmod(seconds, 86400)
    year, month, day = _civil(_days(1 - year if bc else year, month, day) + days)
    text = b"%04d-%02d-%02d %02d:%02d:%02d%b+00" % (
        year if year > 0 else 1 - year,
        month,
        day,
        seconds // 3600,
        seconds // 60 % 60,
        seconds % 60,
        fraction or b"",
    )
    return text + (b" BC" if year <= 0 else b"")


def _days(year, month, day):
    """Days since 1 March of year 0; years astronomical (0 is 1 BC)."""
    if month <= 2:
        year -= 1
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day - 1


def _civil(days):
    era, days = divmod(days, 146097)
    year = (days - days // 1460 + days // 36524 - days // 146096) // 365
    days -= 365 * year + year // 4 - year // 100
    month = (5 * days + 2) // 153
    day = days - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return era * 400 + year + (month <= 2), month, day


def _bytea(column):
    return [b'"%b"' % value if value.startswith(b"\\\\x") else _bytea_escaped(value) for value in column]


def _bytea_escaped(value):
    """A database may be set to the old ``escape`` output, which pg_dump keeps; digests know hexadecimal only."""
    if value == NULL:
        return b""
    raw = re.sub(rb"\\(\\|[0-7]{3})", lambda m: b"\\" if m.group(1) == b"\\" else bytes((int(m.group(1), 8),)), unescape(value))
    return b'"\\\\x%b"' % raw.hex().encode("ascii")


def _vectors(send):
    def vector_converter(column):
        try:
            return [b"" if value == NULL else md5(send(value)).hexdigest().encode("ascii") for value in column]
        except (ValueError, IndexError, OverflowError, struct.error):
            raise CopyError("a vector cannot be read") from None

    return vector_converter


def send_vector(text):
    """Return what ``vector_send`` makes of ``[1,2,3]``: int16 dimensions, int16 0, float4 each, big-endian."""
    body, zeros = text[1:-1], 0
    for count, run in _ZEROS:  # vectors are padded with zeros to a fixed length: they need no parsing
        while body.endswith(run):
            body = body[: -len(run)]
            zeros += count
    values = array("f", map(float, body.decode("ascii").split(",")))
    if _SWAP:
        values.byteswap()
    return struct.pack(">hh", len(values) + zeros, 0) + values.tobytes() + bytes(4 * zeros)


def send_halfvec(text):
    """Return what ``halfvec_send`` makes of ``[1,2,3]``: as a vector, with float2."""
    values = [float(part) for part in text[1:-1].split(b",")]
    return struct.pack(">hh%de" % len(values), len(values), 0, *values)


def send_sparsevec(text):
    """Return what ``sparsevec_send`` makes of ``{1:1.5,3:2}/5``: int32 dimensions, count, 0, indices from 0, float4 each."""
    body, dummy, dimensions = text[1:].rpartition(b"}/")
    pairs = [part.split(b":") for part in body.split(b",")] if body else []
    return struct.pack(
        ">iii%di%df" % (len(pairs), len(pairs)),
        *([int(dimensions), len(pairs), 0] + [int(pair[0]) - 1 for pair in pairs] + [float(pair[1]) for pair in pairs]),
    )


_VECTORS = {"vector": send_vector, "halfvec": send_halfvec, "sparsevec": send_sparsevec}
