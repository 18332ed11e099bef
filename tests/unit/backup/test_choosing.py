"""Which set is taken when stores differ, sets are damaged, files cannot be read, clocks and clusters disagree."""
from __future__ import annotations

import json
import os
import shutil
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import catalogue, choosing, loss, stores, verify
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import assess

from .conftest import NOW, Store

HOUR = timedelta(hours=1)


def check(info):
    return assess._reason_against(info, choosing.SILENT, {})


def cost(passed, taken):
    if passed is None:
        return loss.make(taken.age_seconds, 7, 1, ["billing"], "live")
    return loss.between_manifests(manifests.load(passed.path), manifests.load(taken.path)) if passed.usable else None


def search(*roots, **options):
    request = choosing.Request(**dict(dict(now=NOW, check=check, loss=cost), **options))
    return choosing.search([stores.FolderStore(str(root)) for root in roots], request)


def refusal(*roots, **options):
    with pytest.raises(RecoveryError) as caught:
        search(*roots, **options)
    return caught.value


def rewrite(sets, set_id, **changes):
    """Change a manifest as whoever took the set would have written it."""
    manifest = {key: value for key, value in manifests.load(sets.path(set_id)).items() if key != "checksum"}
    with open(sets.path(set_id, "manifest.json"), "w", encoding="utf-8") as stream:
        json.dump(manifests.seal(dict(manifest, **changes)), stream)


@pytest.fixture
def second(tmp_path):
    return Store(tmp_path / "second")


def both(sets, second, set_id):
    shutil.copytree(sets.path(set_id), second.path(set_id))


def make_unreadable(sets, set_id):
    """Let reading the one listed file end in EIO, as the kernel answers for the first byte of a process in /proc/self/mem."""
    (entry, *_rest) = manifests.load(sets.path(set_id))["files"]
    shutil.rmtree(sets.path(set_id, "database"))
    os.symlink("/proc/self", sets.path(set_id, "database"))
    rewrite(sets, set_id, files=[dict(entry, path="database/mem")])


@pytest.mark.fault(1, "next")
def test_a_damaged_copy_is_passed_over_for_the_same_set_in_the_next_store(sets, second):
    sets.add(2 * HOUR)
    new = sets.add(HOUR)
    both(sets, second, new)
    sets.flip(new, "database/1.dat", 0)
    choice = search(sets.root, second.root)
    assert (choice.info.id, choice.info.store, choice.rejected) == (new, second.root, [])
    assert choice.warnings == [
        "%s comes from %s: its copy in %s cannot be used: database/1.dat does not match its checksum (byte range 0-1600)"
        % (new, second.root, sets.root)
    ]


@pytest.mark.fault(5, "eio")
def test_a_copy_that_ends_in_an_input_output_error_is_not_called_damaged_and_nothing_is_noted_against_it(sets, second):
    new = sets.add(HOUR)
    both(sets, second, new)
    make_unreadable(sets, new)
    choice = search(sets.root, second.root)
    assert (choice.info.id, choice.info.store) == (new, second.root)
    assert "database/mem cannot be read (Input/output error)" in choice.warnings[0]
    error = refusal(sets.root)
    assert error.failure_class == "preflight"
    assert error.details["rejected"][0]["reason"] == "database/mem cannot be read (Input/output error)"
    info = catalogue.read_set(sets.root, new, NOW)
    assert verify.verify_and_note(sets.root, info, "checksums")[1] == "error"
    assert catalogue.read_set(sets.root, new, NOW).good
    assert not os.path.exists(sets.path(".catalog"))


