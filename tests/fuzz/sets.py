"""Harnesses of what lies in a store of backup sets and beside it."""
from __future__ import annotations

import json
import os

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import catalogue, loss, rclone, rehearsals, retention, store
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.stores import RemoteStore
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import secrets
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.pieces import Saved
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.rowsums import form_of
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import journal as journals
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import obstacles
from tests.fuzz.bench import NOW, as_bytes, parsed, place, sample_manifest

SET_ID = "lb-20261121T043831Z-7ee372"
RUN_ID = "r-4f2a9c01"
VOLUMES = {
    "volumes": [{"name": "files", "archive": "volumes/files.tar.gz", "files": 1, "bytes": 4, "host": "db1", "tree_digest": "sha256:0"}],
    "encryption": {"tool": "age", "recipients": ["age1x"], "files": [
        {"path": path, "size": 4, "sha256": "0"} for path in ("volumes/files.tar.gz", "redis/dump.rdb", "database/toc.dat")]},
}  # fmt: skip


def manifest(data: bytes) -> None:
    """A manifest as it lies there, and sealed anew, as whoever may write into a store can do it."""
    folder = place("manifest") / SET_ID
    folder.mkdir(exist_ok=True)
    judged(folder, data)
    document = parsed(data)
    if isinstance(document, dict):
        try:
            judged(folder, as_bytes(manifests.seal(document)))
        except UnicodeEncodeError:  # of the sealing: a lone surrogate has no checksum
            return


def judged(folder, data: bytes) -> dict | None:
    """Put a manifest into the folder of a set; returns it as loaded, None where it is refused. Both readers must agree."""
    (folder / "manifest.json").write_bytes(data)
    info = catalogue.read_set(str(folder.parent), folder.name, NOW)
    json.dumps(info.as_dict(), allow_nan=False).encode("utf-8")
    line = catalogue.format_line(info, NOW)
    try:
        loaded = manifests.load(str(folder))
    except RecoveryError as exc:
        assert exc.failure_class == "backup_corrupt"
        assert exc.details["problem"]
        assert not info.usable
        assert "NOT USABLE" in line
        return None
    assert info.usable, info.reason
    used(folder, loaded, info)
    return loaded


def used(folder, loaded: dict, info) -> None:
    """Do with an accepted manifest what catalogue, plan and proof do with it before they look at any file."""
    manifests.verify_files(str(folder), loaded)
    loss.between_manifests(loaded, dict(loaded, agents={}, tables={}))
    retention.plan_prune([info], {"last": 1}, NOW)
    assert sum(table["rows"] for table in loaded["tables"].values()) >= 0
    assert all(value["is_called"] in (True, False) for value in loaded["sequences"].values())
    Saved.of(loaded, str(folder))
    for judge in (
        lambda: form_of(loaded["tables"]),
        lambda: loaded.get("encryption_key") and secrets.matches("", loaded["encryption_key"]),  # no key: nothing is derived
        lambda: obstacles.check_disk(loaded, {"free_bytes": 1, "live": None}, {"mode": "swap", "host": "db1"}),
    ):
        try:
            judge()
        except RecoveryError:
            continue


def journal(data: bytes) -> None:
    """The journal of a run; one that is read is in a state that a run can be in."""
    folder = place("journal") / RUN_ID
    folder.mkdir(exist_ok=True)
    (folder / "journal.json").write_bytes(data)
    found, errors = journals.list_runs(str(folder.parent))
    try:
        loaded = journals.Journal.load(str(folder))
    except RecoveryError as exc:
        assert exc.failure_class == "manual_help_needed"
        assert (found, len(errors)) == ([], 1)
        return
    assert errors == []
    assert loaded.run_id == RUN_ID
    assert loaded.data["status"] in journals.STATUSES
    journals.parse_time(loaded.data["created_at"])
    for item in loaded.data["steps"]:
        assert loaded.state(item["name"]) in ("begun", "done")


def catalogue_note(data: bytes) -> None:
    """What the catalogue keeps of a verification, beside a good set."""
    root = place("catalogue_note")
    folder = root / SET_ID
    if not folder.exists():
        folder.mkdir()
        (root / store.CATALOG).mkdir()
        (folder / "manifest.json").write_bytes(as_bytes(sample_manifest()))
    for text in (data, _for_this_set(data)):
        (root / store.CATALOG / (SET_ID + ".json")).write_bytes(text)
        info = catalogue.read_set(str(root), SET_ID, NOW)
        assert info.usable
        json.dumps(info.as_dict(), allow_nan=False)
        assert catalogue.format_line(info, NOW)
        retention.plan_prune([info], {"last": 1}, NOW)


