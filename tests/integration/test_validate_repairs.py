"""What validation repairs when told to, damage that only pg_amcheck sees, and test queries with a recorded answer."""
from __future__ import annotations

import os
from contextlib import closing

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import queries, take
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import amcheck as room
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.repair import REPAIRS
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate import repair_database, validate_database
from tests.integration.validate_kit import AGENT, ARCHIVE, MESSAGES, PASSAGE, SOURCE, broken, entity, insert, run_module, superuser, vector


def repaired(server, check_mode=False, role=None):
    """Validate and repair; returns ({check: finding} of what was touched or is no pass, repairs)."""
    findings, repairs = repair_database(server, validate_database(server, role=role), role, check_mode)
    touched = {repair["check"] for repair in repairs}
    return {finding.id: finding for finding in findings if finding.id in touched or finding.status != "pass"}, repairs


def break_index(pg, database):
    ((name,),) = query(
        database, "select indexrelid::regclass::text from pg_index where indrelid = 'runs'::regclass and not indisunique limit 1"
    )
    superuser(pg, database, "update pg_index set indisvalid = false where indexrelid = 'letta.%s'::regclass" % name)
    return name


def break_sequence(_pg, database):
    query(database, "select setval('message_seq_id', 3)")
    return "message_seq_id"


def break_constraint(_pg, database):
    query(database, "alter table messages add constraint late check (role <> '') not valid")
    return "late"


BREAKS = {"schema.indexes": break_index, "sequence.message_seq_id": break_sequence, "schema.constraints": break_constraint}


@pytest.mark.parametrize("check", list(BREAKS))
def test_a_safe_repair_mends_it_says_what_was_and_is_not_needed_twice(pg, sound_database, check):
    name = BREAKS[check](pg, sound_database)
    found, repairs = repaired(sound_database, check_mode=True)
    assert found[check].status == "fail"
    assert "would be repaired" in found[check].detail
    assert [repair["done"] for repair in repairs] == [False]
    assert list(broken(sound_database)) == [check]

    found, repairs = repaired(sound_database)
    assert {name: finding.status for name, finding in found.items()} == {check: "pass"}
    assert "repaired: " in found[check].detail
    assert "it was " in found[check].detail
    assert name in repairs[0]["what"]
    assert [repair["done"] for repair in repairs] == [True]
    assert broken(sound_database) == {}
    assert repaired(sound_database) == ({}, [])


@pytest.mark.fault(32, "behind")
def test_a_sequence_is_moved_to_the_highest_value_and_the_next_message_goes_in(sound_database):
    break_sequence(None, sound_database)
    repaired(sound_database)
    assert query(sound_database, "select nextval('message_seq_id')") == [(MESSAGES + 1,)]


def test_a_constraint_whose_rows_break_it_stays_and_the_reason_is_told(sound_database):
    query(sound_database, "alter table messages add constraint late check (role <> 'user') not valid")
    found, repairs = repaired(sound_database)
    assert found["schema.constraints"].status == "fail"
    assert "could not be repaired" in found["schema.constraints"].detail
    assert [(repair["done"], repair["error"]) for repair in repairs] == [(False, "CheckViolation 23514")]
    assert "user" not in repairs[0]["error"]


def test_a_lost_search_path_is_set_again_for_everybody_who_logs_in(pg, sound_database):
    superuser(pg, sound_database, 'alter database "%s" reset search_path' % sound_database.dbname)
    pg.ensure_role("stranger", "x")
    superuser(pg, sound_database, "grant usage on schema letta to stranger")
    found, repairs = repaired(sound_database, role="stranger")
    assert {name: finding.status for name, finding in found.items()} == {"names.search_path": "pass"}
    assert [repair["done"] for repair in repairs] == [True]
    assert query(sound_database, "show search_path") == [("letta",)]