@pytest.mark.fault(5, "eio")
def test_a_manifest_that_cannot_be_read_is_not_called_damaged(sets, second):
    new = sets.add(HOUR)
    both(sets, second, new)
    os.unlink(sets.path(new, "manifest.json"))
    os.symlink("/proc/self/mem", sets.path(new, "manifest.json"))
    assert search(sets.root, second.root).info.store == second.root
    assert (refusal(sets.root).failure_class, verify.verify_and_note(sets.root, catalogue.read_set(sets.root, new, NOW), "full")[1]) == (
        "preflight", "error")  # fmt: skip


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir, lambda path: os.symlink("/etc/passwd", path)], ids=["pipe", "folder", "link"])
def test_something_else_in_the_place_of_a_file_is_damage_and_holds_nobody_up(sets, put):
    older, newer = sets.add(2 * HOUR), sets.add(HOUR)
    os.unlink(sets.path(newer, "database", "1.dat"))
    put(sets.path(newer, "database", "1.dat"))
    assert search(sets.root).info.id == older
    assert check(catalogue.read_set(sets.root, newer, NOW)).damaged


def test_a_set_that_is_truly_bad_fails_verification_and_is_noted_as_such(sets):
    new = sets.add(HOUR)
    sets.flip(new, "database/1.dat", 0)
    assert verify.verify_and_note(sets.root, catalogue.read_set(sets.root, new, NOW), "checksums")[1] == "fail"
    assert catalogue.read_set(sets.root, new, NOW).verified_status == "fail"


def test_a_store_that_is_down_is_left_out_with_a_warning_and_all_of_them_down_is_a_table(sets, tmp_path):
    new = sets.add(HOUR)
    gone, other = str(tmp_path / "gone"), str(tmp_path / "file")
    choice = search(gone, sets.root)
    assert choice.info.id == new
    assert choice.warnings[0].startswith("store %s is left out, a newer set may lie there: the backup store" % gone)
    error = refusal(gone, other)
    assert error.failure_class == "preflight"
    assert all(name in error.message for name in (gone, other))


@pytest.mark.fault(6)
def test_every_candidate_bad_is_a_table_of_reasons(sets):
    newest, middle, oldest = sets.add(HOUR), sets.add(2 * HOUR), sets.add(3 * HOUR)
    sets.flip(newest, "database/1.dat", 5)
    os.unlink(sets.path(middle, "database", "toc.dat"))
    os.truncate(sets.path(oldest, "manifest.json"), 40)
    error = refusal(sets.root)
    assert error.failure_class == "no_usable_backup"
    assert [(entry["id"], entry["reason"]) for entry in error.details["rejected"]] == [
        (newest, "database/1.dat does not match its checksum (byte range 0-1600)"),
        (middle, "database/toc.dat is listed in the manifest but absent"),
        (oldest, "manifest.json is cut or is no JSON"),
    ]
    assert all(entry["reason"] in error.message for entry in error.details["rejected"])


@pytest.mark.parametrize(("wanted", "fallback", "outcome"), [
    ("latest", "latest", "older"), ("latest", "always", "older"), ("latest", "never", "backup_corrupt"),
    ("id", "latest", "backup_corrupt"), ("id", "always", "older"), ("id", "never", "backup_corrupt"),
])  # fmt: skip
def test_whether_the_next_set_is_taken_by_itself_is_what_was_asked_for(sets, wanted, fallback, outcome):
    older, newer = sets.add(26 * HOUR), sets.add(2 * HOUR)
    agents = {"agent-1": {"name": "a"}, "agent-2": {"name": "intake"}}
    rewrite(sets, newer, agents=agents, tables={"public.messages": {"rows": 4000, "digest": "md5sum:0"}})
    rewrite(sets, older, tables={"public.messages": {"rows": 98, "digest": "md5sum:0"}})
    sets.flip(newer, "database/1.dat", 3)
    wanted = newer if wanted == "id" else wanted
    if outcome == "older":
        choice = search(sets.root, wanted=wanted, fallback=fallback)
        assert (choice.info.id, choice.rejected[0]["id"]) == (older, newer)
        assert choice.rejected[0]["loss"]["text"] == "1 d more: 3 902 messages, 1 agent (intake)"
        return
    error = refusal(sets.root, wanted=wanted, fallback=fallback)
    assert error.failure_class == outcome
    assert error.next_step.startswith("ansible-playbook playbooks/restore-full.yml -e letta_backup_id=%s     (taken" % older)
    assert "loses 1 d more: 3 902 messages, 1 agent (intake)" in error.next_step


