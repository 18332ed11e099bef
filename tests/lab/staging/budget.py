"""Which scenarios a rehearsal on containers runs in the time it is given, in which order, and what it says of them. Starts nothing."""
from __future__ import annotations

import time

PASSED, FAILED, LEFT = "passed", "FAILED", "left"
# Seconds of each scenario on two cores that do other things besides, rounded up from docs/rehearsal-containers.md. Of restore_full and
# schema_upgrade they are put together of their steps.
SECONDS = {
    "corrupt_fallback": 270, "interrupted_work": 150, "rehearse": 540, "restore_full": 420, "restore_partial": 70, "rollback": 190,
    "schema_upgrade": 380,
}  # fmt: skip

# And from a fresh clone until the first can begin.
SETUP = 330


def in_turn(names, day):
    """Return the names in an order that begins with another one each day: in as many days as there are names, each was the first.

    :param day: number of the day (``date.toordinal``).
    """
    ordered = sorted(names)
    first = day % len(ordered) if ordered else 0
    return ordered[first:] + ordered[:first]


def too_short(names, within):
    """Return whether not one of the scenarios ends in this time, so that nothing need be started. :param within: as for :func:`run`."""
    return within is not None and within < SETUP + min(SECONDS[name] for name in names)


def run(names, begin, within=None, began=None, clock=time.monotonic):
    """Run scenarios one after the other, each only when what is left of the time suffices for it.

    :param begin: runs one of a given name and returns its exit code.
    :param within: seconds from ``began`` on; None for as long as it takes.
    :returns: {name: (:data:`PASSED`, :data:`FAILED` or :data:`LEFT`, seconds)}, in the order of ``names``.
    """
    began, done = clock() if began is None else began, {}
    for name in names:
        started = clock()
        if within is not None and started - began + SECONDS[name] > within:
            done[name] = (LEFT, 0)
            continue
        # One that failed does not keep the others from running: each begins by bringing the first state back.
        code = begin(name)
        done[name] = (FAILED if code else PASSED, clock() - started)
    return done


def code_of(done):
    """Return the exit code: 1 when a scenario failed. What was left for lack of time is no failure."""
    return int(any(state == FAILED for state, _seconds in done.values()))


def summary(done, seconds, within=None):
    """Return in one line which scenarios ran and how they ended, and which were left.

    :param seconds: that all of it took. :param within: as for :func:`run`.
    """
    ran = ["%s %s (%d s)" % (name, state, took) for name, (state, took) in done.items() if state != LEFT]
    left = ["%s (takes %d s)" % (name, SECONDS[name]) for name, (state, _took) in done.items() if state == LEFT]
    text = "rehearsal: %d of %d scenarios ran" % (len(ran), len(done))
    text += " in %d min" % round(seconds / 60) + (" of %d" % round(within / 60) if within is not None else "")
    return text + (": %s" % ", ".join(ran) if ran else "") + ("; left for lack of time: %s" % ", ".join(left) if left else "")