def _for_this_set(data: bytes) -> bytes:
    note = parsed(data)
    return as_bytes(dict(note, manifest_checksum=sample_manifest()["checksum"])) if isinstance(note, dict) else data


def history(data: bytes) -> None:
    """The history of rehearsals, one line of JSON each."""
    root = place("history")
    (root / rehearsals.FOLDER).mkdir(exist_ok=True)
    (root / rehearsals.FOLDER / rehearsals.FILE).write_bytes(data)
    records, damaged = rehearsals.read(str(root))
    assert damaged + len(records) == sum(1 for line in data.split(b"\n") if line.strip())
    for record in records[:20]:
        said = rehearsals.expected(records, record.get("set"), 1 << 30, "1c28e167b74f", None, "1c28e167b74f")
        assert said is None or said["like"] <= rehearsals.LAST
        json.dumps(said, allow_nan=False)
    rehearsals.phases(records)
    info = catalogue.SetInfo(SET_ID, "/", usable=True, rehearsal=rehearsals.last_of(records, SET_ID))
    assert "\x1b" not in catalogue.format_line(info, NOW)


class _Listing(rclone.Rclone):
    """rclone that is not there: what it would list is given, and nothing can be copied."""

    def __init__(self, text):
        self._text, self._patience = text, 0

    def _run(self, argv):
        return self._text

    def _copy(self, source, folder, selection, told=None):
        return None


def remote_listing(data: bytes) -> None:
    """What rclone lists of a remote: names become folders here, below the one that was made for them and nowhere else."""
    room = place("remote_listing") / "room"
    room.mkdir(exist_ok=True)
    # As the process that runs rclone decodes it.
    remote = RemoteStore("r:letta", str(room), _Listing(data.decode("utf-8", "replace")))
    before = sorted(os.listdir(room.parent))
    try:
        for info in remote.list(NOW):
            assert not info.usable
            assert info.id.startswith("lb-")
            assert catalogue.format_line(info, NOW)
    finally:
        folder = remote._folder
        assert folder is None or all(name.startswith("lb-") for name in os.listdir(folder))
        remote.close()
    assert sorted(os.listdir(room.parent)) == before


def seeds() -> dict[str, list[bytes]]:
    """Documents that are accepted, for each harness."""
    good = sample_manifest()
    steps = [{"name": "assess", "state": "done", "begun_at": "2026-11-22T11:00:00.000Z"}, {"name": "stage.load", "state": "begun"}]
    run = {"format": 1, "run_id": RUN_ID, "status": "open", "created_at": "2026-11-22T11:00:00.000Z", "steps": steps,
           "target": "1/letta", "set_id": SET_ID, "controller": None, "operation": "restore-full.yml"}  # fmt: skip
    note = {"id": SET_ID, "manifest_checksum": good["checksum"], "verified_at": "2026-11-22T03:00:00Z", "depth": "deep", "status": "pass"}
    line = {"format": 1, "set": SET_ID, "verdict": "passed", "target": "db1/letta", "size_bytes": 1 << 30, "reason": "",
            "finished_at": "2026-11-21T21:41:00Z", "revision": {"from": "1c28e167b74f", "to": "1c28e167b74f"},
            "seconds": {"total": 7.5, "downtime": 1.2, "phases": {"migrate": 1.0}}}  # fmt: skip
    return {
        "manifest": [as_bytes(good), as_bytes(manifests.seal(dict(good, format=2, **VOLUMES)))],
        "journal": [as_bytes(run), as_bytes(dict(run, status="succeeded", finished_at="2026-11-22T11:00:00Z"))],
        "catalogue_note": [as_bytes(note), as_bytes(dict(note, status="fail"))],
        "history": [as_bytes(line) + b"\n" + as_bytes(dict(line, verdict="failed", reason="x")) + b"\n"],
        "remote_listing": [b"lb-20261121T043831Z-7ee372/\nother/\n", b"lb-a/../b/\n"],
    }