@pytest.mark.fault(7, "stop", "accepted")
@pytest.mark.parametrize("wanted", ["latest", "id"])
def test_the_age_limit_is_never_crossed_and_the_line_that_accepts_the_loss_is_printed(sets, wanted):
    worst, older, newer = sets.add(70 * HOUR), sets.add(60 * HOUR), sets.add(HOUR)
    sets.flip(newer, "database/1.dat", 3)
    sets.flip(older, "database/1.dat", 3)
    error = refusal(sets.root, wanted=newer if wanted == "id" else "latest", fallback="always", max_age="2d")
    assert error.failure_class == "no_usable_backup"
    reasons = [entry["reason"][:20] for entry in error.details["rejected"]]
    assert reasons == ["database/1.dat does ", "older than letta_bac", "older than letta_bac"]
    line = "ansible-playbook playbooks/restore-full.yml -e letta_backup_id=%s     (" % worst
    assert error.next_step.startswith(line), "the bad one is not offered"
    assert "loses 2 d 21 h more" in error.next_step
    assert search(sets.root, wanted=worst, max_age="2d").info.id == worst


@pytest.mark.fault(7, "stop")
def test_too_old_alone_is_measured_against_live(sets):
    sets.add(60 * HOUR)
    assert "loses 2 d 12 h more: 7 messages, 1 agent (billing)" in refusal(sets.root, max_age="2d").next_step


def test_an_asked_for_set_may_be_newer_than_the_one_offered_or_older(sets):
    old, new = sets.add(9 * HOUR), sets.add(HOUR)
    sets.flip(old, "database/1.dat", 3)
    assert "letta_backup_id=%s " % new in refusal(sets.root, wanted=old).next_step


@pytest.mark.fault(36, "skew", "future")
def test_sets_are_in_order_of_the_servers_time_whatever_the_clocks_say_and_the_future_is_warned_of(sets):
    older, future = sets.add(HOUR), sets.add(-3 * HOUR)
    os.utime(sets.path(older), (4e9, 4e9))
    choice = search(sets.root)
    assert choice.info.id == future
    assert "in the future here: a clock is wrong" in choice.warnings[0]
    sets.flip(future, "database/1.dat", 3)
    assert search(sets.root).info.id == older


