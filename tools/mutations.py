"""Takes guards away, one at a time, in a copy of the checkout, and expects the test that stands for each to fall.

Usage: mutations.py [-n] [NAME ...]     all of tests/faults/mutations.yml, or only these; with -n only those never seen to fall
A test must pass in the copy before its guard is taken away. What was seen is noted in tests/faults/mutations-seen.json.
"""
from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from common import ROOT, scratch
from faults import MUTATIONS, SEEN, read


def copy_to(folder: Path) -> Path:
    """A copy of everything that git knows or would take; returns its folder."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    names = "\0".join(name for name in listed if name and os.path.lexists(ROOT / name))
    target = folder / "copy"
    target.mkdir()
    packed = subprocess.run(["tar", "-c", "--null", "-T", "-"], cwd=ROOT, input=names.encode(), capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x"], cwd=target, input=packed, check=True)
    return target


def outcome(copy: Path, test: str) -> str:
    """``passed`` or ``fell``, or what else became of a test in the copy."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "ANSIBLE", "LETTA"))}
    argv = [sys.executable, "-m", "pytest", "-q", "-x", test]
    done = subprocess.run(argv, cwd=copy, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    (last, *_rest) = reversed(done.stdout.strip().splitlines() or ["nothing"])
    if done.returncode == 0 and " passed" in last:
        return "passed"
    if done.returncode == 1 and re.search(r"\b\d+ failed", last):
        return "fell"
    return f"neither passed nor fell:\n{done.stdout[-2000:]}{done.stderr[-500:]}"


def without(text: str, entry: dict) -> str:
    """The file's text without the guard. Ends the script where the guard is not in it exactly once."""
    if text.count(entry["take"]) != 1:
        sys.exit(f"{entry['file']} does not hold exactly once: {entry['take']!r}")
    return text.replace(entry["take"], entry["leave"])


def tried(copy: Path, name: str, entry: dict, sound: set[str]) -> bool:
    """Whether the test passes with the guard and falls without it."""
    if (test := f"{entry['tests']}::{entry['test']}") not in sound:
        if (with_it := outcome(copy, test)) != "passed":
            print(f"{name}: with its guard the test {with_it}", flush=True)
            return False
        sound.add(test)
    path = copy / entry["file"]
    text = path.read_text(encoding="utf-8")
    path.write_text(without(text, entry), encoding="utf-8")
    try:
        found = outcome(copy, test)
    finally:
        path.write_text(text, encoding="utf-8")
    print(f"{name}: without its guard the test {found}", flush=True)
    return found == "fell"


def main() -> int:
    """Tries what was asked for and notes what was seen."""
    entries, seen = read(MUTATIONS, {}), read(SEEN, {})
    names = [name for name in sys.argv[1:] if name != "-n"]
    if unknown := set(names) - set(entries):
        print(f"No such guard: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    names = names or [name for name in entries if "-n" not in sys.argv or name not in seen]
    for entry in entries.values():
        without((ROOT / entry["file"]).read_text(encoding="utf-8"), entry)
    failed, sound = [], set[str]()
    with scratch() as folder:
        copy = copy_to(folder)
        for name in names:
            seen.pop(name, None)
            if tried(copy, name, entries[name], sound):
                seen[name] = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
            else:
                failed.append(name)
    kept = {name: seen[name] for name in entries if name in seen}
    SEEN.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    rest = f"; not: {', '.join(failed)}" if failed else ""
    print(f"{len(names) - len(failed)} of {len(names)} guards were missed when they were gone{rest}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
