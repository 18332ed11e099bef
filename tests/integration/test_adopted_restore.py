"""Dumps this project never saw, in every form pg_dump writes: adopted, restored by the playbook, equal to their source."""
from __future__ import annotations

import subprocess

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.digest import digest_database
from tests.integration.restore_kit import PASSWORD, content

FORMS = {
    "custom": ["-Fc"],
    "custom without compression": ["-Fc", "-Z0"],
    "directory, gzip": ["-Fd", "-j2", "-Z", "gzip:6"],
    "directory, no compression": ["-Fd", "-Z0"],
    "tar": ["-Ft"],
    "plain SQL": ["-Fp"],
}


def dumped(world, form, path):
    argv = [world.bin_dir + "/pg_dump", *FORMS[form], "-f", str(path), world.database]
    env = dict(world.admin.environment(), PATH="/usr/bin:/bin", HOME=str(path.parent), PGTZ="Asia/Kolkata")
    done = subprocess.run(argv, env=env, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_an_adopted_dump_comes_back_with_every_table_equal_to_its_source(make_world, pg, letta_shape, form, tmp_path, sound_bin_dir):
    source, target = make_world(), make_world(live=False)
    before = content(source.fingerprint())
    dump = dumped(source, form, tmp_path / "dump")
    target.variables["letta_pg_bin_dir"] = sound_bin_dir if form == "plain SQL" else target.bin_dir
    trust = ["-e", "letta_adopt_trust_sql=true"] if form == "plain SQL" else []
    target.play("adopt.yml", "-e", "letta_adopt_dump=%s" % dump, *trust).ok()
    played = target.play("restore-full.yml").ok()
    assert {row["digest"] for row in played.report["tables"]} == {"equal"}
    assert sum(row["rows_restored"] for row in played.report["tables"]) > 300
    # The report compares with digests that were read out of the dump; this compares with the database it came from.
    after = content(target.fingerprint())
    assert after["tables"] == before["tables"]
    assert after["sequences"] == before["sequences"]
    assert len(digest_database(target.live)) == len(before["tables"])


@pytest.mark.fault(10, "shell")
def test_plain_sql_is_refused_without_the_explicit_flag_and_nothing_is_made(make_world, letta_shape, tmp_path):
    source = make_world()
    dump = dumped(source, "plain SQL", tmp_path / "dump.sql")
    played = source.play("adopt.yml", "-e", "letta_adopt_dump=%s" % dump)
    assert played.rc != 0
    assert "letta_adopt_trust_sql" in played.output
    assert PASSWORD not in played.output
    assert source.tree(source.root) == {}
