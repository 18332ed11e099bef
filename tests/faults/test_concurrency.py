"""Two at once: one goes on, the other is told who holds the target. A dead holder is proven dead, never guessed."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.progress import Progress
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import endings, lock, runs
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.target import inspect_target
from tests.faults import kit
from tests.lab import ROOT, places

RACERS = 6

# One process of a race: waits for the starting file, begins a run, tells how it went, stays alive until it may go.
RACER = """
import json, os, sys, time
sys.path[:0] = [%(root)r, %(collections)r]
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import phases, runs
told = json.load(open(sys.argv[1]))
server = Server(**told["server"])
options = runs.RunOptions(phases=phases.PHASES, controller=processes.identity(), **told["options"])
print("ready", flush=True)
while not os.path.exists(told["start"]):
    time.sleep(0.001)
try:
    begun = runs.begin(server, options)
    print(json.dumps({"run_id": begun["run_id"], "pid": os.getpid()}), flush=True)
except RecoveryError as error:
    print(json.dumps(dict(error.as_dict(), pid=os.getpid())), flush=True)
sys.stdin.read()
"""


def race(world, number=RACERS):
    """Let processes begin a restore of the same target at the same instant; returns what each of them told, all still alive then."""
    admin = world.admin
    start, told = world.folder / "start", world.folder / "told.json"
    server = {name: getattr(admin, name) for name in ("host", "port", "user", "password", "dbname", "sslmode")}
    options = {"root": world.root, "host": "db1", "database": world.database, "owner": world.owner, "bin_dir": world.bin_dir}
    told.write_text(json.dumps({"server": server, "options": options, "start": str(start)}))
    code = RACER % {"root": str(ROOT), "collections": str(ROOT / "playbooks" / "collections")}
    racers = [
        subprocess.Popen([sys.executable, "-c", code, str(told)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _number in range(number)
    ]
    try:
        assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * number
        start.touch()
        return [json.loads(racer.stdout.readline()) for racer in racers]
    finally:
        for racer in racers:
            racer.stdin.close()
            racer.wait(20)
            racer.stdout.close()


def key_of(world):
    return runs.target_key(world.admin, inspect_target(world.admin, world.database, world.owner), world.database)


def runs_root(world):
    return os.path.join(world.root, runs.RUNS)


def hold(world, controller, run_id="r-00000001"):
    """Take the target's lock in somebody's name; returns the holder's record."""
    lock.acquire(runs_root(world), key_of(world), run_id, controller, "restore-full.yml")
    return lock.read_lock(runs_root(world), key_of(world))


