"""Kills every operation at every step of its journal and at random moments, and looks at what is true afterwards.

Points have numbers. A run can be cut into chunks (--first) and broken off: what was done with this seed and this engine is not done
again. Two runs at once share their seed's record.
"""
from __future__ import annotations

import argparse
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from . import ROOT
from .operation import VICTIMS
from .points import OPERATIONS, draw
from .record import FIGURES, Record, write
from .runner import Runner, TooLate
from .stand import Stand

SEED = 20261122
BLOCK = 25


def arguments(argv=None):
    """Return the parsed options."""
    parser = argparse.ArgumentParser(prog="make kills", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="number of points (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first point (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="what the points are drawn from (%(default)s)")
    parser.add_argument("--operation", choices=sorted(OPERATIONS), action="append", help="only points of this operation (repeatable)")
    parser.add_argument("--victim", choices=VICTIMS, action="append", help="only kills of this (repeatable)")
    parser.add_argument("--point", type=int, help="do one point again, whatever is recorded, and record nothing")
    parser.add_argument("--after", type=float, help="seconds at which --point is killed, as a loss names them (drawn and scaled otherwise)")
    parser.add_argument("--record", type=Path, default=ROOT / ".cache" / "kills", help="folder of what was done (%(default)s)")
    parser.add_argument("--write", action="store_true", help="put the figures of all recorded points into %s" % FIGURES.name)
    return parser.parse_args(argv)


def todo(options, done):
    """Return the numbers of the points to do."""
    numbers = range(options.first, options.first + options.count)
    points = [draw(options.seed, number) for number in numbers if number not in done]
    return [
        point.number
        for point in points
        if (not options.operation or point.operation in options.operation) and (not options.victim or point.victim in options.victim)
    ]


def tell_loss(verdict, seed):
    """Print everything that is known of a loss, with the line that does the point again."""
    point = verdict.point
    moment = point.step or "%.4f s" % verdict.after
    print("LOSS   point %d of seed %d: %s, %s killed at %s" % (point.number, seed, point.operation, point.victim, moment))
    for problem in verdict.problems:
        print("       %s" % problem.replace("\n", "\n       "))
    again = "--seed %d --point %d%s" % (seed, point.number, "" if point.step else " --after %.4f" % verdict.after)
    print("AGAIN  make kills ARGS='%s'" % again, flush=True)


def run(options, record):
    """Do the points that are left. Returns the number of losses among them."""
    numbers, losses, spent = todo(options, record.points()), 0, time.monotonic()
    print("%d points to do, of seed %d and engine %s" % (len(numbers), options.seed, record.engine), flush=True)
    with Stand() as stand:
        runner = Runner(stand, options.seed)
        for place, number in enumerate(numbers, 1):
            verdict = runner.point(number)
            record.add(verdict)
            if verdict.problems:
                losses += 1
                tell_loss(verdict, options.seed)
            if place % BLOCK == 0 or place == len(numbers):
                each = (time.monotonic() - spent) / place
                print("%5d of %d, to number %d: %d losses, %.2f s a point" % (place, len(numbers), number, losses, each), flush=True)
    return losses


def versions():
    """Return {program: version} of what the figures depend on."""
    from tests.lab import places, servers

    server = places.postgres_bin_dirs(servers.postgres())[1] / "postgres"
    said = subprocess.run([str(server), "--version"], check=True, capture_output=True, text=True).stdout
    return {"PostgreSQL": said.split()[2], "Python": platform.python_version()}


def main(argv=None):
    """Do what was asked for; exit code 1 when anything was lost."""
    options = arguments(argv)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))  # so that the servers end with it
    if options.point is not None:
        with Stand() as stand:
            try:
                verdict = Runner(stand, options.seed).point(options.point, options.after)
            except TooLate as late:
                sys.exit("Not shown: %s" % late)
        if verdict.problems:
            tell_loss(verdict, options.seed)
        else:
            print("Nothing was lost: %s" % verdict.point)
        return bool(verdict.problems)
    record = Record(options.record, options.seed)
    losses = run(options, record) if todo(options, record.points()) else 0
    figures = record.figures(versions())
    print("%(points)d points in all, %(seconds)d s of work, losses: %(losses)s" % figures)
    if options.write:
        write(figures)
        print("Written to %s; tools/faults.py write puts it into docs/faults.md" % FIGURES.relative_to(ROOT))
    return bool(losses or figures["losses"])


if __name__ == "__main__":
    sys.exit(main())
