"""``kill -9`` in a partial restore: live is as before or as after, PostgreSQL tells which, and the next run ends well."""
from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import CRASH_VARIABLE, PARTIAL, list_runs
from tests.integration.partial_engine_kit import AGENTS, differing

pytestmark = pytest.mark.slow
FORK = multiprocessing.get_context("fork")
AGENT = AGENTS["support"]


def child(part, crash_at=""):
    """Start a whole partial restore in a process of its own."""

    def work():
        if crash_at:
            os.environ[CRASH_VARIABLE] = crash_at
        part.restore(agents=[AGENT])

    process = FORK.Process(target=work)
    process.start()
    return process


def is_old_or_new(part, old, new):
    """Return which of both live is; fails when it is neither."""
    found = part.contents()
    assert differing(old, found) == [] or differing(new, found) == []
    return "old" if differing(old, found) == [] else "new"


def ends_well(part, new):
    """Run it again: live is as after, and nothing is left of the killed run."""
    part.restore(agents=[AGENT])
    assert differing(new, part.contents()) == []
    folder = os.path.join(part.root, ".runs")
    assert [name for name in os.listdir(folder) if name.startswith("lock-")] == []
    runs = list_runs(folder, PARTIAL)[0]
    assert {item.data["status"] for item in runs} <= {"succeeded", "failed"}
    kept = [item.run_id for item in runs if os.path.exists(os.path.join(item.run_dir, "slice"))]
    assert kept == [], "no rows of a run that is over lie about"


@pytest.mark.fault(19, "module")
@pytest.mark.parametrize(("crash_at", "live"), [("apply:begun", "old"), ("apply:done", "new")])
def test_killed_at_a_step_of_the_journal(part, crash_at, live):
    new = part.contents()
    part.delete_agent(AGENT)
    old = part.contents()
    process = child(part, crash_at)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert is_old_or_new(part, old, new) == live
    ends_well(part, new)
    killed = list_runs(os.path.join(part.root, ".runs"), PARTIAL)[0][0]
    assert killed.data["status"] == {"old": "failed", "new": "succeeded"}[live]
    if live == "new":  # the run that nobody could end is known by the next one, and can be taken back
        part.undo()
        assert differing(old, part.contents()) == []


@pytest.mark.fault(19, "module")
@pytest.mark.parametrize("seed", range(6))
def test_killed_at_a_random_moment(part, seed):
    new = part.contents()
    part.delete_agent(AGENT)
    old = part.contents()
    process = child(part)
    time.sleep(random.Random(seed).uniform(0.05, 2.0))
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    is_old_or_new(part, old, new)
    ends_well(part, new)


@pytest.mark.fault(19, "postgres")
def test_killed_postgres_leaves_live_as_before_or_as_after(part):
    new = part.contents()
    part.delete_agent(AGENT)
    old = part.contents()
    begun = part.plan(agents=[AGENT])
    killer = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'letta_ops partial%'"

    def kill_soon():
        while not any(row[0] for row in part.sql(killer)):
            time.sleep(0.02)

    process = FORK.Process(target=kill_soon)
    process.start()
    with pytest.raises(RecoveryError, match=r"lost in mid-work|cannot connect"):
        part.carry_out(begun)
    process.join(30)
    part.fail(begun)
    is_old_or_new(part, old, new)
    ends_well(part, new)
