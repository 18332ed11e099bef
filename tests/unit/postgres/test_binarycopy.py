"""Rows of binary COPY data are taken apart exactly, and whatever is no such data is refused."""
from __future__ import annotations

import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import binarycopy

FIELDS = st.one_of(st.none(), st.binary(max_size=40))


def data(rows):
    return binarycopy.HEADER + b"".join(map(binarycopy.row_of, rows)) + binarycopy.TRAILER


class Slowly(io.BytesIO):
    """Hands out a few bytes at a time, whatever was asked for."""

    def read(self, size=-1):
        return super().read(min(size, 37) if size > 0 else size)


@given(st.integers(1, 5).flatmap(lambda width: st.lists(st.lists(FIELDS, min_size=width, max_size=width), min_size=1, max_size=6)))
def test_what_was_put_together_is_taken_apart_again_however_it_arrives(rows):
    width = len(rows[0])
    for stream in (io.BytesIO(data(rows)), Slowly(data(rows))):
        assert [fields for _row, fields in binarycopy.rows(stream, width)] == rows


@given(st.lists(st.lists(FIELDS, min_size=3, max_size=3), min_size=1, max_size=4), st.data())
def test_data_that_was_cut_anywhere_is_refused(rows, drawn):
    whole = data(rows)
    cut = whole[: drawn.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(binarycopy.BinaryError):
        list(binarycopy.rows(io.BytesIO(cut), 3))


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_read_without_any_other_error(garbage):
    for text in (garbage, binarycopy.HEADER + garbage):
        with suppress(binarycopy.BinaryError):
            assert all(len(fields) == 2 for _row, fields in binarycopy.rows(io.BytesIO(text), 2))


def test_a_row_gets_one_more_field_in_front():
    row, _fields = next(binarycopy.rows(io.BytesIO(data([[b"a", None]])), 2))
    stream = io.BytesIO(binarycopy.HEADER + binarycopy.prefixed(row, 2, b"own") + binarycopy.TRAILER)
    assert [fields for _row, fields in binarycopy.rows(stream, 3)] == [[b"own", b"a", None]]


@pytest.mark.parametrize("wrong", [
    data([[b"a"]])[len(binarycopy.HEADER) :],
    data([[b"a", b"b", b"c"]]),
    data([[b"a", b"b"]]) + b"x",
    binarycopy.HEADER + b"\0\2\xff\xff\xff\xf0" + bytes(8) + binarycopy.TRAILER,
])  # fmt: skip
def test_no_header_another_width_a_tail_and_a_length_below_null_are_refused(wrong):
    with pytest.raises(binarycopy.BinaryError):
        list(binarycopy.rows(io.BytesIO(wrong), 2))
