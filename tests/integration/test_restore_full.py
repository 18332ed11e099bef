"""A full restore as a person runs it: the playbook, against a real PostgreSQL."""
from __future__ import annotations

import json
import os
import re
import secrets
import time
from contextlib import closing

import pytest
from psycopg2 import sql

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import catalogue, rehearsals
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect
from tests.integration.restore_kit import PASSWORD, content, fill, fingerprint, install_schema

PREPARE = "stage,migrate,validate,reconcile"
REPORT_KEYS = {
    "run_id", "playbook", "status", "failure_class", "backup", "target", "phases", "downtime_seconds", "tables", "checks", "reconciled",
    "redis", "undo",
}  # fmt: skip


@pytest.fixture(scope="session")
def saved(pg, letta_shape):
    """What every restore here must bring back."""
    return content(fingerprint(pg.server(), letta_shape))


def phases_of(report):
    return {phase["name"]: phase["status"] for phase in report["phases"]}


@pytest.mark.fault(41, "twice")
@pytest.mark.fault(15, "equal")
@pytest.mark.slow
def test_a_restore_brings_back_what_was_saved_and_the_second_run_changes_nothing(world, saved):
    old = world.fingerprint()
    first = world.play("restore-full.yml").ok()
    assert content(world.fingerprint()) == saved
    (kept,) = world.kept_names()
    assert content(world.fingerprint(kept)) == content(old)
    assert world.fingerprint(kept)["open"] is False
    assert world.leftovers({kept}) == []
    assert first.recap()["changed"] == 2
    assert "written later" in first.output, "the plan names what is lost"
    check_report(first.report, world)

    restored, runs = world.fingerprint(), world.tree(world.root)
    second = world.play("restore-full.yml").ok()
    assert second.recap()["changed"] == 0
    assert second.report["status"] == "succeeded"
    assert world.fingerprint() == restored
    assert set(world.tree(world.root)) == set(runs)


def check_report(report, world):
    """The report has the published shape, and says what really happened."""
    assert set(report) >= REPORT_KEYS
    assert (report["status"], report["failure_class"], report["playbook"]) == ("succeeded", "ok", "restore-full.yml")
    assert set(report["backup"]) >= {"id", "taken_at", "letta_version", "alembic_revision", "rejected"}
    assert report["target"] == {"host": "db1", "database": world.database, "alembic_revision": "1c28e167b74f"}
    names = ["assess", "stage", "migrate", "validate", "reconcile", "cutover", "verify"]
    assert [phase["name"] for phase in report["phases"]] == names
    assert all(phase["status"] in ("ok", "skipped") and {"name", "status", "seconds"} <= set(phase) for phase in report["phases"])
    assert len(report["tables"]) == 49
    for table in report["tables"]:
        assert set(table) >= {"name", "rows_expected", "rows_restored", "digest", "explanation"}
        assert table["digest"] == "equal"
        assert table["rows_expected"] == table["rows_restored"]
    assert sum(table["rows_restored"] for table in report["tables"]) == 324
    assert {check["status"] for check in report["checks"]} <= {"pass", "warn"}
    assert all({"id", "status", "detail", "count"} <= set(check) for check in report["checks"])
    cutover = next(phase for phase in report["phases"] if phase["name"] == "cutover")
    assert 0 < report["downtime_seconds"] < cutover["seconds"]
    (journal,) = world.journals()
    assert report["undo"]["command"] == "ansible-playbook playbooks/rollback.yml -e letta_restore_id=%s" % journal.run_id
    assert report["undo"]["valid_until"] == journal.data["valid_until"]
    assert os.readlink(world.reports / "latest") in (report["run_id"], str(world.reports / report["run_id"]))
    folder = world.reports / "latest"
    assert {"report.json", "report.html", "junit.xml", "letta_restore.prom"} <= {path.name for path in folder.iterdir()}
    for text in (path.read_text(encoding="utf-8") for path in folder.iterdir()):
        assert PASSWORD not in text


@pytest.mark.fault(38, "empty")
@pytest.mark.slow
def test_a_restore_onto_an_empty_server_makes_the_database(empty_world, saved):
    played = empty_world.play("restore-full.yml").ok()
    assert content(empty_world.fingerprint()) == saved
    assert empty_world.leftovers() == []
    assert played.report["undo"]["command"] is None


@pytest.mark.fault(41, "check")
@pytest.mark.slow
def test_check_mode_prints_the_plan_with_its_last_rehearsal_and_writes_nothing(world):
    (set_id,) = [info.id for info in catalogue.list_sets(world.root)]
    rehearsals.append(world.root, {"set": set_id, "verdict": "passed", "finished_at": "2026-11-17T21:41:00Z", "seconds": {"total": 700.0}})
    before = (world.tree(world.folder / "store"), world.databases(), world.fingerprint())
    played = world.play("restore-full.yml", "--check", confirm=False).ok()
    assert "PLAN   restore lb-" in played.output
    assert re.search(r"rehearsal passed (2026-)?11-17", " ".join(played.output.split()))
    assert (world.tree(world.folder / "store"), world.databases(), world.fingerprint()) == before
    assert not world.reports.exists()
    assert played.recap()["changed"] == 0