def test_a_search_path_that_somebody_set_and_a_missing_right_are_left_to_a_person(pg, sound_database):
    pg.ensure_role("nobody_special", "x")
    assert repaired(sound_database, role="nobody_special")[1] == []
    superuser(pg, sound_database, "grant usage on schema letta to nobody_special")
    superuser(pg, sound_database, 'alter database "%s" set search_path = public' % sound_database.dbname)
    found, repairs = repaired(sound_database, role="nobody_special")
    assert (found["names.search_path"].status, repairs) == ("fail", [])


def test_every_repair_has_a_test_here():
    assert set(REPAIRS) == set(BREAKS) | {"names.search_path"}


def test_the_module_changes_something_only_when_told_to_and_then_once(pg, sound_database):
    def ask(**options):
        return run_module("letta_validate", sound_database, database=sound_database.dbname, fail_on="never", **options)

    break_index(pg, sound_database)
    break_sequence(pg, sound_database)
    assert (ask()["changed"], ask()["repairs"]) == (False, [])
    planned = ask(repair="safe", check=True)
    assert (planned["changed"], planned["status"], len(planned["repairs"])) == (True, "fail", 2)
    done = ask(repair="safe")
    assert (done["changed"], done["status"]) == (True, "pass")
    assert {repair["check"] for repair in done["repairs"] if repair["done"]} == {"schema.indexes", "sequence.message_seq_id"}
    again = ask(repair="safe")
    assert (again["changed"], again["repairs"]) == (False, [])
    assert [step["id"] for step in again["steps"]] == ["schema", "integrity", "state", "ids", "relations", "tools", "queries"]
    assert sum(step["pass"] for step in again["steps"]) == len(again["checks"])


def amcheck(server):
    (finding,) = [finding for finding in validate_database(server) if finding.id == "integrity.amcheck"]
    return finding


def test_a_damaged_index_is_found_where_amcheck_is_installed_and_it_is_never_installed_for_that(pg, sound_database):
    admin = pg.server(dbname=sound_database.dbname)
    assert "not installed" in amcheck(admin).detail
    assert query(admin, "select count(*) from pg_extension where extname = 'amcheck'") == [(0,)]
    superuser(pg, sound_database, "create schema extensions", "create extension amcheck schema extensions")
    assert "may not call" in amcheck(sound_database).detail
    assert amcheck(admin).detail == "pg_amcheck finds no damage"
    # An index whose order changed its mind, as after an upgrade of the collation library.
    compare = "create or replace function letta.compare(bigint, bigint) returns int immutable language sql as 'select btint8cmp(%s, %s)'"
    query(admin, compare % ("$1", "$2"))
    operators = "operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >"
    fickle = "create operator class letta.fickle for type bigint using btree as %s, function 1 letta.compare(bigint, bigint)"
    query(admin, fickle % operators)
    query(admin, "create index out_of_order on letta.messages (sequence_id letta.fickle)")
    assert amcheck(admin).status == "pass"
    query(admin, compare % ("$2", "$1"))
    finding = amcheck(admin)
    assert (finding.status, finding.examples, finding.count) == ("fail", ("out_of_order",), 1)


def test_without_pg_amcheck_the_check_says_that_it_was_not_made(pg, sound_database, tmp_path):
    superuser(pg, sound_database, "create extension amcheck")
    admin = pg.server(dbname=sound_database.dbname)
    (finding,) = [f for f in validate_database(admin, bin_dir=str(tmp_path)) if f.id == "integrity.amcheck"]
    assert (finding.status, finding.detail[:11]) == ("pass", "not checked")


@pytest.fixture
def taken(pg, sound_database, tmp_path):
    """(database, folder of a set of it)."""
    with_neighbours(sound_database)
    root = str(tmp_path / "sets")
    os.makedirs(root, 0o700)
    options = take.BackupOptions(server=sound_database, root=root, bin_dir=str(pg.bin_dir), jobs=1)
    return sound_database, os.path.join(root, take.take_backup(options)["id"])


def with_neighbours(server):
    """Put passages into the archive whose distances differ, and two that are equal."""
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        for number, used in enumerate((1, 5, 50, 500, 500)):
            insert(cursor, "archival_passages", id=entity("passage", 20 + number), archive_id=ARCHIVE, embedding=vector(4096, used))


