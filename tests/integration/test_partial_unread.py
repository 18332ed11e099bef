"""Partial restores leave passages in the archive when live has them as they were saved, and only then."""
from __future__ import annotations

import os

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial import slices
from tests.integration.partial_engine_kit import AGENTS, differing

AGENT = AGENTS["support"]
OF_AGENT = "archive_id in (select archive_id from archives_agents where agent_id = '%s')" % AGENT


@pytest.fixture
def set_of_it(part):
    """The live database with a set of it; the shipped one is older than the digests of archives."""
    manifest = take.take_backup(take.BackupOptions(server=part.live, root=part.root, bin_dir=str(part.pg.bin_dir), jobs=1))
    part.set_id = manifest["id"]
    return manifest


def cut_of(begun):
    return slices.Slice.load(os.path.join(begun["run_dir"], "slice"))


def test_a_set_tells_the_passages_of_every_archive(part, set_of_it):
    saved = part.sql("select archive_id, count(*) from archival_passages group by 1 order by 1")
    assert [(archive, rows) for archive, (rows, _digest) in sorted(set_of_it["archives"].items())] == saved
    assert saved


def test_passages_that_are_as_saved_are_not_read_and_the_agent_comes_back_equal(part, set_of_it):
    before = part.contents()
    count = part.sql("select count(*) from archival_passages where " + OF_AGENT)[0][0]
    part.delete_agent(AGENT)
    begun = part.plan(agents=[AGENT])
    assert "archival_passages" not in cut_of(begun).tables
    outcome = part.carry_out(begun)
    (row,) = [row for row in outcome["tables"] if row["name"] == "archival_passages"]
    assert (row["rows_restored"], row["digest"]) == (count, "equal")
    assert count > 0
    assert differing(before, part.contents()) == []
    part.undo()
    assert part.sql("select count(*) from agents where id = %s", (AGENT,)) == [(0,)]
    assert part.sql("select archive_id, count(*) from archival_passages group by 1 order by 1") == [
        (archive, rows) for archive, (rows, _digest) in sorted(set_of_it["archives"].items())
    ]


CHANGES = {
    "one number of a vector changed": "update archival_passages set embedding = (replace(embedding::text, '[', '[1'))::vector"
    " where id = (select min(id) from archival_passages where %s)",
    "removed": "delete from archival_passages where id = (select min(id) from archival_passages where %s)",
    "archive removed": f"delete from archives where id in (select archive_id from archives_agents where agent_id = '{AGENT}')",
    "added": "create temp table p as select * from archival_passages where %s limit 1; update p set id = 'passage-' || gen_random_uuid();"
    " insert into archival_passages select * from p",
}


@pytest.mark.parametrize("change", CHANGES)
def test_passages_that_are_not_as_saved_are_read_and_come_back(part, set_of_it, change):
    before = part.contents()
    part.sql(CHANGES[change].replace("%s", OF_AGENT))
    assert "letta.archival_passages" in differing(before, part.contents())
    begun = part.plan(agents=[AGENT], policies={"shared": "overwrite"})
    assert cut_of(begun).unread == {}
    part.carry_out(begun, part.options(policies={"shared": "overwrite"}))
    # links of other agents, which go with an archive, are not this agent's
    assert set(differing(before, part.contents())) <= ({"letta.archives_agents"} if change == "archive removed" else set())


def test_passages_written_after_the_plan_are_not_passed_over(part, set_of_it):
    part.sql("delete from messages where agent_id = %s", (AGENT,))
    begun = part.plan(agents=[AGENT])
    part.sql(CHANGES["removed"].replace("%s", OF_AGENT))
    before = part.contents()
    with pytest.raises(RecoveryError, match="passages were written or removed since the plan") as told:
        part.carry_out(begun)
    assert told.value.failure_class == "preflight"
    assert differing(before, part.contents()) == []
    part.fail(begun)


def test_a_copy_needs_every_row(part, set_of_it):
    part.delete_agent(AGENT)
    begun = part.plan(agents=[AGENT], policies={"shared": "copy"})
    assert cut_of(begun).tables["archival_passages"]["rows"] > 0
    part.fail(begun)
