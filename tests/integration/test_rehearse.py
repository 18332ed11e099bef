"""A rehearsal as a person runs it: sets, good and bad, in throw-away servers, served by a real Letta, measured and judged."""
from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import trees, volumes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta.outward import secret_columns
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from tests.faults.kit import reseal
from tests.integration.restore_kit import HOST, PASSWORD, World, install_schema, make_admin
from tests.integration.test_catalog import flip, largest
from tests.lab import ROOT
from tests.lab.letta_install import letta_home
from tests.lab.postgres import EmbeddedPostgres
from tests.lab.seed import SAMPLE_KEY

pytestmark = pytest.mark.slow
SAMPLE = next((ROOT / "playbooks" / "files" / "sample-sets").glob("lb-*"))
LOST, CORRUPT = "lb-20260102T000000Z-10510c", "lb-20260101T000000Z-c0bb01"
SWAPPED = "lb-20260103T000000Z-5a1ad0"
REMEMBERED = "what the agents remember, and nobody else reads"


def rename(path, name, **changes):
    """Give a copied set an id of its own, and other facts in its manifest, as if it had been taken so."""
    manifest = dict(json.loads((path / "manifest.json").read_text(encoding="utf-8")), id=name, **changes)
    (path / "manifest.json").write_text(json.dumps(manifests.seal(manifest)), encoding="utf-8")
    return path.rename(path.with_name(name))


def add_volume(path, source, **changes):
    """Give a set the volume ``memory``, archived of a folder as a backup does it; ``changes`` are what its manifest says otherwise."""
    (path / "volumes").mkdir(mode=0o700)
    facts = volumes.archive_volume(str(source), str(path / "volumes" / "memory.tar.gz"))
    reseal(path, volumes=[{"name": "memory", "path": str(source), "archive": "volumes/memory.tar.gz", **facts, **changes}])


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """The folder of production that is the volume of the sets."""
    folder = tmp_path_factory.mktemp("production") / "memory"
    (folder / "blocks").mkdir(parents=True)
    (folder / "blocks" / "human.md").write_text(REMEMBERED)
    return folder


@pytest.fixture(scope="module")
def stage(make_module_world, shape_set, sample_set, memory):
    """A production with sets: a good one of a real Letta, one that lost a message, one with a flipped bit, one with another's volume."""
    world = make_module_world()
    world.copy_set(sample_set)
    add_volume(Path(world.root, SAMPLE.name), memory)
    world.copy_set(shape_set)
    add_volume(rename(Path(world.root, shape_set.name), SWAPPED), memory, tree_digest="sha256:" + "0" * 64)
    for name in (LOST, CORRUPT):
        world.copy_set(shape_set)
        path = Path(world.root, shape_set.name)
        tables = json.loads((path / "manifest.json").read_text(encoding="utf-8"))["tables"]
        if name == LOST:
            tables["letta.messages"]["rows"] += 1
        path = rename(path, name, tables=tables)
    flip(largest(str(path)))
    base = world.folder / "stands"
    base.mkdir(mode=0o700)
    world.variables = {
        "letta_rehearse_dir": str(base), "letta_rehearse_sets": ["oldest", LOST, CORRUPT, SWAPPED], "letta_rehearse_agents": 2,
        "letta_rehearse_repeats": 2, "letta_rehearse_server": [str(letta_home() / "venv" / "bin" / "letta"), "server"],
        "letta_rehearse_environment": {"LETTA_USE_UVLOOP": "true"}, "letta_encryption_key": SAMPLE_KEY, "letta_version": "0.16.8",
        "letta_rto_target": "30m", "letta_rpo_target": "520w",
    }  # fmt: skip
    return world


@pytest.fixture(scope="module")
def rehearsed(stage, memory):
    (memory / "blocks" / "human.md").write_text(REMEMBERED + " since the backup")
    before = stage.fingerprint(), trees.read_tree(memory)
    played = stage.play("rehearse.yml", "-vv", timeout=600)
    played.before = before
    return played


def of(rehearsed, name):
    assert rehearsed.report, rehearsed.output[-4000:]
    return next(item for item in rehearsed.report["sets"] if item["set"] == name)


def test_the_good_set_passes_with_every_table_served_by_a_real_letta_and_agents_brought_back(rehearsed):
    record = of(rehearsed, SAMPLE.name)
    assert (record["verdict"], record["reason"]) == ("passed", ""), rehearsed.output[-6000:]
    assert record["tables"]["differ"] == 0 and record["tables"]["equal"] > 40 and record["checks"]["fail"] == 0
    assert len(record["agents"]["restored"]) == 2 and record["agents"]["failed"] == []
    for name in ("api_list_agents", "api_page_of_messages", "api_vector_search", "api_send_message"):
        assert record["figures"][name]["count"] == 2 and 0 < record["figures"][name]["median_ms"] <= record["figures"][name]["p95_ms"]
    assert record["letta"]["to"] == "0.16.8" and record["rto"]["met"] is True and record["seconds"]["total"] > 5


