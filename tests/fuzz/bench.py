"""What harnesses share: a place for files, the sample set, and reading JSON that was made by an enemy."""
from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from tests.lab import ROOT

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=timezone.utc)
SAMPLES = ROOT / "playbooks" / "files" / "sample-sets"
_PLACES: dict[str, Path] = {}


def place(name: str) -> Path:
    """A folder of this process for a harness; what it writes there is replaced by the next call."""
    if name not in _PLACES:
        folder = tempfile.mkdtemp(prefix="letta-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _PLACES[name] = Path(folder)
    return _PLACES[name]


def sample_set() -> Path:
    """The newest sample set of the checkout."""
    return max(folder for folder in SAMPLES.iterdir() if (folder / "manifest.json").is_file())


def sample_manifest() -> dict:
    """Its manifest with a few tables, agents and files only, sealed anew."""
    whole = json.loads((sample_set() / "manifest.json").read_bytes())
    for key in ("tables", "agents"):
        whole[key] = dict(list(whole[key].items())[:2])
    redis = [entry for entry in whole["files"] if entry["path"] == whole["redis"]["path"]]
    return manifests.seal(dict(whole, files=whole["files"][:2] + redis))


def parsed(data: bytes):
    """The JSON of some bytes as an inventory or a module's arguments would bring it; None where it is none."""
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def words(value) -> list[str]:
    """The texts of a parsed list; anything else in it becomes text, as Ansible does with a list of strings."""
    return [item if isinstance(item, str) else json.dumps(item) for item in value] if isinstance(value, list) else []


def as_bytes(value) -> bytes:
    """A document as a file holds it. Lone surrogates, which JSON can escape, stay escaped."""
    return json.dumps(value).encode("ascii")
