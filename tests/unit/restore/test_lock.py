"""One holder per target: whoever comes second is refused with the first one's name, and only a proven death frees the lock."""
from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import lock
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import CLOSED, OPEN, Journal
from tests.lab import ROOT

TARGET = "7123/letta"
# Waits for a start signal, then tries to take the lock and says who won; stays alive until its input closes.
RACER = """
import sys
sys.path.insert(0, %r)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import lock
me = processes.identity()
for line in sys.stdin:
    root, run_id = line.split()
    try:
        lock.acquire(root, "t", run_id, me, "restore")
        print("won", flush=True)
    except RecoveryError as exc:
        print(exc.failure_class, flush=True)
    except BaseException as exc:
        print(repr(exc), flush=True)
""" % str(ROOT / "playbooks" / "collections")


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "runs")


@pytest.fixture
def other_process():
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        yield processes.identity(process.pid)
        process.stdin.close()


def dead_process():
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        who = processes.identity(process.pid)
        process.stdin.close()
        process.wait()
    return who


def refused(root, controller, **options):
    with pytest.raises(RecoveryError) as caught:
        lock.acquire(root, TARGET, "r-22222222", controller, "restore-full.yml", **options)
    assert caught.value.failure_class == "locked"
    return caught.value


def test_the_second_is_refused_with_the_first_ones_name(root, other_process):
    lock.acquire(root, TARGET, "r-11111111", other_process, "rollback.yml")
    error = refused(root, processes.identity())
    for part in (TARGET, "rollback.yml", "r-11111111", str(other_process["pid"]), other_process["host"]):
        assert part in error.message
    assert error.details["holder"]["run_id"] == "r-11111111"
    assert [name for name in os.listdir(root) if name.startswith("lock-")] == [os.path.basename(lock.lock_path(root, TARGET))]


def test_another_target_is_free(root, other_process):
    lock.acquire(root, TARGET, "r-11111111", other_process, "restore-full.yml")
    assert lock.acquire(root, TARGET + "2", "r-22222222", processes.identity(), "restore-full.yml") is None


def test_a_released_lock_is_free_and_only_its_holder_can_release_it(root, other_process):
    lock.acquire(root, TARGET, "r-11111111", other_process, "restore-full.yml")
    lock.release(root, TARGET, "r-22222222")
    assert lock.read_lock(root, TARGET)["run_id"] == "r-11111111"
    lock.release(root, TARGET, "r-11111111")
    assert lock.read_lock(root, TARGET) is None
    lock.release(root, TARGET, "r-11111111")


def test_a_dead_holder_is_passed_over_and_named(root):
    lock.acquire(root, TARGET, "r-11111111", dead_process(), "restore-full.yml")
    dead = lock.acquire(root, TARGET, "r-22222222", processes.identity(), "restore-full.yml")
    assert dead["run_id"] == "r-11111111"
    assert lock.read_lock(root, TARGET)["run_id"] == "r-22222222"


@pytest.mark.fault(22, "recycled")
def test_a_recycled_pid_with_another_start_time_is_dead(root, other_process):
    lock.acquire(root, TARGET, "r-11111111", dict(other_process, started=other_process["started"] - 5), "restore-full.yml")
    assert lock.acquire(root, TARGET, "r-22222222", processes.identity(), "restore-full.yml")["run_id"] == "r-11111111"


@pytest.mark.fault(22, "elsewhere")
@pytest.mark.parametrize(
    "elsewhere", [{"boot": "another", "machine": "another", "host": "far"}, {"pidns": "pid:[1]"}, {"boot": "another", "machine": ""}]
)
def test_a_holder_that_cannot_be_seen_from_here_is_not_taken_for_dead(root, elsewhere):
    lock.acquire(root, TARGET, "r-11111111", dict(dead_process(), **elsewhere), "restore-full.yml")
    error = refused(root, processes.identity())
    token = lock.read_lock(root, TARGET)["token"]
    assert "letta_break_lock=%s" % token in error.next_step
    refused(root, processes.identity(), proven_dead="r-11111111@2020-01-01T00:00:00.000Z")
    dead = lock.acquire(root, TARGET, "r-22222222", processes.identity(), "restore-full.yml", proven_dead=token)
    assert dead["token"] == token


def test_a_token_that_was_used_frees_no_later_lock(root, other_process):
    lock.acquire(root, TARGET, "r-11111111", dict(dead_process(), pidns="pid:[1]"), "restore-full.yml")
    token = lock.read_lock(root, TARGET)["token"]
    lock.acquire(root, TARGET, "r-33333333", other_process, "restore-full.yml", proven_dead=token)
    refused(root, processes.identity(), proven_dead=token)


@pytest.mark.fault(22, "dead")
def test_a_reboot_of_the_same_machine_proves_death(root):
    here = processes.identity()
    machine = here["machine"] or "a machine"
    who = dict(here, boot="an earlier boot", machine=machine)
    assert processes.state_of(who) == (processes.DEAD if here["machine"] else processes.UNKNOWN)


