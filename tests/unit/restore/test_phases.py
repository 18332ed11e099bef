"""Which selections of phases by tags make sense, all of them tried."""
from __future__ import annotations

from itertools import combinations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.phases import COMPONENTS, PHASES, selected_phases

PREPARE = ("stage", "migrate", "validate", "reconcile")
CUT = ("cutover", "verify")
ALLOWED = [(), *[PREPARE[:count] for count in range(1, 5)], CUT, PREPARE + CUT]


def every_selection():
    names = PHASES[1:]
    return [chosen for count in range(len(names) + 1) for chosen in combinations(names, count)]


@pytest.mark.parametrize("chosen", ALLOWED, ids=lambda chosen: "+".join(chosen) or "assess alone")
def test_a_selection_without_gaps_is_taken_and_always_assesses(chosen):
    assert selected_phases(["assess", *chosen]) == ("assess", *chosen)
    if chosen:
        assert selected_phases(list(reversed(chosen))) == ("assess", *chosen)


def test_every_other_selection_of_phases_is_refused_with_the_two_that_make_sense():
    refused = [chosen for chosen in every_selection() if chosen not in ALLOWED]
    assert len(refused) == 64 - len(ALLOWED)
    for chosen in refused:
        with pytest.raises(RecoveryError) as caught:
            selected_phases(list(chosen))
        assert caught.value.failure_class == "usage"
        assert "--tags stage,migrate,validate,reconcile" in caught.value.next_step
        assert all(name in caught.value.message for name in chosen)


@pytest.mark.parametrize("tags", [None, [], ["all"], ["tagged"], ["all", "cutover"]])
def test_without_tags_the_whole_restore_is_done(tags):
    assert selected_phases(tags) == PHASES


@pytest.mark.parametrize("name", PHASES + ("postgres", "services"))
def test_skipping_a_part_that_the_proof_needs_is_refused(name):
    with pytest.raises(RecoveryError) as caught:
        selected_phases(["all"], [name])
    assert caught.value.failure_class == "usage"
    assert name in caught.value.message


@pytest.mark.parametrize("name", ["redis", "volumes"])
def test_components_that_are_not_restored_yet_may_be_skipped(name):
    assert selected_phases(["all"], [name]) == PHASES


@pytest.mark.parametrize("name", COMPONENTS)
def test_one_component_alone_is_refused(name):
    with pytest.raises(RecoveryError) as caught:
        selected_phases([name])
    assert caught.value.failure_class == "usage"


@pytest.mark.parametrize(("run", "skip"), [(["cut-over"], []), (["all"], ["validation"])])
def test_a_misspelt_tag_is_named(run, skip):
    with pytest.raises(RecoveryError) as caught:
        selected_phases(run, skip)
    assert caught.value.failure_class == "usage"
    assert "there is no tag %s here" % (run + skip if skip == [] else skip)[0] in caught.value.message