def test_test_queries_are_recorded_as_ids_in_the_snapshot_of_the_backup(taken):
    _database, folder = taken
    recorded = manifests.load(folder)["queries"]
    assert [(item["query"], item.get("agent") or item.get("container")) for item in recorded] == [
        ("agents", None), ("messages", AGENT), ("nearest", ARCHIVE), ("nearest", SOURCE),
    ]  # fmt: skip
    nearest = recorded[2]["ids"]
    assert nearest[0] == recorded[2]["like"] == PASSAGE
    assert nearest == [PASSAGE] + [entity("passage", number) for number in (23, 24, 22, 21, 20)]
    assert set(recorded[1]["ids"]) == {row[0] for row in query(_database, "select id from messages where agent_id = '%s'" % AGENT)}


def answers(database, folder):
    done = run_module("letta_validate", database, database=database.dbname, set_dir=folder, fail_on="never")
    return {check["id"]: check for check in done["checks"] if check["step"] == "queries"}


def test_the_recorded_answers_come_again_and_another_answer_stops_a_restore(taken):
    database, folder = taken
    assert {check["status"] for check in answers(database, folder).values()} == {"pass"}
    query(database, "update archival_passages set embedding = '%s' where id = '%s'" % (vector(4096, 1), entity("passage", 23)))
    query(database, "update messages set sequence_id = sequence_id + 1000 where id = (select min(id) from messages)")
    query(database, "update agents set created_at = now() + interval '1 day' where id = '%s'" % AGENT)
    found = answers(database, folder)
    assert {name: check["examples"] for name, check in found.items()} == {
        "queries.agents": ["agents"], "queries.messages": [AGENT], "queries.passages": ["%s nearest to %s" % (ARCHIVE, PASSAGE)],
    }  # fmt: skip
    failed = run_module("letta_validate", database, database=database.dbname, set_dir=folder)
    assert failed["failure_class"] == "verify_failed"
    assert "queries.passages" in failed["msg"]


def test_a_table_that_a_migration_moved_is_not_compared_and_a_set_without_queries_says_so(taken):
    database, _folder = taken
    old = [{"query": "nearest", "table": "agent_passages", "container": AGENT, "like": PASSAGE, "ids": [PASSAGE]}]
    found = {finding.id: finding for finding in validate_database(database, queries=old)}
    assert found["queries.passages"].detail == "0 of 1 recorded answers are the same; the table of the others is gone since, by a migration"
    assert found["queries.agents"].detail == "not recorded: there was nothing to ask for"
    assert "no set was named" in {finding.id: finding for finding in validate_database(database)}["queries.agents"].detail


def test_equal_distances_may_change_places_and_nothing_else_may():
    answer = [("a", 0.0), ("b", 0.2), ("c", 0.2 + 1e-9), ("d", 0.3)]
    assert queries.same_neighbours(["a", "b", "c", "d"], answer)
    assert queries.same_neighbours(["a", "c", "b", "d"], answer)
    assert queries.same_neighbours(["a", "b", "c", "e"], answer)
    assert not queries.same_neighbours(["b", "a", "c", "d"], answer)
    assert not queries.same_neighbours(["a", "b", "x", "d"], answer)
    assert not queries.same_neighbours(["a", "b", "c"], answer)
    assert queries.same_neighbours(["a", "n"], [("a", 0.0), ("n", float("nan"))])
    assert queries.same_neighbours([], [])


def test_no_password_is_in_the_arguments_of_pg_amcheck(pg, sound_database, monkeypatch):
    superuser(pg, sound_database, "create extension amcheck")
    seen = []
    run = room.run_tool
    monkeypatch.setattr(room, "run_tool", lambda argv, **options: seen.append(argv) or run(argv, **options))
    admin = pg.server(dbname=sound_database.dbname)
    assert amcheck(admin).status == "pass"
    assert seen
    assert admin.password not in " ".join(str(part) for part in seen[0])
