"""``python -m tests.lab``: the servers that the local inventory and the examples use."""
from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys

from . import ROOT
from .sample import make_sample, seed_stand
from .stand import Stand


def main(argv=None):
    args = _parser().parse_args(argv)
    return args.run(args, Stand(args.dir))


def _parser():
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("up", _up, "start PostgreSQL (pgvector) and a Redis-compatible server on loopback; a second time does nothing"),
        ("down", _down, "stop both"),
        ("status", _status, "say what runs; exit 3 unless both do"),
        ("seed", _seed, "fill the lab's database through a real Letta 0.16.8 and kill it in the middle of work (installs it: 800 MB)"),
        ("sample", _sample, "make the shipped sample backup set anew: seed a fresh lab, then playbooks/backup.yml"),
        ("env", _env, "print shell variables (with passwords) that lead there: eval \"$(python -m tests.lab env)\""),
    ):
        command = commands.add_parser(name, help=text, description=text)
        # Letta stores tracebacks: paths of a developer's machine have no place in the shipped sample.
        place = "/var/tmp/letta-lab-sample" if name == "sample" else ROOT / ".lab" / "local"
        command.add_argument("--dir", default=str(place), help="the lab's folder (default: %(default)s)")
        command.set_defaults(run=run)
        if name == "down":
            command.add_argument("--remove", action="store_true", help="delete the servers' files, too (not the backups)")
    return parser


def _up(args, stand):
    changed = stand.up()
    print("%s: %s" % (stand.folder, "started" if changed else "already running"))
    for name, state in stand.status().items():
        print("  %-10s %s" % (name, state))
    print("  variables  %s" % stand.vars_file)
    return 0


def _down(args, stand):
    print("%s: %s" % (stand.folder, "stopped" if stand.down(args.remove) else "nothing was running"))
    return 0


def _status(args, stand):
    states = stand.status()
    for name, state in states.items():
        print("%-10s %s" % (name, state))
    return 0 if all(state != "stopped" for state in states.values()) else 3


def _seed(args, stand):
    try:
        facts = seed_stand(stand)
    except FileExistsError as exc:
        print(exc, file=sys.stderr)
        return 1
    print("%s: seeded, %.1f MB; seconds: %s" % (stand.folder, facts["bytes"] / 1e6, facts["seconds"]))
    return 0


def _sample(args, stand):
    os.environ["LETTA_LAB_CACHE"] = str(stand.folder / "cache")
    try:
        print(make_sample(stand))
    finally:
        stand.down(remove=True)
    shutil.rmtree(stand.folder)
    return 0


def _env(args, stand):
    postgres = stand.postgres()
    server = postgres.server("letta", stand.letta_password(), "letta")
    for name, value in {**server.environment(), "PATH": "%s:$PATH" % postgres.bin_dir}.items():
        print("export %s=%s" % (name, '"%s"' % value if name == "PATH" else shlex.quote(value)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
