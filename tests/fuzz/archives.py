"""Harnesses of what is in a set: the archive of pg_dump and its text, binary rows, volumes, what Redis sends."""
from __future__ import annotations

import gzip
import io
import os
import tarfile
from contextlib import suppress

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import adopt, plainsql, redisdump, screening, unpack
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import archive as archives
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import (
    binarycopy,
    copytext,
    ddl,
    load,
    pieces,
    toc,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.redisserver import RedisServer, is_snapshot
from tests.fuzz.bench import place, sample_set

STATEMENT = "COPY letta.agents (id, name) FROM stdin;\n"
MOST = 1 << 20


def table_of_contents(data: bytes) -> None:
    """A dump that is adopted: read by our own reader, whatever its form, and everything that is asked of its entries."""
    folder = place("table_of_contents")
    (folder / "directory").mkdir(exist_ok=True)
    for path in (folder / "custom", folder / "directory" / "toc.dat"):
        path.write_bytes(data)
    for path in (folder / "custom", folder / "directory"):
        try:
            form, found = archives.read_own(str(path))
        except RecoveryError as exc:
            assert exc.failure_class in ("backup_corrupt", "preflight", "usage")
            continue
        opened = archives.Archive(str(path), form, found.compression, found.dump_version, found.server_version, found.dbname, found.entries)
        understood(opened)
        listing = ";     TOC Entries: %d\n" % len(found.entries) + "\n".join(entry.listing() for entry in found.entries)
        printable = listing.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        assert toc.matches_listing(found, printable)


def understood(opened) -> None:
    """What assess and adopt ask of an archive before anything is loaded."""
    opened.tables(), opened.schemas(), opened.encoding(), opened.extensions()
    load.entries_to_load(opened)
    adopt._postgresql(opened)
    refused = {entry for entry, _name in screening.refused(opened)}
    assert not {entry.type for entry in opened.entries} & {"FUNCTION", "TRIGGER", "EVENT TRIGGER", "RULE"} - refused
    for entry in opened.entries:
        opened.member_bytes(entry)
        with suppress(RecoveryError, toc.TocError):
            archives.data_columns(entry)
    domains = ddl.domains(opened.entries)
    try:
        columns = archives.table_columns(opened)
    except RecoveryError:
        return
    for kinds in columns.values():
        for kind in kinds.values():
            ddl.value_kind(kind, domains, "letta")


def listing(data: bytes) -> None:
    """What pg_restore prints of an archive that we have read: it is the same or it is not."""
    known = toc.read_toc(io.BytesIO(small_archive()), 1 << 20)
    assert toc.matches_listing(known, data.decode("utf-8", "replace")) in (True, False)


def copy_text(data: bytes) -> None:
    """Rows as text, out of pg_restore's output."""
    with suppress(copytext.CopyError, UnicodeDecodeError):
        for _number, block in copytext.CopyScanner(io.BytesIO(data), [STATEMENT]):
            for row in copytext.decode_rows(block, 2):
                assert len(row) == 2


def binary_copy(data: bytes) -> None:
    """Rows in binary form; read one at a time they make up the whole, or the whole is refused."""
    try:
        rows = [row for row, fields in binarycopy.rows(io.BytesIO(data), 2) if len(fields) == 2]
    except binarycopy.BinaryError:
        return
    head = len(binarycopy.HEADER)
    assert data[:head] + b"".join(b"\0\2" + row for row in rows) + binarycopy.TRAILER == data


def piece(data: bytes) -> None:
    """A piece of a table with vectors, as it lies compressed in a set."""
    folder = place("piece")
    (folder / "p").write_bytes(data)
    for compression in ("zstd:1", "gzip:1", "none"):
        saved = pieces.Saved(str(folder), compression, {})
        try:
            count = sum(1 for _row in saved.rows({"path": "p", "rows": 2, "keys": {}}, 2))
        except RecoveryError as exc:
            assert exc.failure_class == "backup_corrupt"
            continue
        assert count == 2


def volume(data: bytes) -> None:
    """The archive of a volume: read without writing, and unpacked. Nothing is ever written outside of the new folder."""
    folder = place("volume")
    path, room = folder / "x.tar", folder / "room"
    room.mkdir(exist_ok=True)
    path.write_bytes(data)
    with _small():
        try:
            facts = unpack.read_volume(str(path))
        except (tarfile.TarError, OSError, EOFError, ValueError):
            facts = None
        expected = facts or {"files": 1, "bytes": 4}
        try:
            found = unpack.extract_volume(str(path), str(room / "out"), expected)
        except RecoveryError as exc:
            assert exc.failure_class in ("backup_corrupt", "preflight")
            assert os.listdir(room) == []
            return
    assert facts is not None
    assert found["tree_digest"] == facts["tree_digest"]
    assert os.listdir(room) == ["out"]
    assert sorted(os.listdir(folder)) == ["room", "x.tar"]
    unpack.shutil.rmtree(room / "out")


class _small:
    """Less to unpack at most than in earnest: a bomb is refused either way, and a fuzzer has no time for a gigabyte."""

    def __enter__(self):
        self._floor, unpack.RATIO_FLOOR = unpack.RATIO_FLOOR, MOST

    def __exit__(self, *_exc):
        unpack.RATIO_FLOOR = self._floor


def plain_sql(data: bytes) -> None:
    """A plain dump: what is not refused holds no command of psql and nothing that its reader has not judged."""
    with suppress(RecoveryError):
        for step in plainsql.Script(io.BytesIO(data)).steps():
            assert not step.text.startswith("\\")
            assert "\0" not in step.text
            assert step.kind in ("run", "schema", "extension", "copy")
            if step.kind == "run":
                assert "PROGRAM" not in step.text or "'" in step.text or '"' in step.text


class _Line:
    """A connection to a server that says whatever it likes."""

    def __init__(self, data):
        self._data = data

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        return None

    def makefile(self, _mode):
        return io.BufferedReader(io.BytesIO(self._data))

    def sendall(self, _data):
        return None


def redis_answers(data: bytes) -> None:
    """What Redis answers when its snapshot is asked for: a snapshot, or an error and no file."""
    target = place("redis_answers") / "dump.rdb"
    target.unlink(missing_ok=True)
    connect, redisdump._connect = redisdump._connect, lambda _server: _Line(data)
    try:
        facts = redisdump.take_snapshot(RedisServer("h", password="p" if data[:1] == b"+" else ""), str(target))
    except redisdump.RedisSnapshotError:
        assert not target.exists()
        return
    finally:
        redisdump._connect = connect
    assert is_snapshot(str(target))
    assert facts["bytes"] == target.stat().st_size


def seeds() -> dict[str, list[bytes]]:
    """What is accepted, for each harness."""
    sample = sample_set()
    rows = binarycopy.HEADER + binarycopy.row_of([b"a", None]) + binarycopy.row_of([b"", b"b" * 9]) + binarycopy.TRAILER
    entries = toc.read_toc(io.BytesIO(small_archive()), 1 << 20).entries
    snapshot = (sample / "redis" / "dump.rdb").read_bytes()
    info = b"$22\r\nvalkey_version:9.1.2\r\n\r\n"
    sql = "\\restrict abc\nSET client_encoding = 'UTF8';\n\n" + ENTRY["definition"] + STATEMENT
    return {
        "table_of_contents": [small_archive(), _tar({"toc.dat": small_archive()})],
        "listing": [b";     TOC Entries: 2\n" + "\n".join(entry.listing() for entry in entries).encode()],
        "copy_text": [("\n" + STATEMENT + "a\tb\n\\N\t\\x41\\101\\\\\n\\.\n\n").encode()],
        "binary_copy": [rows],
        "piece": [rows, gzip.compress(rows, mtime=0)],
        "volume": [_tar({"a": b"good", "b/c": b""}), gzip.compress(_tar({"a": b"good"}), mtime=0)],
        "plain_sql": [(sql + "a\tb\n\\.\n\\unrestrict abc\n").encode()],
        "redis_answers": [info + b"\n$%d\r\n" % len(snapshot) + snapshot, info + b"$EOF:" + b"m" * 40 + b"\r\n" + snapshot + b"m" * 40],
    }


def _tar(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return made.getvalue()


def small_archive(entries=None, version=(1, 16)) -> bytes:
    """A table of contents in the form of pg_dump 18, directory format, with one entry per given dict (see :data:`ENTRY`)."""
    made = toc.MAGIC + bytes((*version, 0, 4, 8, toc.DIRECTORY_FORMAT, 0))
    made += b"".join(map(_int, (0, 0, 3, 21, 10, 126, 0))) + _text("letta") + _text("18.6") + _text("18.6")
    entries = [dict(ENTRY, **entry) for entry in (entries or [{}, {"type": "TABLE DATA", "copy": STATEMENT, "file": "1.dat"}])]
    made += _int(len(entries))
    for number, entry in enumerate(entries, 1):
        made += _int(number) + _int(0) + _text(entry["oid"]) + _text(entry["oid"]) + _text(entry["name"]) + _text(entry["type"]) + _int(2)
        made += _text(entry["definition"]) + _text("") + _text(entry["copy"]) + _text(entry["schema"]) + _text("") + _text("heap")
        made += _int(114) + _text(entry["owner"]) + _text("false") + _text(None) + _text(entry["file"])
    return made


ENTRY = {"oid": "1259", "name": "agents", "type": "TABLE", "schema": "letta", "owner": "letta", "copy": "", "file": "",
         "definition": "CREATE TABLE letta.agents (\n    id character varying NOT NULL,\n    name text\n);\n"}  # fmt: skip


def _int(value: int) -> bytes:
    return bytes((value < 0,)) + abs(value).to_bytes(4, "little")


def _text(value: str | None) -> bytes:
    if value is None:
        return _int(-1)
    data = value.encode("utf-8", "surrogateescape")
    return _int(len(data)) + data
