"""A rehearsal of sets of several ages, one of them damaged: each is judged for itself, the older ones after Letta's own migrations."""
from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from tests.integration.test_catalog import flip, largest
from tests.integration.test_rehearse import SAMPLE, of, rename
from tests.lab.fixtures import LETTA_PASSWORD
from tests.lab.letta_install import letta_home
from tests.lab.old import make_old_database, old_schemas
from tests.lab.seed import SAMPLE_KEY

pytestmark = pytest.mark.slow
OLD = ("0.11.7", "0.13.0")
CORRUPT = "lb-20260101T000000Z-c0bb02"


@pytest.fixture(scope="module")
def stage(pg, make_module_world, sample_set):
    """(A store with a set of each age and a damaged one, {release: id of its set})."""
    world = make_module_world()
    schemas, sets = old_schemas(pg, LETTA_PASSWORD, releases=OLD), {}
    for release in OLD:
        name = "ages_%s" % release.replace(".", "_")
        make_old_database(pg, name, release, schemas, LETTA_PASSWORD)
        options = take.BackupOptions(server=world.admin.database(name), root=world.root, bin_dir=world.bin_dir, jobs=1)
        sets[release] = take.take_backup(options)["id"]
        pg.drop_database(name)
        pg.drop_database(schemas[release])
    for target in (CORRUPT, SAMPLE.name):
        world.copy_set(sample_set)
        if target == CORRUPT:
            flip(largest(str(rename(Path(world.root, SAMPLE.name), CORRUPT))))
    base = world.folder / "stands"
    base.mkdir(mode=0o700)
    python = str(letta_home() / "venv" / "bin" / "python")
    world.variables = {
        "letta_rehearse_dir": str(base), "letta_rehearse_sets": ["revisions", CORRUPT], "letta_rehearse_agents": 1,
        "letta_rehearse_repeats": 1, "letta_rehearse_server": [str(letta_home() / "venv" / "bin" / "letta"), "server"],
        "letta_rehearse_environment": {"LETTA_USE_UVLOOP": "true"}, "letta_encryption_key": SAMPLE_KEY, "letta_version": "0.16.8",
        "letta_alembic_command": [python, "-m", "alembic"], "letta_alembic_directory": str(letta_home()),
    }  # fmt: skip
    return world, {"0.16.8": SAMPLE.name, **sets}


@pytest.fixture(scope="module")
def rehearsed(stage):
    return stage[0].play("rehearse.yml", timeout=900)


@pytest.mark.parametrize("release", [*OLD, "0.16.8"])
def test_a_set_of_any_age_passes_served_by_a_letta_of_the_release_that_runs(stage, rehearsed, release):
    record = of(rehearsed, stage[1][release])
    assert (record["verdict"], record["reason"]) == ("passed", ""), rehearsed.output[-6000:]
    assert record["letta"]["to"] == "0.16.8"
    assert record["tables"]["differ"] == 0
    assert record["tables"]["explained"] > 0
    (full,) = stage[0].reports.glob("rh-*/%s/restore-full/r-*/report.json" % stage[1][release])
    (migrate,) = [phase for phase in json.loads(full.read_text())["phases"] if phase["name"] == "migrate"]
    assert ("migrations" in migrate["detail"]) == (release in OLD), migrate
    assert len(record["agents"]["restored"]) == 1 and record["agents"]["failed"] == []


@pytest.mark.fault(40, "failed")
def test_the_damaged_one_among_them_fails_alone(stage, rehearsed):
    record = of(rehearsed, CORRUPT)
    assert (record["verdict"], record["failure_class"]) == ("failed", "backup_corrupt")
    assert rehearsed.rc == 2
    assert "4 sets rehearsed, 3 passed, 1 failed" in rehearsed.output
    assert os.listdir(stage[0].folder / "stands") == []
