"""Tables of a directory archive read without pg_restore: the same rows, and no end that is none."""
from __future__ import annotations

import gzip
from types import SimpleNamespace

import pytest
import zstandard

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import members

END = b"\\.\n\n\n"
ROWS = b"".join(b"message-%d\tC:\\\\.\t%s\n" % (number, b"x" * (number % 900)) for number in range(5000))
TEXTS = {
    "no rows": b"",
    "one row": b"a\tb\n",
    "empty rows": b"\n" * 100,
    "many rows": ROWS,
    "a row longer than a block": b"a\t%s\nb\tc\n" % (b"long" * (members.GROWN // 2)),
    "a row that ends like the end": b"a\\\\.\n\t\\\\.\n",
}


def archive(tmp_path, *files):
    """A directory archive with these files (compressed where the name says so); returns (archive, entries)."""
    for name, data in files:
        (tmp_path / name).write_bytes(data)
    names = [name.removesuffix(".gz").removesuffix(".zst") for name, _data in files]
    return SimpleNamespace(format="directory", path=str(tmp_path)), [SimpleNamespace(file=name) for name in names]


def read(tmp_path, *files):
    opened, entries = archive(tmp_path, *files)
    texts = [b""] * len(entries)
    with members.reading(opened, None, entries) as blocks:
        for index, block in blocks:
            assert block.endswith(b"\n")
            texts[index] += block
    return texts


@pytest.mark.parametrize("kind", TEXTS)
def test_the_rows_of_a_file_come_whole_compressed_or_not(tmp_path, kind):
    text = TEXTS[kind]
    packed = ("2.dat.gz", gzip.compress(text + END, 1)), ("3.dat.zst", zstandard.compress(text + END))
    assert read(tmp_path, ("1.dat", text + END), *packed) == [text] * 3


@pytest.mark.parametrize("size", [1, 2, 3, 5, 63, 64, 65])
def test_where_blocks_end_does_not_matter(size):
    text = b"a\tb\nlonger\trow\n" * 20
    pieces = [(text + END)[at : at + size] for at in range(0, len(text + END), size)]
    assert b"".join(members.whole_lines(pieces, "t")) == text


def test_joined_gzip_files_are_read_as_one(tmp_path):
    assert read(tmp_path, ("1.dat.gz", gzip.compress(ROWS[:100]) + gzip.compress(ROWS[100:] + END))) == [ROWS]


def test_joined_zstd_frames_are_read_as_one_and_a_cut_one_is_damage(tmp_path):
    frames = zstandard.compress(ROWS[:100]) + zstandard.compress(ROWS[100:] + END)
    assert read(tmp_path, ("1.dat.zst", frames)) == [ROWS]
    (tmp_path / "cut").mkdir()
    with pytest.raises(RecoveryError, match="cut"):
        read(tmp_path / "cut", ("1.dat.zst", frames[:-200]))


def test_no_block_grows_beyond_its_bound_however_well_it_was_compressed(tmp_path):
    text = b"0\n" * (32 << 20)
    opened, entries = archive(tmp_path, ("1.dat.gz", gzip.compress(text + END, 1)))
    with members.reading(opened, None, entries) as blocks:
        sizes = [len(block) for _index, block in blocks]
    assert sum(sizes) == len(text)
    assert max(sizes) <= members.GROWN + 2 * members._TAIL


DAMAGED = {
    "no end mark": ("1.dat", ROWS),
    "cut inside a row": ("1.dat", (ROWS + END)[:-500]),
    "empty": ("1.dat", b""),
    "cut gzip": ("1.dat.gz", gzip.compress(ROWS + END)[:-20]),
    "cut after the header": ("1.dat.gz", gzip.compress(ROWS + END)[:10]),
    "flipped": ("1.dat.gz", gzip.compress(ROWS + END)[:3000] + b"\xff\x00" + gzip.compress(ROWS + END)[3002:]),
    "wrong checksum": ("1.dat.gz", gzip.compress(ROWS + END)[:-8] + b"12345678"),
    "no gzip": ("1.dat.gz", ROWS + END),
    "text behind the end": ("1.dat", ROWS + END + ROWS),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_file_is_told_as_a_damaged_archive(tmp_path, how):
    with pytest.raises(RecoveryError) as told:
        read(tmp_path, DAMAGED[how])
    assert told.value.failure_class == "backup_corrupt"
    assert str(tmp_path) in told.value.message


def test_what_the_reader_finds_wrong_with_a_row_is_told_as_a_damaged_archive_too(tmp_path):
    opened, entries = archive(tmp_path, ("1.dat", ROWS + END))
    with pytest.raises(RecoveryError, match="another number of columns"), members.reading(opened, None, entries) as blocks:
        for _index, _block in blocks:
            raise members.CopyError("a row has another number of columns")
