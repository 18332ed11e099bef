"""Retention keeps what its rules say, and never lets the last good set go."""
from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.catalogue import SetInfo
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.retention import plan_prune
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError

from .conftest import NOW


def info(hours, kind="backup", **more):
    more.setdefault("usable", True)
    return SetInfo(id="lb-%s" % hours, path="", kind=kind, taken_at=NOW - timedelta(hours=hours), **more)


def test_the_newest_set_of_each_day_is_kept_for_the_asked_number_of_days():
    keep, remove = plan_prune([info(hours) for hours in (0, 2, 13, 20, 37, 61, 85)], {"daily": 3}, NOW)
    assert sorted(keep) == ["lb-0", "lb-13", "lb-37"]
    assert remove == ["lb-85", "lb-61", "lb-20", "lb-2"]


def test_days_without_a_set_do_not_use_up_the_rule():
    keep, _remove = plan_prune([info(0), info(24 * 30), info(24 * 60)], {"daily": 2}, NOW)
    assert sorted(keep) == ["lb-0", "lb-720"]


def test_each_reason_is_told():
    keep, _remove = plan_prune([info(0)], {"last": 1, "weekly": 1}, NOW)
    assert keep == {"lb-0": ["last", "weekly", "newest good set"]}


def test_a_policy_of_zeros_is_refused():
    with pytest.raises(RecoveryError) as caught:
        plan_prune([info(0)], {"last": 0}, NOW)
    assert caught.value.failure_class == "usage"


def test_a_set_that_failed_verification_takes_no_place_and_is_left_to_a_person():
    bad = info(0, verified_status="fail", verified_at="x")
    keep, remove = plan_prune([bad, info(1), info(2)], {"last": 1}, NOW)
    assert "lb-1" in keep
    assert keep["lb-0"] == ["failed verification; remove it by name"]
    assert remove == ["lb-2"]


def test_the_newest_verified_set_stays_beside_the_newest_set():
    old = info(500, verified_status="pass", verified_at="x")
    keep, remove = plan_prune([info(0), info(1), old], {"last": 1}, NOW)
    assert keep["lb-500"] == ["newest verified set"]
    assert remove == ["lb-1"]


def test_a_set_in_use_an_adopted_one_and_a_valid_safety_copy_stay():
    safety = info(4, kind="safety", valid_until=NOW + timedelta(days=1))
    spent = info(5, kind="safety", valid_until=NOW - timedelta(days=1))
    sets = [info(0), info(1), info(2), info(3, kind="adopted"), safety, spent]
    keep, remove = plan_prune(sets, {"last": 1}, NOW, in_use={"lb-2": ["r-1"]})
    assert remove == ["lb-5", "lb-1"]
    assert keep["lb-2"] == ["in use by an open restore"]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5000),
            st.sampled_from(["backup", "adopted", "safety"]),
            st.booleans(),
            st.sampled_from([None, "pass", "warn", "fail"]),
        ),
        unique_by=lambda item: item[0],
    ),
    st.dictionaries(st.sampled_from(["last", "hourly", "daily", "weekly", "monthly"]), st.integers(1, 5), min_size=1),
)
def test_nothing_is_lost_twice_and_a_good_set_always_remains(drawn, policy):
    sets = [info(hours, kind, usable=usable, verified_status=status) for hours, kind, usable, status in drawn]
    keep, remove = plan_prune(sets, policy, NOW)
    assert sorted(list(keep) + remove) == sorted(one.id for one in sets)
    good = [one for one in sets if one.good and one.kind != "safety"]
    if good:
        assert max(good, key=lambda one: one.order).id in keep
    backups = [one for one in good if one.kind == "backup"]
    assert len([one for one in backups if one.id in keep]) <= sum(policy.values()) + 2
