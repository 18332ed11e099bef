"""The plan is a pure function: each thing that stands against a restore is refused with its class and what to type next."""
from __future__ import annotations

import copy

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import secrets as letta_secrets
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta.releases import head_of
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.plan import make_plan

HEAD = "1c28e167b74f"
GIB = 1 << 30
MANIFEST = {
    "id": "lb-20261121T033000Z-4f2a9c", "kind": "backup", "taken_at": "2026-11-21T03:30:00Z",
    "letta": {"version": "0.16.8", "alembic_revisions": [HEAD]},
    "postgresql": {"server_version": "17.6", "server_version_num": 170006},
    "database": {"size_bytes": GIB, "extensions": [{"name": "plpgsql"}, {"name": "vector", "version": "0.8.0"}]},
    "tables": {"letta.agents": {"rows": 2}, "letta.messages": {"rows": 40}}, "encryption_key": None,
}  # fmt: skip
TARGET = {
    "server_version_num": 180006, "server_version": "18.6", "standby": False, "owner": "letta", "owner_exists": True,
    "role": {"name": "admin", "superuser": False, "createdb": True, "may_set_owner": True},
    "extensions": {"vector": {"version": "0.8.6", "trusted": True}}, "free_bytes": 100 * GIB,
    "live": {"oid": 1, "owner": "letta", "fenced": False, "size_bytes": GIB, "schema": "letta", "revisions": [HEAD], "may_rename": True},
}  # fmt: skip
OPTIONS = {"host": "db1", "database": "letta", "mode": "swap", "service_manager": "command", "stops": ["letta1"], "undo": "the undo line",
           "runs": {"version": None, "image": None, "running": {}}}  # fmt: skip


def runs(version):
    return {"version": version, "image": None, "running": {}}


def changed(data, path, value):
    """Return a deep copy with one value, named by its dotted path, replaced."""
    copied = copy.deepcopy(data)
    place = copied
    *folders, last = path.split(".")
    for name in folders:
        place = place[name]
    place[last] = value
    return copied


def refusal(manifest=MANIFEST, target=TARGET, options=OPTIONS):
    with pytest.raises(RecoveryError) as caught:
        make_plan(manifest, target, options)
    assert caught.value.next_step, "a refusal without a next step helps nobody"
    return caught.value


def test_making_a_plan_changes_nothing_it_was_given():
    given = [copy.deepcopy(item) for item in (MANIFEST, TARGET, OPTIONS)]
    make_plan(*given)
    assert given == [MANIFEST, TARGET, OPTIONS]


def test_a_plan_over_a_live_database_names_what_is_stopped_and_how_to_undo():
    plan = make_plan(MANIFEST, TARGET, OPTIONS)
    assert (plan["kind"], plan["stops"], plan["undo"], plan["rows"]) == ("replace", ["letta1"], "the undo line", 42)
    assert [step["name"] for step in plan["steps"]] == ["stage", "migrate", "validate", "reconcile", "cutover", "verify"]


def test_a_plan_without_a_live_database_has_nothing_to_undo():
    plan = make_plan(MANIFEST, changed(TARGET, "live", None), OPTIONS)
    assert (plan["kind"], plan["undo"]) == ("fresh", "")


def test_an_unchanged_target_has_no_steps():
    plan = make_plan(MANIFEST, TARGET, OPTIONS, unchanged=True)
    assert (plan["kind"], plan["steps"], plan["undo"]) == ("unchanged", [], "")


def test_a_plan_in_place_says_that_live_is_dropped_after_a_safety_dump():
    plan = make_plan(MANIFEST, TARGET, dict(OPTIONS, mode="in_place"))
    assert "safety dump, drop letta" in plan["steps"][0]["detail"]


@pytest.mark.parametrize(
    ("revisions", "said"),
    [(["ddb69be34a72"], "migrations lie between"), (["0123456789ab"], "no Letta release"), ([HEAD, "ddb69be34a72"], "more than one"),
     ([], "empty alembic_version"), (None, "no alembic_version table")],
)  # fmt: skip
def test_a_set_of_another_schema_is_refused_with_what_it_is(revisions, said):
    error = refusal(changed(MANIFEST, "letta.alembic_revisions", revisions), options=dict(OPTIONS, runs=runs("0.16.8")))
    assert error.failure_class == "schema"
    assert said in error.message


