"""Takes guards away, one at a time, in a copy of the checkout, and expects the tests that stand for each to fall.

Usage: mutations.py [-n] [NAME ...]     all of tests/faults/mutations.yml, or only these; with -n only tests never seen to fall
A test must pass in the copy before its guard is taken away. What was seen is noted in tests/faults/mutations-seen.json.
"""
from __future__ import annotations

import contextlib
import datetime
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fault_guards
from common import ROOT, scratch

# Seconds for one test without its guard: some then wait for what never comes.
PATIENCE = 600


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


def run_alone(copy: Path, test: str) -> tuple[int | None, str]:
    """Runs one test in the copy; returns pytest's exit code, None where it took too long, and what was printed."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "ANSIBLE", "LETTA"))}
    env["LETTA_LAB_CACHE"] = os.environ.get("LETTA_LAB_CACHE", str(ROOT / ".lab"))
    argv = [sys.executable, "-m", "pytest", "-q", "-x", test]
    started = subprocess.Popen(argv, cwd=copy, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               stdin=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    try:
        said, _none = started.communicate(timeout=PATIENCE)
        return started.returncode, said
    except subprocess.TimeoutExpired:
        # Interrupted first, so that the servers of its fixtures are stopped.
        os.killpg(started.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.communicate(timeout=60)
        return None, f"it took more than {PATIENCE} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)


def outcome(copy: Path, test: str) -> str:
    """``passed`` or ``fell``, or what else became of a test in the copy."""
    code, said = run_alone(copy, test)
    last = (said.strip().splitlines() or ["nothing"])[-1]
    if code == 0 and " passed" in last:
        return "passed"
    if code == 1 and re.search(r"\b\d+ failed", last):
        return "fell"
    return f"neither passed nor fell:\n{said[-2500:]}"


@contextlib.contextmanager
def without(copy: Path, entry: dict[str, Any]) -> Iterator[None]:
    """The copy without this guard, for as long as the context lasts."""
    path = copy / entry["file"]
    text = path.read_text(encoding="utf-8")
    path.write_text(replaced(text, entry), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def replaced(text: str, entry: dict[str, Any]) -> str:
    """The file's text without the guard. Ends the script where the guard is not in it exactly once."""
    if text.count(entry["take"]) != 1:
        sys.exit(f"{entry['file']} does not hold exactly once: {entry['take']!r}")
    return text.replace(entry["take"], entry["leave"])


def fell(copy: Path, name: str, entry: dict[str, Any], tests: list[str], sound: set[str]) -> list[str]:
    """Those of these tests that pass with the guard and fall without it."""
    for test in [test for test in tests if test not in sound]:
        if (with_it := outcome(copy, test)) == "passed":
            sound.add(test)
        else:
            print(f"{name}: with its guard {test} {with_it}", flush=True)
    found = []
    with without(copy, entry):
        for test in [test for test in tests if test in sound]:
            what = outcome(copy, test)
            print(f"{name}: without its guard {test} {what}", flush=True)
            found += [test] if what == "fell" else []
    return found


def main() -> int:
    """Tries what was asked for and notes what was seen."""
    known, sightings = fault_guards.entries(), fault_guards.seen()
    names = [name for name in sys.argv[1:] if name != "-n"]
    if unknown := set(names) - set(known):
        print(f"No such guard: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    for entry in known.values():
        replaced((ROOT / entry["file"]).read_text(encoding="utf-8"), entry)
    failed, sound = [], set[str]()
    with scratch() as folder:
        copy = copy_to(folder)
        for name in names or known:
            old = sightings.get(name, {}) if "-n" in sys.argv else {}
            tests = [test for test in known[name]["falls"] if test not in old]
            today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
            found = fell(copy, name, known[name], tests, sound)
            sightings[name] = {**old, **dict.fromkeys(found, today)}
            failed += [f"{name} ({test})" for test in tests if test not in found]
            fault_guards.note(sightings, known)
    rest = f"; not: {', '.join(failed)}" if failed else ""
    print(f"{'Not all' if failed else 'All'} guards were missed when they were gone{rest}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