@contextmanager
def another_process():
    """A process that lives as long as the block."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()


def dead_process():
    """Return the identity of a process that ended."""
    with another_process() as process:
        return processes.identity(process.pid)


@pytest.mark.fault(22, "restores")
@pytest.mark.slow
def test_of_many_that_begin_at_once_one_wins_and_the_others_learn_who(world):
    before = world.fingerprint()
    told = race(world)
    winners = [item for item in told if "run_id" in item]
    losers = [item for item in told if "run_id" not in item]
    assert len(winners) == 1, told
    assert {item["failure_class"] for item in losers} == {"locked"}
    for item in losers:
        assert item["details"]["holder"]["controller"]["pid"] == winners[0]["pid"]
        assert "process %d on %s" % (winners[0]["pid"], processes.identity()["host"]) in item["message"]
        assert item["details"]["holder"]["run_id"] == winners[0]["run_id"]
    assert [item.run_id for item in world.journals()] == [winners[0]["run_id"]]
    assert world.fingerprint() == before


@pytest.mark.fault(22, "dead")
@pytest.mark.slow
def test_of_many_that_find_a_dead_holder_one_wins(world):
    hold(world, dead_process())
    told = race(world)
    assert sorted(item.get("failure_class", "won") for item in told) == ["locked"] * (RACERS - 1) + ["won"], told
    leftovers = [path.name for path in Path(runs_root(world)).iterdir() if path.name.startswith("lock-")]
    assert len(leftovers) == 1, leftovers


@pytest.mark.fault(22, "dead")
def test_the_lock_of_a_dead_process_is_taken_over_and_its_run_put_right(world):
    begun = runs.begin(world.admin, world.run_options(controller=dead_process()))
    again = runs.begin(world.admin, world.run_options())
    assert again["run_id"] != begun["run_id"]
    assert Journal.load(begun["run_dir"]).data["status"] == "closed"
    assert lock.read_lock(runs_root(world), key_of(world))["run_id"] == again["run_id"]
    endings.fail(world.admin, world.root, Journal.load(again["run_dir"]), {"failure_class": "cancelled", "message": "enough"})
    assert world.leftovers() == []


@pytest.mark.fault(22, "recycled")
def test_a_process_id_that_somebody_else_has_now_is_no_proof_of_life(world):
    with another_process() as process:
        holder = processes.identity(process.pid)
        hold(world, dict(holder, started=holder["started"] - 1))
        assert runs.begin(world.admin, world.run_options())["run_id"]


@pytest.mark.fault(22, "restores")
def test_a_living_holder_is_named_and_stays(world):
    with another_process() as process:
        held = hold(world, processes.identity(process.pid))
        with pytest.raises(RecoveryError) as refused:
            runs.begin(world.admin, world.run_options())
        assert refused.value.failure_class == "locked"
        assert "process %d on %s" % (process.pid, held["controller"]["host"]) in refused.value.message
        assert refused.value.details["holder"] == held
        with pytest.raises(RecoveryError) as refused:
            runs.begin(world.admin, world.run_options(check=True))
        assert refused.value.failure_class == "locked"
        assert lock.read_lock(runs_root(world), key_of(world)) == held


@pytest.mark.fault(22, "elsewhere")
@pytest.mark.parametrize("where", [{"boot": "another", "machine": "another"}, {"pidns": "pid:[1]"}])
def test_a_holder_that_cannot_be_looked_at_from_here_stays_until_somebody_vouches_for_its_death(world, where):
    held = hold(world, dict(dead_process(), **where))
    with pytest.raises(RecoveryError) as refused:
        runs.begin(world.admin, world.run_options())
    assert refused.value.failure_class == "locked"
    assert "letta_break_lock=%s" % held["token"] in refused.value.next_step
    with pytest.raises(RecoveryError):
        runs.begin(world.admin, world.run_options(proven_dead="r-00000001@another time"))
    assert runs.begin(world.admin, world.run_options(proven_dead=held["token"]))["run_id"]


@pytest.mark.fault(22, "dead")
@pytest.mark.fault(19, "reboot")
def test_a_machine_that_was_restarted_since_holds_no_lock(world):
    hold(world, dict(dead_process(), boot="before the restart"))
    if not processes.identity()["machine"]:
        pytest.skip("this machine has no /etc/machine-id, so its restarts cannot be told from another machine")
    assert runs.begin(world.admin, world.run_options())["run_id"]


@pytest.mark.fault(22, "restores")
@pytest.mark.slow
def test_the_second_of_two_playbooks_is_refused_with_the_pid_and_host_of_the_first(world):
    with kit.session(world):  # the first one waits for this session to go
        first = world.start_play("restore-full.yml", "-e", "letta_session_timeout=120")
        try:
            assert places.wait_for(lambda: any(item.state("stage.prove") == "done" for item in world.journals()), 90), first.poll()
            before, there = world.fingerprint(), world.databases()
            second = world.play("restore-full.yml").refused("locked")
            assert "process %d on %s" % (first.pid, processes.identity()["host"]) in second.report["message"]
            assert "nothing stopped" in second.report["now"]
            assert "letta_break_lock=" in second.report["next_step"]
            assert (world.fingerprint(), world.databases()) == (before, there)
            assert first.poll() is None
        except BaseException:
            first.kill()
            raise
    output, _nothing = first.communicate(timeout=120)
    assert first.returncode == 0, output[-3000:]
    assert world.leftovers(world.kept_names()) == []


class _Waits(Progress):
    """A backup's progress that stops in the middle of its snapshot until it may go on."""

    def __init__(self):
        super().__init__(None)
        self.inside, self.go_on = threading.Event(), threading.Event()

    def start(self, phase, *args, **options):
        super().start(phase, *args, **options)
        if phase == "dump":
            self.inside.set()
            self.go_on.wait(120)


@pytest.mark.fault(22, "backup")
@pytest.mark.slow
def test_a_restore_while_a_backup_runs_gives_up_before_any_rename_and_both_end_well(world):
    from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take

    before, waits, made = world.fingerprint(), _Waits(), []
    options = take.BackupOptions(server=world.live, root=world.root, bin_dir=world.bin_dir, jobs=1)
    backup = threading.Thread(target=lambda: made.append(take.take_backup(options, waits)))
    backup.start()
    try:
        assert waits.inside.wait(60)
        chosen = kit.only_set(world).name
        played = world.play("restore-full.yml", "-e", "letta_session_timeout=1").refused("swap_rolled_back")
        assert "letta_ops_backup" in played.report["message"]
        assert played.report["backup"]["id"] == chosen, "a set in the making is none"
        assert world.fingerprint() == before
    finally:
        waits.go_on.set()
        backup.join(60)
    assert [item.status for item in manifests.verify_files(os.path.join(world.root, made[0]["id"]), made[0])] == ["pass"]
    assert {name: (row["rows"], row["digest"]) for name, row in made[0]["tables"].items()} == before["tables"]
    world.play("restore-full.yml", "-e", "letta_backup_id=%s" % chosen).ok()
    assert kit.latest_report(world)["status"] == "succeeded"
    assert world.leftovers(world.kept_names()) == []
