"""Files compressed in each way are read back, by whatever reads zstd here, and damage has one name."""
from __future__ import annotations

import os
import shutil
import stat

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import packing

CONTENT = b"".join(b"%d: " % number + os.urandom(100) + bytes(400) for number in range(3000))


@pytest.fixture(params=["package", "program"])
def zstd(request, monkeypatch):
    """Whether Python's package or the program does the work."""
    if request.param == "program":
        if not shutil.which("zstd"):
            pytest.skip("the program zstd is not installed here")
        monkeypatch.setattr(packing, "_package", lambda: None)
    elif not packing._package():
        pytest.skip("no package for zstd is installed here")
    return request.param


def write(path, compression):
    with packing.writing(str(path), compression) as stream:
        for start in range(0, len(CONTENT), 10_000):
            stream.write(CONTENT[start : start + 10_000])


def read(path, compression):
    with packing.reading(str(path), compression) as stream:
        parts = list(iter(lambda: stream.read(70_000), b""))
    return b"".join(parts)


@pytest.mark.parametrize("compression", ["zstd:1", "zstd:9"])
def test_zstd_is_read_back_and_is_private(zstd, tmp_path, compression):
    write(tmp_path / "file", compression)
    assert read(tmp_path / "file", compression) == CONTENT
    assert (tmp_path / "file").stat().st_size < len(CONTENT) / 2
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


@pytest.mark.parametrize("compression", ["gzip:1", "none"])
def test_gzip_and_nothing_are_read_back(tmp_path, compression):
    write(tmp_path / "file", compression)
    assert read(tmp_path / "file", compression) == CONTENT


def test_what_the_package_wrote_the_program_reads_and_the_other_way_round(tmp_path, monkeypatch):
    if not shutil.which("zstd") or not packing._package():
        pytest.skip("needs both the program and a package")
    write(tmp_path / "by-package", "zstd:1")
    monkeypatch.setattr(packing, "_package", lambda: None)
    assert read(tmp_path / "by-package", "zstd:1") == CONTENT
    write(tmp_path / "by-program", "zstd:1")
    monkeypatch.undo()
    assert read(tmp_path / "by-program", "zstd:1") == CONTENT


def test_a_flipped_bit_in_zstd_is_damage_by_its_checksum(zstd, tmp_path):
    write(tmp_path / "file", "zstd:1")
    data = bytearray((tmp_path / "file").read_bytes())
    data[len(data) // 2] ^= 0x10
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(packing.Damaged, match="file"):
        read(tmp_path / "file", "zstd:1")


def test_a_flipped_bit_in_gzip_is_damage(tmp_path):
    write(tmp_path / "file", "gzip:1")
    data = bytearray((tmp_path / "file").read_bytes())
    data[len(data) // 2] ^= 0x10
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(packing.Damaged, match="file"):
        read(tmp_path / "file", "gzip:1")


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write(tmp_path / "file", "zstd:1")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_without_zstd_gzip_is_taken_and_a_set_with_zstd_is_refused_with_what_to_install(monkeypatch):
    assert packing.best() == "zstd:1"
    monkeypatch.setattr(packing, "_package", lambda: None)
    monkeypatch.setattr(packing.shutil, "which", lambda name: None)
    assert packing.best() == "gzip:1"
    packing.require("gzip:1", "lb-1")
    with pytest.raises(RecoveryError, match="lb-1") as caught:
        packing.require("zstd:1", "lb-1")
    assert (caught.value.failure_class, "apt install zstd" in caught.value.next_step) == ("preflight", True)
    with pytest.raises(RecoveryError, match="brotli"):
        packing.require("brotli", "lb-1")