def test_a_schema_whose_migrations_are_not_declared_is_refused_and_a_loss_of_passages_named():
    for release, told in (("0.6.4", True), ("0.8.15", False)):
        error = refusal(changed(MANIFEST, "letta.alembic_revisions", [head_of(release)]), options=dict(OPTIONS, runs=runs("0.16.8")))
        assert error.failure_class == "schema"
        assert "not declared here" in error.message
        assert ("every memory of every agent would be lost" in error.message) == told
        assert ("its passages saved first" in error.next_step) == told


def test_a_set_newer_than_the_release_that_will_run_is_refused():
    error = refusal(options=dict(OPTIONS, runs=runs("0.11.7")))
    assert error.failure_class == "schema"
    assert "newer" in error.message


def test_without_a_version_the_live_revision_decides():
    error = refusal(target=changed(TARGET, "live.revisions", ["ddb69be34a72"]))
    assert (error.failure_class, error.details["schema"]["to_revision"]) == ("schema", "ddb69be34a72")


def test_another_encryption_key_is_refused_without_showing_it():
    manifest = changed(MANIFEST, "encryption_key", letta_secrets.fingerprint("the right key"))
    error = refusal(manifest, options=dict(OPTIONS, encryption_key="the wrong key"))
    assert error.failure_class == "key_mismatch"
    assert "wrong key" not in str(error.as_dict())
    assert make_plan(manifest, TARGET, dict(OPTIONS, encryption_key="the right key"))["kind"] == "replace"


@pytest.mark.parametrize(
    ("path", "value", "failure_class", "said", "next_step"),
    [
        ("standby", True, "preflight", "read replica", "primary"),
        ("server_version_num", 160010, "schema", "forward only", "PostgreSQL 17 or newer"),
        ("extensions", {}, "schema", "extension vector is not installed", "postgresql-18-pgvector"),
        ("extensions.vector.trusted", False, "preflight", "may not create extension vector", "superuser"),
        ("owner_exists", False, "preflight", "does not exist", "CREATE ROLE letta"),
        ("role.createdb", False, "preflight", "may not create databases", "ALTER ROLE admin CREATEDB"),
        ("role.may_set_owner", False, "preflight", "may not give a database to letta", "GRANT letta TO admin"),
        ("live.may_rename", False, "preflight", "may not rename letta", "GRANT letta TO admin"),
        ("free_bytes", GIB, "preflight", "needs 1.2 GiB", "letta_restore_mode=in_place"),
    ],
)
def test_what_the_server_lacks_is_refused_with_the_line_that_mends_it(path, value, failure_class, said, next_step):
    error = refusal(target=changed(TARGET, path, value))
    assert error.failure_class == failure_class
    assert said in error.message
    assert next_step in error.next_step


def test_a_superuser_needs_neither_createdb_nor_a_trusted_extension():
    target = changed(changed(TARGET, "role.superuser", True), "role.createdb", False)
    assert make_plan(MANIFEST, changed(target, "extensions.vector.trusted", False), OPTIONS)["kind"] == "replace"


def test_in_place_needs_only_the_room_that_dropping_live_does_not_free():
    assert make_plan(MANIFEST, changed(TARGET, "free_bytes", GIB // 2), dict(OPTIONS, mode="in_place"))["kind"] == "replace"
    assert refusal(target=changed(TARGET, "free_bytes", GIB // 10), options=dict(OPTIONS, mode="in_place")).failure_class == "preflight"


def test_a_data_folder_that_cannot_be_seen_is_a_warning_and_no_refusal():
    plan = make_plan(MANIFEST, changed(TARGET, "free_bytes", None), OPTIONS)
    assert any("free disk space is unknown" in text for text in plan["warnings"])


def test_a_backup_from_the_future_is_a_warning():
    plan = make_plan(MANIFEST, TARGET, OPTIONS, window={"seconds": -3600.0, "messages": 0, "agents": [], "agents_count": 0})
    assert any("from the future" in text for text in plan["warnings"])


def test_expected_times_are_the_middle_of_earlier_runs_and_none_without_them():
    history = [{"stage": 1.0, "downtime": 3.0}, {"stage": 9.0, "downtime": None}, {"stage": 2.0, "downtime": 5.0}]
    plan = make_plan(MANIFEST, TARGET, OPTIONS, history=history)
    assert plan["steps"][0]["expected_seconds"] == 2.0
    assert plan["expected_downtime_seconds"] == 5.0
    assert make_plan(MANIFEST, TARGET, OPTIONS)["expected_seconds"] is None
