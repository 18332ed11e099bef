"""Sets compressed by zstd and lz4: taken with tools that know them, proven, restored; named where the tools here do not."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take, verify
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import rowsums
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.archive import open_archive
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.digest import digest_archive
from tests.integration.restore_kit import add_writes, content


def take_set(world, bin_dir, **options):
    return take.take_backup(take.BackupOptions(server=world.live, root=world.root, bin_dir=bin_dir, jobs=2, **options))


def rich(folder, bin_dir):
    return verify.tools_for(folder, bin_dir)


def differing(archive, tools, manifest):
    """Return the tables whose digest in the archive is not the manifest's."""
    found = digest_archive(archive, tools)
    return [name for name, table in manifest["tables"].items() if found[name].digest != table["digest"]]


@pytest.mark.parametrize(("wanted", "used"), [(None, "zstd:2"), ("lz4", "lz4"), ("zstd:9", "zstd:9")])
def test_a_set_is_compressed_by_the_best_the_tools_have_or_by_what_was_asked_for(make_world, rich_bin_dir, wanted, used):
    world = make_world()
    manifest = take_set(world, rich_bin_dir, **({"compression": wanted} if wanted else {}))
    assert manifest["database"]["archive"]["compression"] == used
    folder = "%s/%s" % (world.root, manifest["id"])
    findings = verify.verify_set(folder, rich(folder, rich_bin_dir))
    assert {finding.status for finding in findings} == {"pass"}


@pytest.mark.fault(13, "tools")
@pytest.mark.slow
def test_a_set_compressed_by_zstd_comes_back_and_tools_without_it_are_named_before_anything_is_loaded(make_world, rich_bin_dir):
    world = make_world()
    take_set(world, rich_bin_dir)
    saved = content(world.fingerprint())
    add_writes(world.live)
    before = world.fingerprint()
    refused = world.play("restore-full.yml").refused("preflight").report
    assert "zstd" in refused["message"] + refused["next_step"]
    assert world.fingerprint() == before
    world.variables["letta_pg_bin_dir"] = rich_bin_dir
    played = world.play("restore-full.yml").ok()
    assert {row["digest"] for row in played.report["tables"]} == {"equal"}
    assert content(world.fingerprint()) == saved


@pytest.mark.fault(2, "rebuilt")
def test_damage_that_zstd_does_not_notice_itself_changes_the_digests(make_world, rich_bin_dir, monkeypatch):
    """pg_dump writes zstd without its checksum: pg_restore takes a flipped bit for data. Checksums and digests do not."""
    monkeypatch.setattr(rowsums, "PROBE_ANSWER", None)  # digests of the form that an archive's own text has too
    world = make_world()
    manifest = take_set(world, rich_bin_dir, vectors="text")
    folder = "%s/%s" % (world.root, manifest["id"])
    archive, tools = open_archive(folder + "/database", rich(folder, rich_bin_dir)), rich(folder, rich_bin_dir)
    assert differing(archive, tools, manifest) == []
    (entry,) = [entry for entry in archive.data_entries() if entry.name == "messages"]
    with open("%s/database/%s" % (folder, entry.file if entry.file.endswith(".zst") else entry.file + ".zst"), "r+b") as stream:
        data = bytearray(stream.read())
        data[len(data) // 2] ^= 0x20
        stream.seek(0)
        stream.write(data)
    assert verify.verify_set(folder, tools)[0].status == "fail"
    try:
        found = differing(archive, tools, manifest)
    except RecoveryError as exc:  # where the bit fell on something that even the reader notices
        found = [exc.failure_class]
    assert found in (["letta.messages"], ["backup_corrupt"])
