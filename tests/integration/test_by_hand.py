"""The lines of README.md that restore a set without this collection, run as they stand there."""
from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import segments
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.prove import prove_database

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "playbooks" / "files" / "sample-sets"


def documented_lines() -> list[str]:
    section = (ROOT / "README.md").read_text().split("## Restoring by hand")[1].split("\n## ")[0]
    lines = re.search(r"```sh\n(.*?)```", section, re.DOTALL).group(1).splitlines()
    assert lines[0].startswith("SET=")
    return lines


@pytest.fixture(params=["text", "binary"])
def any_set(request, make_world):
    """A set with its vectors in the archive, then one that has them beside it, in several pieces."""
    if request.param == "text":
        return next(SAMPLES.glob("lb-*"))
    if not shutil.which("zstd"):
        pytest.skip("the program zstd is not installed here")
    world = make_world()
    world.sql("INSERT INTO letta.archival_passages (id, text, metadata_, organization_id, archive_id)"
              " SELECT 'more-' || n, repeat('wide ' || n, 300), '{}', organization_id, archive_id"
              " FROM (SELECT * FROM letta.archival_passages LIMIT 1) one, generate_series(1, 200) n")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(segments, "PIECE", 16 << 10)
        made = world.backup()
    assert len(list(Path(world.root, made["id"], "vectors").glob("*.copy.zst"))) > 2
    return Path(world.root, made["id"])


def test_the_lines_in_the_readme_bring_a_set_back_equal(pg, tmp_path, any_set):
    sample = any_set
    admin = pg.server()
    pg.execute("DROP DATABASE IF EXISTS letta_copy")
    pg.execute("DO $$ BEGIN CREATE ROLE letta LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    script = "\n".join(["set -eu", "SET=%s" % sample, *documented_lines()[1:]])
    env = dict(admin.environment(), PATH="%s:/usr/bin:/bin" % pg.bin_dir, HOME=str(tmp_path), LC_ALL="C.UTF-8")
    try:
        done = subprocess.run(["/bin/sh", "-c", script], env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        manifest = manifests.load(str(sample))
        tables, findings = prove_database(admin.database("letta_copy"), manifest)
        assert [row["name"] for row in tables if row["digest"] != "equal"] == []
        assert [item.detail for item in findings if item.status == "fail"] == []
    finally:
        pg.execute("DROP DATABASE IF EXISTS letta_copy WITH (FORCE)")


def test_a_damaged_file_stops_the_lines_before_anything_is_created(pg, tmp_path):
    sample = tmp_path / "set"
    shutil.copytree(next(SAMPLES.glob("lb-*")), sample)
    member = max((sample / "database").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(member.read_bytes())
    data[len(data) // 2] ^= 1
    member.write_bytes(data)
    script = "\n".join(["set -eu", "SET=%s" % sample, *documented_lines()[1:]])
    env = dict(pg.server().environment(), PATH="%s:/usr/bin:/bin" % pg.bin_dir, HOME=str(tmp_path), LC_ALL="C.UTF-8")
    done = subprocess.run(["/bin/sh", "-c", script], env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert member.name in done.stdout + done.stderr
    assert pg.execute("SELECT count(*) FROM pg_database WHERE datname = 'letta_copy'") == [(0,)]