@pytest.mark.fault(41, "tags")
@pytest.mark.slow
def test_a_side_database_is_prepared_ahead_and_cut_over_later(world, saved):
    nothing_there = world.play("restore-full.yml", "--tags", "cutover").refused("usage")
    assert "skip" in nothing_there.output
    world.play("restore-full.yml", "--tags", "cutover,verify").refused("usage")
    assert world.leftovers() == []

    old = world.fingerprint()
    world.play("restore-full.yml", "--tags", PREPARE).ok()
    assert world.fingerprint() == old
    (journal,) = world.journals()
    assert (journal.data["status"], len(world.databases())) == ("prepared", 2)
    side = journal.data["side"]["oid"]

    played = world.play("restore-full.yml", "--tags", "cutover,verify").ok()
    assert "Load and prove" not in played.output
    assert (world.fingerprint()["oid"], content(world.fingerprint())) == (side, saved)
    assert set(phases_of(played.report)) == {"assess", "stage", "migrate", "validate", "reconcile", "cutover", "verify"}
    assert world.leftovers(world.kept_names()) == []


@pytest.mark.fault(41, "tags")
@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("--tags", "validate"), ("--skip-tags", "validate"), ("--tags", "postgres")])
def test_tags_that_would_skip_a_needed_phase_are_refused(world, arguments):
    old = world.fingerprint()
    played = world.play("restore-full.yml", *arguments).refused("usage")
    assert played.report["next_step"]
    assert (world.fingerprint(), world.leftovers()) == (old, [])


@pytest.mark.slow
def test_without_a_confirmation_nothing_happens(world):
    old = world.fingerprint()
    world.play("restore-full.yml", confirm=False).refused("cancelled")
    assert (world.fingerprint(), world.leftovers()) == (old, [])


@pytest.mark.fault(12, "database")
@pytest.mark.slow
def test_a_database_with_a_hostile_name_in_another_schema_is_restored_whole(pg, make_world):
    """Name, owner and schema are data: nothing in them is run, split, or taken for a template or a connection string."""
    name = "we\"ird {{ 7 * 7 }} = $(touch y) 'x' %s" % secrets.token_hex(3)
    world = make_world(live=False, database=name, owner="o'wner {{ y }}")
    owner = pg.create_letta_database(name, world.owner, PASSWORD, schema='sch"ema {{ z }}')
    install_schema(owner, 'sch"ema {{ z }}')
    fill(owner)
    wanted = world.fingerprint()
    world.backup()
    world.sql(sql.SQL("DELETE FROM {}.blocks_agents").format(sql.Identifier('sch"ema {{ z }}')))
    played = world.play("restore-full.yml").ok()
    now = world.fingerprint()
    assert content(now) == content(wanted)
    assert now["oid"] != wanted["oid"]
    assert name in json.dumps(played.report, ensure_ascii=False).replace('\\"', '"')
    assert world.leftovers(world.kept_names()) == []
    rolled_back = world.play("rollback.yml").ok()
    assert world.fingerprint()["oid"] == wanted["oid"]
    assert rolled_back.report["target"]["database"] == name


@pytest.mark.slow
def test_letta_in_schema_public_reached_by_one_uri_is_restored_whole(pg, make_world):
    name = "pub lic+%s" % secrets.token_hex(3)
    world = make_world(live=False, database=name, owner="uri owner")
    pg.ensure_role(world.owner, "p@ss/w:rd", createdb=True)
    pg.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(world.owner)))
    pg.execute("CREATE EXTENSION vector SCHEMA public", name)
    pg.execute(sql.SQL("GRANT ALL ON SCHEMA public TO {}").format(sql.Identifier(world.owner)), name)
    owner = pg.server(world.owner, "p@ss/w:rd", name)
    install_schema(owner, "public")
    fill(owner)
    world.backup()
    wanted = world.fingerprint()
    world.sql("DELETE FROM blocks_agents")
    world.variables = dict(
        letta_pg_uri="postgresql+asyncpg://uri%%20owner:p%%40ss%%2Fw%%3Ard@127.0.0.1:%d/%s?ssl=disable"
        % (pg.port, name.replace(" ", "%20").replace("+", "%2B")),
        letta_db_name=None, letta_db_user=None, letta_db_password=None, letta_db_admin_user="restore_admin",
    )  # fmt: skip
    world.play("restore-full.yml").ok()
    assert content(world.fingerprint()) == content(wanted)
    assert world.leftovers(world.kept_names()) == []


@pytest.mark.fault(23, "stays")
@pytest.mark.slow
def test_a_session_that_stays_makes_the_cutover_give_up_and_the_next_run_goes_on_there(world, saved):
    old = world.fingerprint()
    world.variables = {"letta_session_timeout": 1}
    with closing(connect(world.live, "a forgotten notebook")):
        played = world.play("restore-full.yml").refused("swap_rolled_back")
        assert "a forgotten notebook" in played.report["message"]
        assert world.fingerprint() == old
        world.variables["letta_foreign_sessions"] = "terminate"
        again = world.play("restore-full.yml").ok()
        assert "goes on where it stopped" in again.output
    assert content(world.fingerprint()) == saved


@pytest.mark.slow
def test_old_databases_are_dropped_by_the_next_restore_when_their_time_is_over(world):
    world.variables = {"letta_restore_keep_previous": "1s", "letta_restore_force": True}
    world.play("restore-full.yml").ok()
    (first,) = world.kept_names()
    time.sleep(1.1)
    world.play("restore-full.yml").ok()
    assert first not in world.databases()
    assert len(world.databases()) == 2
    assert world.leftovers(world.kept_names()) == []
