"""Sets on disk for the tests of the backup room: real files and manifests, no server."""
from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import store

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=timezone.utc)


class Store:
    """A store in a folder; ``add`` makes sets."""

    def __init__(self, root):
        self.root = str(root)
        store.check_root(self.root, create=True)

    def add(self, age=timedelta(0), kind="backup", valid_until=None, content=b"rows of a table\n" * 100):
        taken_at = NOW - age
        set_id = manifests.new_id(taken_at)
        with store.incoming(self.root, set_id) as folder:
            os.mkdir(os.path.join(folder, "database"))
            for name in ("toc.dat", "1.dat"):
                with open(os.path.join(folder, "database", name), "wb") as stream:
                    stream.write(content)
            manifest = {
                "format": 1,
                "id": set_id,
                "kind": kind,
                "taken_at": manifests.stamp(taken_at),
                "valid_until": manifests.stamp(valid_until) if valid_until else None,
                "letta": {"version": None, "release_range": "0.16.7–0.16.8", "alembic_revisions": ["1c28e167b74f"]},
                "postgresql": {"server_version": "18.6", "dump_version": "18.6"},
                "database": {"name": "letta", "archive": {"path": "database", "format": "directory", "compression": "none", "bytes": 1}},
                "tables": {},
                "sequences": {},
                "agents": {"agent-1": {"name": "a", "digest": "sha256:0"}},
                "files": manifests.checksum_files(folder),
                "warnings": [],
            }
            manifests.write(folder, manifest)
        return set_id

    def path(self, set_id, *parts):
        return os.path.join(self.root, set_id, *parts)

    def flip(self, set_id, relative, offset):
        """Change one byte of a file in place."""
        with open(self.path(set_id, relative), "r+b") as stream:
            stream.seek(offset)
            byte = stream.read(1)[0]
            stream.seek(offset)
            stream.write(bytes([byte ^ 1]))


@pytest.fixture
def sets(tmp_path):
    return Store(tmp_path / "store")
