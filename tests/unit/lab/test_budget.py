"""Which scenarios of the rehearsal on containers are run in the time there is; nothing is started here."""
from __future__ import annotations

import pytest

from tests.lab.staging import Missing, budget, rehearsal

NAMES = ["restore_full", "restore_partial", "rollback"]


class Clock:
    """Time passes only while a scenario runs."""

    def __init__(self, codes=None, late=0):
        self.now, self.codes, self.late, self.begun = 1000.0, codes or {}, late, []

    def begin(self, name):
        self.begun.append(name)
        self.now += budget.SECONDS[name] + self.late
        return self.codes.get(name, 0)

    def run(self, names=NAMES, **more):
        return budget.run(names, self.begin, clock=lambda: self.now, **more)


def test_every_scenario_has_its_time_and_no_other():
    assert sorted(budget.SECONDS) == rehearsal.scenarios() and "default" not in budget.SECONDS


def test_over_as_many_days_as_there_are_scenarios_each_is_the_first_once_and_all_are_in_each_days_order():
    names = rehearsal.scenarios()
    orders = [budget.in_turn(reversed(names), day) for day in range(738000, 738000 + len(names))]
    assert sorted(order[0] for order in orders) == names and all(sorted(order) == names for order in orders)
    assert len(names) <= 7, "over a week, all were first"
    assert budget.in_turn([], 3) == []


def test_without_a_limit_all_run_in_the_order_given_also_after_one_that_failed():
    clock = Clock({"restore_full": 2})
    done = clock.run()
    assert clock.begun == NAMES and budget.code_of(done) == 1
    assert [state for state, _seconds in done.values()] == [budget.FAILED, budget.PASSED, budget.PASSED]
    assert [seconds for _state, seconds in done.values()] == [budget.SECONDS[name] for name in NAMES]


def test_one_is_begun_only_when_the_time_suffices_and_a_shorter_one_after_it_still_is():
    clock = Clock()
    done = clock.run(within=budget.SECONDS["restore_full"] - 1)
    assert clock.begun == ["restore_partial", "rollback"] and done["restore_full"] == (budget.LEFT, 0)
    assert list(done) == NAMES and budget.code_of(done) == 0


def test_the_time_that_suffices_exactly_is_enough_and_what_was_spent_before_counts():
    enough = sum(budget.SECONDS[name] for name in NAMES)
    assert Clock().run(within=enough)["rollback"][0] == budget.PASSED
    clock = Clock()
    assert clock.run(within=enough, began=clock.now - 1)["rollback"][0] == budget.LEFT


def test_one_that_takes_longer_than_it_should_leaves_less_for_the_others():
    clock = Clock(late=1)
    assert clock.run(within=sum(budget.SECONDS[name] for name in NAMES))["rollback"][0] == budget.LEFT


def test_the_end_is_told_in_one_line():
    done = {"rollback": (budget.PASSED, 171.6), "restore_full": (budget.LEFT, 0), "restore_partial": (budget.FAILED, 43.2)}
    assert budget.summary(done, 250, 600) == (
        "rehearsal: 2 of 3 scenarios ran in 4 min of 10: rollback passed (171 s), restore_partial FAILED (43 s);"
        " left for lack of time: restore_full (takes %d s)" % budget.SECONDS["restore_full"])
    assert budget.summary({"rollback": (budget.PASSED, 1)}, 60) == "rehearsal: 1 of 1 scenarios ran in 1 min: rollback passed (1 s)"
    assert budget.summary({"rollback": (budget.LEFT, 0)}, 5, 0).startswith("rehearsal: 0 of 1 scenarios ran in 0 min of 0; left for")


@pytest.fixture
def lacking(monkeypatch):
    def run(*_arguments):
        raise Missing("No Docker engine answers here, and none can be started: no root.")

    monkeypatch.setattr(rehearsal, "_run", run)


def test_with_a_limit_a_machine_without_an_engine_says_so_in_one_line_and_fails_nothing(lacking, capsys):
    assert rehearsal.run(minutes=30) == 0
    assert capsys.readouterr().out == "rehearsal: nothing was run. No Docker engine answers here, and none can be started: no root.\n"


def test_without_one_whoever_asked_for_a_rehearsal_is_told_that_there_is_none(lacking):
    with pytest.raises(Missing, match="no root"):
        rehearsal.run()


@pytest.mark.parametrize(("state", "code"), [(budget.FAILED, 1), (budget.PASSED, 0), (budget.LEFT, 0)])
def test_a_scenario_that_failed_fails_the_run_and_one_that_was_left_does_not(monkeypatch, capsys, state, code):
    asked = []
    monkeypatch.setattr(rehearsal, "_run", lambda names, within, *_more: asked.append((sorted(names), within)) or {"rollback": (state, 9)})
    assert rehearsal.run(minutes=30) == code
    assert asked == [(rehearsal.scenarios(), 1800)] and capsys.readouterr().out.count("\n") == 1


def test_where_no_scenario_would_end_in_time_nothing_is_started_and_all_are_said_to_be_left(lacking, capsys):
    assert rehearsal.run(minutes=5) == 0
    said = capsys.readouterr().out
    assert said.startswith("rehearsal: 0 of 7 scenarios ran in 0 min of 5; left for lack of time: ") and said.count("takes") == 7
    shortest = budget.SETUP + budget.SECONDS["restore_partial"]
    assert budget.too_short(NAMES, shortest - 1) and not budget.too_short(NAMES, shortest) and not budget.too_short(NAMES, None)
