"""Archives of volumes made by an enemy: refused as a whole, nothing left, nothing outside of the new folder."""
from __future__ import annotations

import gzip
import io
import os
import tarfile

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import trees, unpack, volumes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError

GIB = 1 << 30


def member(name, data=b"", kind=tarfile.REGTYPE, link="", mode=0o644, pax=None):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, len(data)
    info.pax_headers = pax or {}
    return info, data


def make(path, *members, form=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=form) as tar:
        for info, data in (member("good.txt", b"good"), *members):
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def header(name, size, kind=b"0", prefix=b""):
    """A raw header with a true checksum that says whatever it is told to."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT) + prefix


@pytest.fixture
def refused(tmp_path):
    """Unpack an archive that must be refused; returns the error. Nothing may be left, and nothing may lie outside."""

    def check(path, files=2, size=100):
        place = tmp_path / "place"
        place.mkdir()
        before = set(tmp_path.rglob("*"))
        with pytest.raises(RecoveryError) as caught:
            unpack.extract_volume(path, str(place / "out"), {"files": files, "bytes": size})
        assert set(tmp_path.rglob("*")) == before
        return caught.value

    return check


OFFENCES = {
    "a path that goes up": ("points outside", [member("../outside", b"x")]),
    "a path that goes up and down": ("points outside", [member("a/../../place2/x", b"x")]),
    "a path that goes up inside": ("points outside", [member("a/../x", b"x")]),
    "an absolute path": ("points outside", [member("/etc/cron.d/x", b"x")]),
    "a symbolic link": ("special file", [member("link", kind=tarfile.SYMTYPE, link="/etc")]),
    "a file through a symbolic link": ("special file", [member("link", kind=tarfile.SYMTYPE, link=".."), member("link/x", b"x")]),
    "a hard link": ("special file", [member("link", kind=tarfile.LNKTYPE, link="good.txt")]),
    "a hard link to a symbolic link": ("special file", [
        member("a", kind=tarfile.SYMTYPE, link="../../etc/passwd"), member("b", kind=tarfile.LNKTYPE, link="a"), member("b", b"x")
    ]),
    "a device": ("special file", [member("null", kind=tarfile.CHRTYPE)]),
    "a pipe": ("special file", [member("pipe", kind=tarfile.FIFOTYPE)]),
    "a set-user bit": ("special file", [member("shell", b"x", mode=0o4755)]),
    "a set-group bit": ("special file", [member("shell", b"x", mode=0o2755)]),
    "the same file twice": ("is there twice", [member("good.txt", b"evil")]),
    "a name that differs by case": ("is there twice", [member("GOOD.txt", b"evil")]),
    "a name that differs by Unicode form": ("is there twice", [member("caf\u00e9", b"x"), member("cafe\u0301", b"y")]),
    "a folder that differs by case": ("is there twice", [member("Dir/a", b"x"), member("dir/b", b"y")]),
    "a file below a file": ("is there twice", [member("good.txt/x", b"x")]),
    "a folder in place of a file": ("is there twice", [member("good.txt", kind=tarfile.DIRTYPE)]),
    "a path of 10 000 folders": ("too long or too deep", [member("x/" * 10000 + "y", b"x")]),
    "a path of 200 folders": ("too long or too deep", [member("x/" * 200 + "y", b"x")]),
    "a name of 300 bytes": ("too long or too deep", [member("n" * 300, b"x")]),
    "a NUL in a name": ("points outside", [member("a", b"x", pax={"path": "a\0b"})]),
    "a size below nothing": ("points back", [member("a", b"x", pax={"size": "-512"})]),
    "a sparse file": ("special file", [member("a", b"x", pax={"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 40)})]),
    "more bytes than the manifest says": ("unpacks to more", [member("big", b"x" * 97)]),
    "more files than the manifest says": ("more files", [member("a"), member("b")]),
    "fewer bytes than the manifest says": ("the manifest says", [member("a", b"x")]),
}


@pytest.mark.fault(8, "up", "absolute", "symlink", "hardlink", "device", "setuid", "twice", "nul", "deep")
@pytest.mark.fault(9, "sparse")
@pytest.mark.parametrize("offence", OFFENCES)
def test_an_offence_refuses_the_whole_archive_and_leaves_nothing(offence, refused, tmp_path):
    reason, members = OFFENCES[offence]
    error = refused(make(tmp_path / "evil.tar", *members))
    assert error.failure_class == "backup_corrupt"
    assert reason in error.message


@pytest.mark.fault(9, "sparse")
def test_a_sparse_file_of_a_tebibyte_takes_no_room(refused, tmp_path):
    with open(tmp_path / "sparse.tar", "wb") as out:  # GNU's old form: a map of (offset, bytes) in the header itself
        info = bytearray(header("huge", 512, b"S"))
        info[386:410] = b"%011o\0%011o\0" % ((1 << 33) - 512, 512)
        info[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")
        info[148:156] = b" " * 8
        info[148:156] = b"%06o\0 " % sum(info)
        out.write(bytes(info) + b"x" * 512 + b"\0" * 1024)
    with tarfile.open(tmp_path / "sparse.tar") as tar:
        assert tar.next().size == 1 << 40
    assert "special file" in refused(str(tmp_path / "sparse.tar"), 1, 1 << 20).message


@pytest.mark.fault(9, "bomb")
def test_a_member_that_claims_a_tebibyte_is_stopped_before_it_is_written(refused, tmp_path):
    (tmp_path / "claims.tar").write_bytes(header("huge", 1 << 40) + b"x" * 4096)
    assert "unpacks to more than 1.0 MiB" in refused(str(tmp_path / "claims.tar"), 1, 1 << 20).message


@pytest.mark.fault(9, "bomb")
@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_header_that_asks_for_gigabytes_of_memory_is_refused(refused, tmp_path, kind):
    with gzip.open(tmp_path / "memory.tar.gz", "wb", compresslevel=1) as out:
        out.write(header("x", 3 * GIB, kind))
        for _number in range(64):
            out.write(b"\0" * (1 << 20))
    assert "bytes of memory" in refused(str(tmp_path / "memory.tar.gz"), 1, 4 * 1024).message


@pytest.mark.fault(9, "bomb")
def test_a_compression_bomb_is_stopped_at_the_manifests_limit(refused, tmp_path):
    with gzip.open(tmp_path / "bomb.tar.gz", "wb", compresslevel=9) as out:
        out.write(header("zeros", 64 << 20))
        for _number in range(64):
            out.write(b"\0" * (1 << 20))
        out.write(b"\0" * 1024)
    assert os.path.getsize(tmp_path / "bomb.tar.gz") < 1 << 20
    error = refused(str(tmp_path / "bomb.tar.gz"), 1, 1 << 20)
    assert error.failure_class == "backup_corrupt"
    assert "unpacks to more than 1.0 MiB" in error.message


@pytest.mark.fault(9, "bomb")
def test_a_bomb_that_no_manifest_describes_yet_is_stopped_by_its_ratio(tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "RATIO_FLOOR", 4 << 20)
    with gzip.open(tmp_path / "bomb.tar.gz", "wb", compresslevel=9) as out:
        out.write(header("zeros", 32 << 20))
        for _number in range(32):
            out.write(b"\0" * (1 << 20))
        out.write(b"\0" * 1024)
    with pytest.raises(ValueError, match="unpacks to more than"):
        unpack.read_volume(str(tmp_path / "bomb.tar.gz"))


@pytest.mark.fault(9, "bomb")
def test_a_bomb_of_headers_alone_is_stopped(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "MAX_MEMBERS", 1000)
    with gzip.open(tmp_path / "headers.tar.gz", "wb", compresslevel=9) as out:
        block = b"".join(member("d%d" % number, kind=tarfile.DIRTYPE)[0].tobuf() for number in range(2000))
        for _number in range(20):
            out.write(block)
    assert "too many members" in refused(str(tmp_path / "headers.tar.gz"), 0, 0).message


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_cut_archive_leaves_nothing(refused, tmp_path, cut):
    source = tmp_path / "source"
    source.mkdir()
    (source / "data").write_bytes(os.urandom(1 << 20))
    facts = volumes.archive_volume(str(source), str(tmp_path / "v.tar.gz"))
    os.truncate(tmp_path / "v.tar.gz", int(os.path.getsize(tmp_path / "v.tar.gz") * cut))
    assert refused(str(tmp_path / "v.tar.gz"), facts["files"], facts["bytes"]).failure_class == "backup_corrupt"


def test_what_follows_a_damaged_header_is_not_passed_over(refused, tmp_path):
    path = make(tmp_path / "v.tar", member("a", b"x" * 96))
    with open(path, "r+b") as stream:
        stream.seek(1024 + 10)
        stream.write(b"!")
    assert "follows the last one" in refused(path, 1, 4).message


@pytest.mark.fault(18, "fetch")
def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path):
    path = make(tmp_path / "v.tar")
    with pytest.raises(RecoveryError) as caught:
        unpack.extract_volume(path, str(tmp_path / "out"), {"files": 1, "bytes": 1 << 60})
    assert caught.value.failure_class == "preflight"
    assert os.listdir(tmp_path) == ["v.tar"]


def test_a_good_archive_comes_back_whole_into_a_private_folder(tmp_path):
    source = tmp_path / "source"
    (source / "sub" / "empty").mkdir(parents=True)
    (source / "a.txt").write_text("first")
    (source / "sub" / "run").write_text("#!/bin/sh\n")
    os.chmod(source / "sub" / "run", 0o755)
    (source / "sub" / "\udcff-\u00e9").write_bytes(os.urandom(3 << 20))
    os.utime(source / "sub", (1, 1))
    facts = volumes.archive_volume(str(source), str(tmp_path / "v.tar.gz"))
    found = unpack.extract_volume(str(tmp_path / "v.tar.gz"), str(tmp_path / "out"), facts)
    assert (found.pop("top").name, found["files"], found["bytes"]) == (".", 3, facts["bytes"])
    assert found == unpack.read_volume(str(tmp_path / "v.tar.gz")) == trees.read_tree(str(tmp_path / "out"))

    def tree(top):
        places = sorted(path for path in top.rglob("*"))
        return [(str(path.relative_to(top)), path.stat().st_mode, int(path.stat().st_mtime), path.is_file() and path.read_bytes())
                for path in places]

    assert tree(tmp_path / "out") == tree(source)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
    with pytest.raises(RecoveryError, match="exists already"):
        unpack.extract_volume(str(tmp_path / "v.tar.gz"), str(tmp_path / "out"), facts)