@pytest.mark.fault(40, "failed")
def test_a_set_that_lost_a_message_and_one_with_a_flipped_bit_fail_each_with_its_reason(rehearsed):
    lost, corrupt = of(rehearsed, LOST), of(rehearsed, CORRUPT)
    assert (lost["verdict"], lost["failure_class"]) == ("failed", "verify_failed") and "messages" in lost["reason"]
    assert (corrupt["verdict"], corrupt["failure_class"]) == ("failed", "backup_corrupt") and "checksum" in corrupt["reason"]


def test_the_volume_of_the_good_set_came_back_into_a_folder_of_the_rehearsals_own_and_is_told_of(rehearsed, stage):
    record = of(rehearsed, SAMPLE.name)
    assert record["volumes"] == {"equal": 1, "counted": 0, "missing": 0} and "1 volume: 1 equal" in rehearsed.output
    (full,) = stage.reports.glob("rh-*/%s/restore-full/r-*/report.json" % SAMPLE.name)
    (volume,) = json.loads(full.read_text())["volumes"]
    assert (volume["status"], volume["proof"], volume["files"]) == ("swapped", "equal", 1)
    assert volume["path"].startswith("%s/letta_rehearsal_rh-" % (stage.folder / "stands"))


def test_a_set_whose_volume_is_another_than_its_manifest_says_fails(rehearsed):
    record = of(rehearsed, SWAPPED)
    assert (record["verdict"], record["failure_class"]) == ("failed", "backup_corrupt")
    assert "memory.tar.gz" in record["reason"] and "another digest than the manifest says" in record["reason"]
    assert record["volumes"] == {"equal": 0, "counted": 0, "missing": 0}


@pytest.mark.fault(40, "failed")
def test_one_bad_set_fails_the_rehearsal_with_ansibles_exit_code_of_a_failure(rehearsed):
    assert rehearsed.rc == 2 and rehearsed.report["verdict"] == "failed"
    assert "PROOF  the promise does NOT hold: 4 sets rehearsed, 1 passed, 3 failed" in rehearsed.output


@pytest.mark.fault(39, "production")
def test_the_sets_and_production_are_as_they_were_and_nothing_of_the_rehearsal_is_left(rehearsed, stage, memory):
    assert (stage.fingerprint(), trees.read_tree(memory)) == rehearsed.before
    assert [path.name for path in memory.parent.iterdir()] == ["memory"]
    assert os.listdir(stage.folder / "stands") == [] and stage.leftovers() == []
    assert sorted(os.listdir(stage.root)) == sorted([SAMPLE.name, LOST, CORRUPT, SWAPPED, ".rehearsals"])
    running = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(stage.folder / "stands").encode() in _read(path)]
    assert running == []


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.fault(42, "output", "report")
def test_no_secret_is_printed_or_kept_in_a_report(rehearsed, stage):
    kept = b"".join(path.read_bytes() for path in stage.reports.rglob("*") if path.is_file())
    for secret in (SAMPLE_KEY, PASSWORD, REMEMBERED):
        assert secret not in rehearsed.output and secret.encode() not in kept


def test_the_reports_for_people_and_machines_are_there_and_say_the_same(rehearsed, stage):
    folder = stage.reports / "latest-rehearsal"
    cases = ElementTree.parse(folder / "junit.xml").getroot()
    failed = {case.get("name") for case in cases.iter("testcase") if case.find("failure") is not None}
    assert {"%s: restores in full" % name for name in (LOST, CORRUPT, SWAPPED)} <= failed, failed
    assert not [name for name in failed if name.startswith(SAMPLE.name)] and not cases.findall(".//error")
    assert 'verdict="failed"} 1' in (folder / "letta_rehearsal.prom").read_text()
    assert "does NOT hold" in (folder / "report.html").read_text() or "does not hold" in (folder / "report.html").read_text()


def test_plans_and_the_catalogue_know_what_was_rehearsed(rehearsed, stage):
    listed = stage.play("catalog.yml")
    assert "rehears" in listed.output, listed.output


def test_check_mode_says_what_would_be_rehearsed_and_starts_nothing(stage):
    before = stage.tree(stage.root)
    played = stage.play("rehearse.yml", "--check")
    assert played.rc == 0, played.output[-3000:]
    assert SAMPLE.name in played.output and stage.tree(stage.root) == before and os.listdir(stage.folder / "stands") == []