@pytest.mark.fault(36, "dst")
def test_of_two_sets_in_the_hour_that_comes_twice_the_later_one_is_the_newer(sets, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")  # half past two twice in that night: 00:30 and 01:30 UTC
    time.tzset()
    try:
        first, second = [sets.add(NOW - datetime(2026, 10, 25, hour, 30, tzinfo=timezone.utc)) for hour in (0, 1)]
        choice = search(sets.root, max_age="400d")
        assert choice.info.id == second
        assert choice.info.age_seconds == (NOW - datetime(2026, 10, 25, 1, 30, tzinfo=timezone.utc)).total_seconds()
        sets.flip(second, "database/1.dat", 3)
        choice = search(sets.root)
        assert (choice.info.id, choice.rejected[0]["loss"]["seconds"]) == (first, 3600)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.fault(3, "cluster")
def test_a_set_of_another_cluster_is_not_taken_unasked_while_there_are_own_ones(sets):
    own, strange = sets.add(2 * HOUR), sets.add(HOUR)
    rewrite(sets, strange, postgresql={"system_identifier": "222", "dump_version": "18.6"})
    assert search(sets.root, cluster="111").info.id == strange, "after a disaster all sets are of another cluster"
    rewrite(sets, own, postgresql={"system_identifier": "111", "dump_version": "18.6"})
    choice = search(sets.root, cluster="111")
    assert choice.info.id == own
    assert choice.rejected[0]["reason"].startswith("taken from another PostgreSQL cluster (222)")
    assert search(sets.root, cluster="111", wanted=strange).info.id == strange


@pytest.mark.fault(3, "cluster")
def test_a_set_of_another_system_in_the_same_store_is_not_taken_unasked_while_there_are_own_ones(sets):
    own, strange = sets.add(2 * HOUR), sets.add(HOUR)
    rewrite(sets, strange, database=dict(manifests.load(sets.path(strange))["database"], name="letta_of_others"))
    mine = manifests.load(sets.path(own))["database"]["name"]
    choice = search(sets.root, database=mine)
    assert choice.info.id == own
    assert choice.rejected[0]["reason"] == "taken from another database (letta_of_others); ask for it by id if it is meant"
    assert search(sets.root, database=mine, wanted=strange).info.id == strange
    assert search(sets.root, database="a_new_name").info.id == strange, "a system under a new name has no own sets yet"
    sets.flip(own, "database/1.dat", 3)
    with pytest.raises(RecoveryError) as caught:
        search(sets.root, database=mine)
    assert caught.value.failure_class == "no_usable_backup"
    assert "letta_backup_id=%s" % strange in caught.value.next_step, "better than none, for whoever knows what it is"
    assert "from another database (letta_of_others)" in caught.value.next_step
    rewrite(sets, own, kind="safety")
    assert search(sets.root, database=mine).info.id == strange, "a safety copy is no set of its own"


@pytest.mark.fault(3, "missing", "cut", "edited", "label")
def test_each_fault_of_a_manifest_has_its_own_reason(sets):
    ids = [sets.add(number * HOUR) for number in range(1, 7)]
    os.unlink(sets.path(ids[0], "manifest.json"))
    os.truncate(sets.path(ids[1], "manifest.json"), 30)
    text = Path(sets.path(ids[2], "manifest.json")).read_text(encoding="utf-8")
    with open(sets.path(ids[2], "manifest.json"), "w", encoding="utf-8") as stream:
        stream.write(text.replace('"kind": "backup"', '"kind": "adopted"'))
    renamed = manifests.new_id(NOW - 3 * HOUR)
    os.rename(sets.path(ids[3]), sets.path(renamed))
    with open(sets.path(ids[4], "extra"), "w", encoding="utf-8") as stream:
        stream.write("not listed")
    choice = search(sets.root)
    assert choice.info.id == ids[4], "an unlisted file is ignored"
    assert sorted(entry["reason"][:33] for entry in choice.rejected) == sorted([
        "no manifest.json, so the set was ",
        "manifest.json is cut or is no JSO",
        "manifest.json was edited: its che",
        "the folder is named %s" % renamed[:13],
    ])
    assert len({entry["reason"] for entry in choice.rejected}) == 4


@pytest.mark.parametrize("name", ["relative/path", "rclone:nothing", "rclone:-P:x", "rclone:bucket\n:x", "s3://bucket"])
def test_what_is_no_store_is_refused(name, tmp_path):
    with pytest.raises(RecoveryError) as caught, stores.opened([name], str(tmp_path)):
        raise AssertionError("not reached")
    assert caught.value.failure_class == "usage"


@pytest.mark.parametrize("setting", ["pass=hush", "secret_access_key=hush", "key=hush", "sas_url=hush", "bearer_token=hush"])
def test_a_credential_in_the_name_of_a_store_is_refused_and_not_repeated(setting):
    with pytest.raises(RecoveryError) as caught:
        stores.checked(":s3,env_auth=true,%s:bucket/letta" % setting)
    assert (caught.value.failure_class, "hush" in str(caught.value.as_dict())) == ("usage", False)
    assert stores.checked(":sftp,host=db2,user=letta,key_file=/etc/key:sets").startswith(":sftp")
