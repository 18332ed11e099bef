"""A point from its first state to its verdict."""
from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from . import processes
from .driving import FAILED, Hook, Run, strike
from .points import OPERATIONS, draw

PATIENCE = 90
ATTEMPTS = 50


@dataclass
class Verdict:
    """What became of a point. ``problems`` is empty unless something was lost, ``after`` is when the kill came, in seconds."""

    point: object
    after: float
    seconds: float
    problems: list

    def as_dict(self):
        return dict(asdict(self.point), after=round(self.after, 4), seconds=round(self.seconds, 3), problems=self.problems)


def _come_again(operation, words):
    """Tell whether a run was refused because it met what the killed controller left at work: it may be, if the next one ends well."""
    return "failure class: locked" in words and (not operation.waits or "while this run looked at it" in words)


class TooLate(RuntimeError):
    """No kill of a point met the operation at work."""


class Runner:
    """Carries points out on one stand, one after the other."""

    def __init__(self, stand, seed):
        self.stand, self.seed = stand, seed
        self._operations: dict = {}
        self._durations: dict = {}

    def operation(self, name):
        """Return an operation, prepared and measured at its first call."""
        if name not in self._operations:
            self._operations[name] = made = OPERATIONS[name](self.stand)
            self._durations[name] = min(self._measure(made) for _time in range(2))
        return self._operations[name]

    def _measure(self, operation):
        """Run an operation that nobody kills. Returns its seconds. :raises RuntimeError: when it fails or its journal has other steps."""
        scene = operation.reset()
        hook = Hook(seen=scene.folder / "moments")
        run = Run(operation, scene, hook)
        well = run.wait(PATIENCE) and run.code == 0
        seconds = time.monotonic() - run.began
        seen = hook.seen.read_text(encoding="ascii").split() if hook.seen.exists() else []
        hook.close()
        if not well or set(seen) != set(operation.journal):
            odd = sorted(set(seen) ^ set(operation.journal))
            raise RuntimeError("%s without a kill: exit %s, steps %s\n%s" % (operation.name, run.code, odd, run.words()))
        processes.gone(self.stand.known(), PATIENCE)
        self.stand.clear(scene)
        return seconds

    def point(self, number, after=None):
        """Carry out the point of this number. :param after: seconds to kill it at, instead of those that are drawn."""
        operation = self.operation(draw(self.seed, number).operation)
        for attempt in range(ATTEMPTS):
            point, began = draw(self.seed, number, attempt), time.monotonic()
            scene = operation.reset()
            when = None if point.step else point.share * self._durations[point.operation] if after is None else after
            hook = Hook(point.step)
            run = Run(operation, scene, hook)
            try:
                struck = self._strike(run, point, when)
                problems = self._judge(operation, scene, run, point) if struck is not None else []
            finally:
                hook.close()
            processes.gone(self.stand.known(), PATIENCE)
            self.stand.clear(scene)
            if struck is None and point.step:
                problems, struck = ["the operation ended before the kill"], 0.0
            if struck is not None:
                return Verdict(point, struck, time.monotonic() - began, problems)
        raise TooLate("point %d: %d kills in a row came when the operation was over" % (number, ATTEMPTS))

    def _strike(self, run, point, when):
        """Kill, and see the operation out. Returns the seconds into it, None when it was over before."""
        if not run.comes_to(when):
            return None
        struck = time.monotonic() - run.began
        hit = strike(run, point.victim, self.stand)
        run.hook.go()
        if not run.wait(PATIENCE):
            raise RuntimeError("point %d: the controller hangs: %s" % (point.number, run.words()))
        if not hit or (point.victim == "module" and run.code == 0):  # the module had done its work
            return None
        return struck

    def _again(self, operation, scene):
        """Run what comes after a kill. Returns the run, which has ended."""
        hook = Hook()
        again = Run(operation.next(scene), scene, hook)
        if not again.wait(PATIENCE):
            raise RuntimeError("the next run hangs: %s" % again.words())
        hook.close()
        return again

    def _judge(self, operation, scene, run, point):
        """Look at everything after the kill, and after the next run."""
        problems = []
        orphans = point.victim == "controller"
        if not (orphans and point.at_once):
            living = processes.gone(self.stand.known(), PATIENCE)
            problems += ["still lives: %s" % name for name in living]
            problems += ["after the kill: %s" % text for text in operation.after_kill(scene)]
            if point.victim == "module" and scene.service.state() != "running":
                problems.append("after the kill: the controller left the servers stopped: %s" % run.words())
        again = self._again(operation, scene)
        if again.code == FAILED and orphans and point.at_once and _come_again(operation, again.words()):
            processes.gone(self.stand.known(), PATIENCE)  # it met the orphan, and was told to come again
            again = self._again(operation, scene)
        if again.code:
            problems.append("the next run failed (%s): %s" % ("refused" if again.code == FAILED else again.code, again.words()))
        problems += ["still lives: %s" % name for name in processes.gone(self.stand.known(), PATIENCE)]
        problems += ["in the end: %s" % text for text in operation.at_end(scene)]
        return problems + ["left over: %s" % text for text in operation.leftovers(scene)]
