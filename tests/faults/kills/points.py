"""Which points there are: a seed and a number tell all of one."""
from __future__ import annotations

import random
from dataclasses import dataclass

from .full import InPlace, Reconciling, Restore, Rollback
from .migration import Migration
from .parts import Align, Backup, Partial, Prune, Reconcile

OPERATIONS = {kind.name: kind for kind in (Backup, Restore, Reconciling, InPlace, Migration, Partial, Rollback, Prune, Reconcile, Align)}
# A run of Letta's own Alembic takes seconds, most of which it starts: one random point in so many is one of a migration.
SLOW = {Migration.name: 40}


@dataclass(frozen=True)
class Point:
    """One kill: in which operation, of what, when.

    :ivar step: moment of the journal, empty for a random one. :ivar share: how far into the operation's time, 0 to 1.
    :ivar at_once: the next run does not wait until what outlived its controller has ended.
    """

    number: int
    operation: str
    victim: str
    step: str
    share: float
    at_once: bool


def steps():
    """Return (operation, victim, moment) of every step of every journal."""
    return [(name, victim, step) for name, kind in OPERATIONS.items() for victim in kind.victims for step in kind.steps()]


def draw(seed, number, attempt=0):
    """Return the :class:`Point` of this number; another ``attempt`` draws another moment for the same victim.

    The first numbers are the steps of the journals, in an order that the seed says; then come random moments.
    """
    order = steps()
    random.Random("%s:steps" % seed).shuffle(order)
    dice = random.Random("%s:%d" % (seed, number))
    if number < len(order):
        return Point(number, *order[number], 0.0, dice.random() < 0.5)
    names = [name for name in OPERATIONS if name not in SLOW]
    slow = dice.choice(sorted(SLOW))
    name = slow if dice.randrange(SLOW[slow]) == 0 else dice.choice(names)
    victim = dice.choice(OPERATIONS[name].victims)
    at_once, shares = dice.random() < 0.5, [dice.random() for _number in range(attempt + 1)]
    return Point(number, name, victim, "", shares[-1], at_once)
