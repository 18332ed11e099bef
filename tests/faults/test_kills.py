"""A few kill points of each operation, so that ``make kills`` stays alive, and proof that it sees a loss."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import recovery
from tests.faults import engine_kit
from tests.faults.kills.__main__ import SEED, main, tell_loss
from tests.faults.kills.migration import Migration
from tests.faults.kills.points import OPERATIONS, draw, steps
from tests.faults.kills.runner import Runner
from tests.faults.kills.stand import Stand

pytestmark = pytest.mark.slow


def first_of_each():
    """Return a point of two in three pairs of an operation and a victim: every operation and every victim is among them."""
    pairs = [(name, victim) for name, kind in OPERATIONS.items() for victim in kind.victims if name != Migration.name]
    found: dict = {}
    for point in (draw(SEED, number) for number in range(3000)):
        found.setdefault((point.operation, point.victim), point)
    return [found[pair] for place, pair in enumerate(pairs) if place % 3 != 2]


@pytest.fixture(scope="module")
def runner():
    with Stand() as stand:
        yield Runner(stand, SEED)


def cases():
    for point in first_of_each():
        marks = [pytest.mark.fault(19, point.victim), pytest.mark.fault(20, "database")]
        yield pytest.param(point, id="%s-%s" % (point.operation.replace(" ", "_"), point.victim), marks=marks)


@pytest.mark.parametrize("point", list(cases()))
def test_nothing_is_lost_at_a_kill_point(runner, point):
    assert runner.point(point.number).problems == []


def at(operation, victim, step):
    """Return the number of the point of this step."""
    return next(number for number in range(len(steps())) if _is(draw(SEED, number), operation, victim, step))


def _is(point, *wanted):
    return (point.operation, point.victim, point.step) == wanted


@pytest.mark.fault(19, "controller")
def test_background_turns_come_back_although_a_module_outlives_its_controller_in_phase_reconcile(runner):
    """The module goes on while the next run begins: what it notes of the groups that it turns off must not be lost."""
    number = at("restore with reconcile", "controller", "reconcile.apply:begun")
    assert draw(SEED, number).at_once
    assert runner.point(number).problems == []


def test_a_write_to_live_before_the_kill_is_a_loss_with_the_line_that_repeats_it(runner, monkeypatch, capsys):
    whole = engine_kit.stage.stage_set

    def careless(server, manifest, options, journal):
        runner.stand.pg.execute("DELETE FROM letta.messages WHERE role = 'user'", "letta_live")
        return whole(server, manifest, options, journal)

    monkeypatch.setattr(engine_kit.stage, "stage_set", careless)
    number = at("restore", "group", "stage.load:begun")
    verdict = runner.point(number)
    assert any(text.startswith("after the kill: the old live changed: letta.messages") for text in verdict.problems), verdict.problems
    tell_loss(verdict, SEED)
    told = capsys.readouterr().out
    assert "LOSS   point %d of seed %d: restore, group killed at stage.load:begun" % (number, SEED) in told
    assert "AGAIN  make kills ARGS='--seed %d --point %d'" % (SEED, number) in told


def test_a_database_that_nobody_drops_is_a_loss(runner, monkeypatch):
    monkeypatch.setattr(recovery, "drop_side", lambda server, journal: None)
    problems = runner.point(at("restore", "group", "stage.load:begun")).problems
    assert [text for text in problems if text.startswith("left over: database letta_live__restore_")], problems


def test_the_same_seed_and_number_are_the_same_point_and_steps_come_first():
    assert [draw(7, number) for number in range(50)] == [draw(7, number) for number in range(50)]
    assert {(point.operation, point.victim, point.step) for point in (draw(7, number) for number in range(len(steps())))} == set(steps())
    assert draw(7, len(steps())).step == ""
    again = draw(7, len(steps()), attempt=1)
    assert (again.operation, again.victim) == (draw(7, len(steps())).operation, draw(7, len(steps())).victim)
    assert again.share != draw(7, len(steps())).share


def test_a_run_with_nothing_left_to_do_tells_what_was_done(tmp_path, capsys):
    assert main(["--count", "0", "--record", str(tmp_path)]) == 0
    assert "0 points in all" in capsys.readouterr().out
