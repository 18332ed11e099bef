"""What plan, journal and checks say about Redis: never more than was done, and always what to type."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import redisnotes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import NoJournal

DONE = {
    "dropped": 3, "kept": 41, "client_id": 7, "seconds": 0.01,
    "classes": {"lock": {"dropped": 2, "kept": 0}, "run_map": {"dropped": 1, "kept": 0}, "foreign": {"dropped": 0, "kept": 41}},
}  # fmt: skip
DOWN = {"failure_class": "preflight", "msg": "preflight: Redis 10.0.0.9:6379/0 does not answer (refused)\nNOW: x\nNEXT: y"}


def redis(**results):
    at = {"host": "10.0.0.9", "port": 6379, "database": 0, "at": "redis1", "user": True, "password": True, "tls": True, "ca_cert": False}
    return dict(at, **results)


def noted(*results):
    journal = NoJournal()
    for result in results:
        redisnotes.note(journal, redis(**result))
    return journal


def check(journal, name):
    return next(item for item in redisnotes.checks(journal) if item["id"] == name)


def test_without_redis_nothing_is_said():
    journal = NoJournal()
    redisnotes.note(journal, {})
    assert (redisnotes.planned({}), redisnotes.checks(journal)) == ((None, []), [])
    assert redisnotes.of_report(journal) == {"dropped": None, "kept": None, "later": ""}


def test_the_plan_names_redis_and_how_many_keys_would_go():
    step, warnings = redisnotes.planned(redis(look=DONE))
    assert step["detail"] == "drop Letta's keys in Redis 10.0.0.9:6379/0 (about 3, 41 others stay)"
    assert warnings == []


def test_a_redis_that_does_not_answer_is_a_warning_of_the_plan_and_nothing_is_counted():
    step, warnings = redisnotes.planned(redis(look=DOWN))
    assert step["detail"] == "drop Letta's keys in Redis 10.0.0.9:6379/0"
    assert warnings == ["Redis 10.0.0.9:6379/0 does not answer (refused); the restore does not wait for it"]


def test_what_was_dropped_is_a_pass_with_its_counts():
    journal = noted({"align": DONE})
    assert check(journal, "redis.aligned")["status"] == "pass"
    assert "3 keys of Letta dropped" in check(journal, "redis.aligned")["detail"]
    assert "2 lock, 1 run map" in check(journal, "redis.aligned")["detail"]
    report = redisnotes.of_report(journal)
    assert (report["dropped"], report["kept"]) == (3, 41)


@pytest.mark.parametrize("align", [DOWN, {"unreachable": True, "msg": "Failed to connect to the host via ssh"}, {}, {"skipped": True}])
def test_what_was_not_done_is_a_warning_with_the_line_to_type_later(align):
    found = check(noted({"align": align}), "redis.aligned")
    assert found["status"] == "warn"
    assert found["detail"].endswith(
        "ansible redis1 -m letta_ops.recovery.redis_align -a 'redis_host=10.0.0.9 redis_port=6379 redis_database=0"
        " redis_user={{ letta_redis_user }} redis_password={{ letta_redis_password }} redis_tls=true'"
    )


def test_a_run_that_goes_on_keeps_what_was_done_before_it_was_interrupted():
    journal = noted({"align": DONE}, {"align": {"skipped": True}})
    assert check(journal, "redis.aligned")["status"] == "pass"
    assert redisnotes.is_aligned(journal)
    again = noted({"align": DOWN}, {"align": DONE})
    assert check(again, "redis.aligned")["status"] == "pass"
    assert not redisnotes.is_aligned(noted({"align": DOWN}))


def test_a_server_that_is_not_proven_to_use_redis_is_a_warning_and_never_a_pass():
    proven, missing = ({"server": name, "proven": name == "letta1", "detail": "seen"} for name in ("letta1", "letta2"))
    assert check(noted({"align": DONE, "use": {"servers": [proven]}}), "redis.used")["status"] == "pass"
    found = check(noted({"align": DONE, "use": {"servers": [proven, missing]}}), "redis.used")
    assert (found["status"], found["count"], found["examples"]) == ("warn", 1, ["letta2"])
    assert "not proven" in found["detail"]
    assert check(noted({"align": DONE, "use": DOWN}), "redis.used")["status"] == "warn"


SAVED = {"path": "redis/dump.rdb", "bytes": 123, "server_version": "8.0"}
FILES = {"data": {"dir": "/var/lib/redis", "name": "dump.rdb", "parts": "", "version": "8.0", "keys": 41}}
STOPPED, LOADED = {"is": "stopped"}, {"keys": 7}
PLACED = {"path": "/var/lib/redis/dump.rdb", "before": "/var/lib/redis/dump.rdb.before-r-1"}


def test_what_redis_held_is_replaced_only_where_that_was_asked_for():
    assert redisnotes.files_to_place(redis(restore="none", files=FILES), SAVED) == ({}, [])
    assert redisnotes.files_to_place({}, SAVED) == ({}, [])
    files, warnings = redisnotes.files_to_place(redis(restore="full", files=FILES), SAVED)
    assert (files, warnings) == ({"path": "redis/dump.rdb", "bytes": 123, "data": FILES["data"]}, [])
    step, _warnings = redisnotes.planned(redis(look=DONE), files)
    assert "stop Redis 10.0.0.9:6379/0 for all that use it" in step["detail"] and "in place of its 41 keys" in step["detail"]


@pytest.mark.parametrize(
    ("saved", "files", "why"), [(None, FILES, "holds nothing of Redis"), (SAVED, DOWN, "does not answer"), (SAVED, {}, "not looked at")]
)
def test_where_it_cannot_be_replaced_the_plan_warns_and_nothing_is_placed(saved, files, why):
    found, (warning,) = redisnotes.files_to_place(redis(restore="full", files=files), saved)
    assert (found, why in warning) == ({}, True)


@pytest.mark.parametrize(
    ("results", "status", "words"),
    [
        ({"stopped": STOPPED, "placed": PLACED, "loaded": LOADED}, "pass", "started with the 7 keys of the set; what was there"),
        ({"stopped": DOWN, "placed": {"skipped": True}, "loaded": LOADED, "back": {"skipped": True}}, "warn", "it runs with what it held"),
        ({"stopped": STOPPED, "placed": DOWN, "loaded": LOADED}, "warn", "does not answer (refused); it runs with what it held before"),
        ({"stopped": STOPPED, "placed": PLACED, "loaded": DOWN, "back": LOADED}, "warn", "it runs with what it held before"),
        ({"stopped": STOPPED, "placed": PLACED, "loaded": DOWN, "back": DOWN}, "warn", "start it by hand"),
        ({"back": LOADED}, "pass", "runs again with what it held before the restore"),
        ({"back": DOWN}, "warn", "does not answer after"),
    ],
)
def test_the_check_says_what_redis_runs_with(results, status, words):
    found = check(noted(dict(results, align=DONE)), "redis.restored")
    assert (found["status"], words in found["detail"]) == (status, True), found["detail"]


def test_without_an_exchange_there_is_no_check_of_one_and_a_kept_file_is_known():
    assert [item["id"] for item in redisnotes.checks(noted({"align": DONE, "placed": {"skipped": True}}))] == ["redis.aligned"]
    assert redisnotes.is_placed(noted({"stopped": STOPPED, "placed": PLACED, "loaded": LOADED}))
    assert not redisnotes.is_placed(noted({"stopped": STOPPED, "placed": PLACED, "loaded": DOWN, "back": LOADED}))
