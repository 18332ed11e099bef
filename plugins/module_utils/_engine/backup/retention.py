# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup sets to keep: last, hourly, daily, weekly, monthly; and letting go of the others."""
from __future__ import annotations

from datetime import datetime, timezone

from ..errors import RecoveryError
from . import catalogue, store

# Bucket of a moment (UTC), by rule; the newest set of each of the N newest buckets that hold a set is kept.
_BUCKETS = {
    "last": lambda info: info.id,
    "hourly": lambda info: info.taken_at.strftime("%Y-%m-%d %H"),
    "daily": lambda info: info.taken_at.strftime("%Y-%m-%d"),
    "weekly": lambda info: "%d-W%02d" % info.taken_at.isocalendar()[:2],
    "monthly": lambda info: info.taken_at.strftime("%Y-%m"),
}
RULES = tuple(_BUCKETS)


def check_policy(policy):
    """Return the policy with every rule as a number; refuse one that would keep nothing.

    :raises RecoveryError: ``usage`` for unknown rules, negative numbers or a policy of zeros.
    """
    unknown = sorted(set(policy) - set(RULES))
    numbers = {rule: int(policy.get(rule) or 0) for rule in RULES}
    if unknown or min(numbers.values()) < 0:
        raise RecoveryError("usage", "retention rules are %s, each a number from 0 on" % ", ".join(RULES), now="no set was removed")
    if not any(numbers.values()):
        raise RecoveryError(
            "usage",
            "the retention policy keeps nothing",
            now="no set was removed",
            next_step="set at least one of letta_catalog_keep's %s above 0" % ", ".join(RULES),
        )
    return numbers


def plan_prune(sets, policy, now, in_use=()):
    """Decide what stays and what goes.

    :param sets: :class:`~.catalogue.SetInfo` of the store, any order.
    :param policy: ``{"last", "hourly", "daily", "weekly", "monthly"}`` to numbers; missing means 0.
    :param now: aware datetime, for the term of safety sets.
    :param in_use: ids that an open restore uses.
    :returns: ``(keep, remove)``: ``{id: [reason]}`` and the ids that go, oldest first.
    :raises RecoveryError: ``usage`` for a policy that keeps nothing.

    Never removed: the newest good set, the newest verified set, sets in use, adopted sets, sets that cannot be used or failed
    verification (they take no other set's place either; a person removes them by name).
    """
    policy = check_policy(policy)
    keep = {}

    def hold(info, reason):
        keep.setdefault(info.id, []).append(reason)

    newest_first = sorted(sets, key=lambda info: info.order, reverse=True)
    good = [info for info in newest_first if info.good]
    regular = [info for info in good if info.kind == "backup"]
    for rule, bucket in _BUCKETS.items():
        for info in _newest_of_each(regular, bucket, policy[rule]):
            hold(info, rule)
    for info in newest_first:
        if info.id in in_use:
            hold(info, "in use by an open restore")
        if not info.usable:
            hold(info, "not usable: %s; remove it by name" % info.reason)
        elif not info.good:
            hold(info, "failed verification; remove it by name")
        elif info.kind == "adopted":
            hold(info, "adopted; remove it by name")
        elif info.kind == "safety" and (info.valid_until is None or info.valid_until > now):
            hold(info, "safety copy, its term has not run out")
    _hold_last_good(good, hold)
    return keep, [info.id for info in reversed(newest_first) if info.id not in keep]


def _newest_of_each(newest_first, bucket, count):
    seen = set()
    for info in newest_first:
        if len(seen) >= count:
            return
        key = bucket(info)
        if key not in seen:
            seen.add(key)
            yield info


def _hold_last_good(good, hold):
    candidates = [info for info in good if info.kind != "safety"] or good
    if candidates:
        hold(candidates[0], "newest good set")
    verified = [info for info in candidates if info.verified_status in ("pass", "warn")]
    if verified:
        hold(verified[0], "newest verified set")


def prune(root, policy, now=None, dry_run=False, trust=None):
    """Apply a policy to a store.

    :param dry_run: only tell.
    :param trust: a :class:`~.trust.Trust`; a set that is not trusted takes no other set's place, and is left to a person.
    :returns: ``{"keep": {id: [reason]}, "removed": [id], "freed_bytes"}``.
    :raises RecoveryError: ``usage`` for a policy that keeps nothing, ``preflight`` when the store cannot be read.
    """
    now = now or datetime.now(timezone.utc)
    sets = catalogue.list_sets(root, now, trust)
    keep, remove = plan_prune(sets, policy, now, store.sets_in_use(root))
    sizes = {info.id: info.size_bytes for info in sets}
    if not dry_run:
        for set_id in remove:
            store.remove_set(root, set_id)
        store.reap(root)
    return {"keep": keep, "removed": remove, "freed_bytes": sum(sizes[set_id] for set_id in remove)}