@pytest.mark.fault(40, "error")
def test_a_store_that_does_not_answer_is_no_verdict_with_an_exit_code_of_its_own(stage):
    root = stage.folder / "empty"
    root.mkdir(mode=0o700, exist_ok=True)
    played = stage.play("rehearse.yml", "-e", json.dumps({"letta_backup_root": str(root), "letta_stores": ["rclone:nowhere:sets"]}))
    assert played.rc == 4 and "NO VERDICT" in played.output, played.output[-3000:]
    assert played.report["verdict"] == "error" and played.report["counts"]["failed"] == 0


def test_a_store_without_a_set_fails(stage):
    root = stage.folder / "empty"
    root.mkdir(mode=0o700, exist_ok=True)
    shutil.rmtree(root / ".rehearsals", ignore_errors=True)
    played = stage.play("rehearse.yml", "-e", json.dumps({"letta_backup_root": str(root), "letta_rehearse_sets": ["latest"]}))
    assert played.rc == 2 and "not one backup set" in played.output, played.output[-3000:]


def test_without_the_key_nothing_is_said_of_encrypted_secrets(stage):
    played = stage.play("rehearse.yml", "-e", json.dumps({"letta_encryption_key": "", "letta_rehearse_sets": [SAMPLE.name]}))
    assert played.rc == 4 and "letta_encryption_key is not set" in played.output, played.output[-3000:]


@pytest.mark.fault(26, "wrong")
def test_a_wrong_key_fails(stage):
    played = stage.play("rehearse.yml", "-e", json.dumps({"letta_encryption_key": "another", "letta_rehearse_sets": [SAMPLE.name]}))
    assert played.rc == 2 and of(played, SAMPLE.name)["failure_class"] == "key_mismatch", played.output[-3000:]


@pytest.mark.fault(39, "production")
def test_a_staging_inventory_that_names_production_is_refused(stage):
    given = {"letta_rehearse_place": "hosts", "letta_rehearse_inventory": str(stage.inventory()), "letta_rehearse_target": "db1/letta",
             "letta_rehearse_sets": [SAMPLE.name]}  # fmt: skip
    before = stage.fingerprint()
    played = stage.play("rehearse.yml", "-e", json.dumps(given))
    assert played.rc == 4 and "names hosts of the inventory that is rehearsed: db1" in played.output, played.output[-3000:]
    assert stage.fingerprint() == before


@pytest.fixture
def staging(tmp_path, sample_set):
    """A system of one's own, on a PostgreSQL server that is marked as one of rehearsals."""
    server = EmbeddedPostgres(tmp_path / "server", fsync=False, settings={"letta_ops.rehearsal": "staging"})
    try:
        server.start()
        make_admin(server)
        install_schema(server.create_letta_database("letta_staging", password=PASSWORD, schema="letta"))
        world = World(server, "letta_staging", tmp_path)
        os.makedirs(world.root, 0o700)
        world.copy_set(sample_set)
        world.variables = {"letta_encryption_key": SAMPLE_KEY, "letta_version": "0.16.8"}
        yield world
    finally:
        server.destroy()


@pytest.mark.fault(39, "production", "secrets")
def test_a_staging_system_of_ones_own_is_overwritten_by_the_set_blanked_and_production_is_not(stage, staging):
    inventory = staging.inventory()
    inventory.write_text(inventory.read_text(encoding="utf-8").replace(HOST, "staging1"), encoding="utf-8")
    given = {"letta_rehearse_place": "hosts", "letta_rehearse_inventory": str(inventory), "letta_rehearse_agents": 9,
             "letta_rehearse_target": "staging1/%s" % staging.database, "letta_rehearse_sets": [SAMPLE.name]}  # fmt: skip
    before, older = stage.fingerprint(), staging.fingerprint()
    played = stage.play("rehearse.yml", "-e", json.dumps(given), timeout=600)
    record = of(played, SAMPLE.name)
    assert (played.rc, record["verdict"], record["reason"]) == (0, "passed", ""), played.output[-6000:]
    assert record["tables"]["differ"] == 0 and record["tables"]["equal"] > 40 and len(record["agents"]["restored"]) > 2  # all there are
    holders = {table for table, _column in secret_columns() if query(staging.live, "SELECT 1 FROM letta.%s LIMIT 1" % table)}
    assert "agent_environment_variables" in holders, "nothing was there to be blanked"
    for table, column in secret_columns():
        assert query(staging.live, "SELECT count(*) FROM letta.%s WHERE %s::text <> ''" % (table, column)) == [(0,)], (table, column)
    assert stage.fingerprint() == before and staging.fingerprint()["oid"] != older["oid"]
