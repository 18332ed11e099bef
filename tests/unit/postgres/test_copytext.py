"""COPY text is cut into tables and rows at any chunk boundary, and its values become records exactly."""

from __future__ import annotations

import io

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.copytext import (
    CopyError,
    CopyScanner,
    decode_rows,
    unescape,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.record import converter, send_vector
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.toc import TocError, split_columns

A, B = "COPY s.a (x, y) FROM stdin;\n", 'COPY s."b\nb"  FROM stdin;\n'
TEXT = ("--\nSET x;\n\n" + A + "1\t\\\\.\n2\t\\N\n\\.\n\n\n--\n" + B + "\n\n\\.\n\n").encode()


class Drip(io.BytesIO):
    """A stream that gives ``size`` bytes at a time."""

    size = 1

    def read1(self, unused=-1):
        return self.read(self.size)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_tables_are_found_wherever_a_chunk_ends(size):
    stream = Drip(TEXT)
    stream.size = size
    found = {0: b"", 1: b""}
    for index, block in CopyScanner(stream, [A, B]):
        assert block.endswith(b"\n")
        found[index] += block
    assert found == {0: b"1\t\\\\.\n2\t\\N\n", 1: b"\n\n"}


@pytest.mark.parametrize("end", range(len("--\nSET x;\n\n"), len(TEXT) - 6, 3))
def test_text_cut_anywhere_is_an_error(end):
    with pytest.raises(CopyError, match="do not end|are missing"):
        list(CopyScanner(io.BytesIO(TEXT[:end]), [A, B]))


def test_a_table_that_is_not_announced_in_its_place_is_an_error():
    with pytest.raises(CopyError, match="table 2 of 2 are missing"):
        list(CopyScanner(io.BytesIO(TEXT), [B, A]))


def test_escapes_are_undone_the_octal_and_hexadecimal_ones_too():
    assert unescape(b"a\\tb\\\\n\\n\\b\\f\\v\\r") == b"a\tb\\n\n\b\f\v\r"
    assert unescape(b"\\101\\x41\\q\\\\x41") == b"AAq\\x41"
    assert list(decode_rows(b"\\N\t\\\\N\t\n", 3)) == [(None, "\\N", "")]
    with pytest.raises(CopyError, match="another number of columns"):
        list(decode_rows(b"1\t2\n3\n", 2))


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        (b"2020-01-01 00:30:00.5+05:45", b"2019-12-31 18:45:00.5+00"),
        (b"2020-02-29 23:00:00-02", b"2020-03-01 01:00:00+00"),
        (b"0001-01-01 00:00:00+01", b"0001-12-31 23:00:00+00 BC"),
        (b"1890-06-01 00:53:28+00:53:28", b"1890-06-01 00:00:00+00"),
        (b"10000-01-01 00:00:00+01", b"9999-12-31 23:00:00+00"),
    ],
)
def test_moments_of_any_zone_are_written_in_utc(written, utc):
    assert converter("timestamp with time zone", False)([written, b"infinity", b"\\N"]) == [b'"%b"' % utc, b"infinity", b""]


def test_a_padded_vector_is_sent_like_any_other():
    assert send_vector(b"[1.1,0" + b",0" * 4094 + b"]") == send_vector(b"[1.1,0.0" + b",0.0" * 4094 + b"]")
    assert send_vector(b"[10,100]").hex() == "00020000" + "41200000" + "42c80000"
    assert send_vector(b"[-0,0]").hex() == "00020000" + "80000000" + "00000000"
    with pytest.raises(CopyError):
        converter("vector", False)([b"[1,x]"])


def test_the_columns_of_a_copy_statement_are_read_with_their_quotes():
    assert split_columns('COPY "s .(".t (a, "b "", c", "d(") FROM stdin;\n') == ["a", 'b ", c', "d("]
    assert split_columns("COPY s.t  FROM stdin;\n") == []
    with pytest.raises(TocError):
        split_columns("COPY s.t (a FROM stdin;")
