"""``python -m tests.lab.staging``: a throw-away Letta system in containers."""
from __future__ import annotations

import argparse
import sys

from . import IMAGES_OF, Missing, engine, fleet, images, rehearsal, seeds


def main(argv=None):
    parser = _parser()
    args, args.rest = parser.parse_known_args(argv)
    if args.rest and args.run is not _rehearse:
        parser.error("what is %s?" % " ".join(args.rest))
    args.run(args)


def _parser():
    parser = argparse.ArgumentParser(prog="python -m tests.lab.staging", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("rehearse", _rehearse, "`make rehearsal`: all scenarios, or some; further arguments are for `molecule test`"),
        ("images", lambda _: images.build(engine.running()), "build the images that are missing"),
        ("up", lambda _: _fleet().up(), "start all containers anew"),
        ("down", lambda _: _fleet().down(), "remove all containers and their network"),
        ("fill", lambda _: seeds.fill(_fleet(), fleet.load()), "fill the system through Letta's API"),
        ("fill-more", lambda _: seeds.fill_more(_fleet(), fleet.load()), "write what only the second backup has"),
        ("keep", lambda _: seeds.keep(_fleet(), fleet.load()), "make an agent that no set has, and keep that state"),
        ("reset", lambda _: seeds.reset(_fleet()), "bring the kept state back"),
        ("make-old", lambda _: seeds.make_old(_fleet(), fleet.load()), "make a database as Letta 0.11.7 left it"),
        ("interrupt", lambda _: seeds.interrupt(fleet.load()), "leave work hanging"),
        ("kill", lambda args: _fleet().kill(args.name), "end a container at once"),
        ("start", lambda args: _fleet().start(args.name), "start a container and connect it to the network"),
        ("cut-off", lambda args: _fleet().cut_off(args.name), "take a container off the network"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        if name == "rehearse":
            command.add_argument("-s", "--scenario-name", action="append", choices=rehearsal.scenarios(), dest="names", help="this one")
            command.add_argument("--within", type=float, metavar="MINUTES", help="begin only scenarios that end within so many minutes")
        if name in ("kill", "start", "cut-off"):
            command.add_argument("name", choices=list(IMAGES_OF))
    return parser


def _fleet():
    return fleet.Fleet(engine.running())


def _rehearse(args):
    sys.exit(rehearsal.run(args.names or (), args.within, args.rest))


if __name__ == "__main__":
    try:
        main()
    except Missing as exc:
        sys.exit(str(exc))
