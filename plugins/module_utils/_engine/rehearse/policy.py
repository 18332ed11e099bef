# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sets and which agents a rehearsal takes: pure, and the same again for the same seed."""
from __future__ import annotations

import random

POLICIES = ("latest", "oldest", "revisions", "random")


def pick(infos, policies, seed):
    """Choose sets.

    :param infos: :class:`~..backup.catalogue.SetInfo` of all sets, newest first. A set that cannot be used is chosen like any other:
        that it cannot is what a rehearsal is for.
    :param policies: out of :data:`POLICIES`, or ids of sets. ``latest`` and ``oldest`` are the newest and the oldest kept, ``revisions``
        the newest of each schema revision, ``random`` one of those that no other policy chose (of all, when none is left).
    :param seed: of the random choice.
    :returns: list of (id, [policies that chose it]), newest first; ids that are not there come last.
    """
    ids = list(dict.fromkeys(info.id for info in infos))
    chosen: dict = {}
    # What chance chooses depends on what the others did.
    for policy in sorted(policies, key=lambda name: name == "random"):
        for name in _of_policy(policy, ids, infos, chosen, seed):
            chosen.setdefault(name, []).append(policy if policy in POLICIES else "asked for")
    order = {name: place for place, name in enumerate(ids)}
    return sorted(chosen.items(), key=lambda pair: order.get(pair[0], len(ids)))


def _of_policy(policy, ids, infos, chosen, seed):
    if policy == "random":
        rest = [name for name in ids if name not in chosen] or ids
        return [random.Random(seed).choice(rest)] if rest else []  # noqa: S311  (which set is no secret)
    if policy == "revisions":
        return _newest_of_each(infos)
    return {"latest": ids[:1], "oldest": ids[-1:]}.get(policy, [policy])


def _newest_of_each(infos):
    found: dict = {}
    for info in infos:
        # Without a readable manifest, no revision is known: it is nobody's newest.
        if info.alembic_revisions:
            found.setdefault(tuple(sorted(info.alembic_revisions)), info.id)
    return list(found.values())


def sample(agents, count, seed):
    """Choose agents to restore one by one.

    :param agents: the manifest's ``agents``. :returns: sorted ids, at most ``count``.
    """
    names = sorted(agents)
    return sorted(random.Random(seed).sample(names, min(count, len(names))))  # noqa: S311