def test_an_unreadable_lock_is_not_taken_for_free(root):
    os.makedirs(root)
    with open(lock.lock_path(root, TARGET), "w", encoding="ascii") as stream:
        stream.write("{")
    error = refused(root, processes.identity())
    token = error.next_step.rpartition("letta_break_lock=")[2]
    assert lock.acquire(root, TARGET, "r-22222222", processes.identity(), "restore-full.yml", proven_dead=token)["run_id"] == "unknown"


def test_the_same_process_may_come_again(root):
    me = processes.identity()
    lock.acquire(root, TARGET, "r-11111111", me, "restore-full.yml")
    lock.acquire(root, TARGET, "r-22222222", me, "restore-full.yml")
    assert lock.read_lock(root, TARGET)["run_id"] == "r-22222222"


@pytest.mark.parametrize("before", ["free", "dead holder"])
def test_of_racing_processes_exactly_one_wins(tmp_path, before):
    dead = dead_process()
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _number in range(4)
    ]
    try:
        for number in range(150):
            root = str(tmp_path / ("runs%d" % number))
            if before == "dead holder":
                lock.acquire(root, "t", "r-00000000", dead, "restore")
            for index, racer in enumerate(racers):
                racer.stdin.write("%s r-%08d\n" % (root, index))
            for racer in racers:
                racer.stdin.flush()
            results = [racer.stdout.readline().strip() for racer in racers]
            assert sorted(results) == ["locked"] * 3 + ["won"], (number, results)
            assert lock.read_lock(root, "t")["run_id"] == "r-%08d" % results.index("won")
    finally:
        for racer in racers:
            racer.stdin.close()
            racer.wait(10)
            racer.stdout.close()


def test_a_lock_that_replaced_a_dead_one_is_not_away_for_an_instant(root, other_process):
    """Who judged the earlier holder dead comes late: the new holder's lock must stay where everybody looks for it."""
    lock.acquire(root, TARGET, "r-11111111", dead_process(), "restore-full.yml")
    dead = lock.read_lock(root, TARGET)
    lock.acquire(root, TARGET, "r-22222222", other_process, "restore-full.yml")
    path, away, stop = lock.lock_path(root, TARGET), [], threading.Event()

    def watch():
        while not stop.is_set():
            if not os.path.exists(path):
                away.append(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _round in range(1000):
        lock._remove_if_still(root, TARGET, dead)
    stop.set()
    watcher.join()
    assert away == []
    assert lock.read_lock(root, TARGET)["run_id"] == "r-22222222"


def test_whoever_lost_its_lock_in_a_long_fetch_goes_no_further(root, other_process):
    lock.acquire(root, TARGET, "r-1", dead_process(), "restore")
    lock.check_held(root, TARGET, "r-1")
    lock.acquire(root, TARGET, "r-2", other_process, "restore")
    with pytest.raises(RecoveryError) as caught:
        lock.check_held(root, TARGET, "r-1")
    assert (caught.value.failure_class, "r-2" in caught.value.message) == ("locked", True)


def test_what_a_killed_process_left_of_a_lock_it_wrote_goes_with_the_next_one(root):
    lock.acquire(root, TARGET, "r-11111111", processes.identity(), "restore-full.yml")
    lock.release(root, TARGET, "r-11111111")
    path = lock.lock_path(root, TARGET)
    for name in (path + ".r-11111111", path + ".r-11111111.tmp-4711"):
        with open(name, "w", encoding="ascii"):
            pass
    lock.acquire(root, TARGET, "r-22222222", processes.identity(), "restore-full.yml")
    assert sorted(os.listdir(root)) == [".removing", os.path.basename(path)]


@pytest.mark.parametrize("born", [False, True])
def test_the_folder_of_a_run_that_died_before_it_had_a_journal_goes_with_its_lock(root, born):
    lock.acquire(root, TARGET, "r-11111111", dead_process(), "restore-partial.yml")
    os.makedirs(os.path.join(root, "r-11111111", "slice"))
    if born:
        Journal.create(root, "r-11111111", target=TARGET)
    lock.acquire(root, TARGET, "r-22222222", processes.identity(), "restore-partial.yml")
    assert os.path.exists(os.path.join(root, "r-11111111")) is born


def test_a_module_that_outlived_its_controller_and_its_lock_closes_the_journal_that_nobody_saw(root, other_process):
    lock.acquire(root, TARGET, "r-11111111", dead_process(), "restore-full.yml")
    journal = Journal.create(root, "r-11111111", target=TARGET)
    lock.check_begun(root, journal, CLOSED)
    assert Journal.load(journal.run_dir).data["status"] == OPEN
    lock.acquire(root, TARGET, "r-22222222", other_process, "restore-full.yml")
    with pytest.raises(RecoveryError) as caught:
        lock.check_begun(root, journal, CLOSED)
    assert caught.value.failure_class == "locked"
    assert Journal.load(journal.run_dir).data["status"] == CLOSED
