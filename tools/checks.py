"""Runs lint, sanity and package side by side: each waits much and keeps one core at work at most. Exits 1 if one failed.

What a script prints is shown in one piece when it ends.
"""
from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

from common import ROOT

# The longest first.
SCRIPTS = ("sanity", "lint", "package")
AT_ONCE = 2


def check(name: str) -> tuple[str, int, str, float]:
    """Runs one script; returns its name, exit code, output and seconds."""
    start = time.monotonic()
    argv = [sys.executable, str(ROOT / "tools" / f"{name}.py")]
    done = subprocess.run(
        argv, cwd=ROOT, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return name, done.returncode, done.stdout, time.monotonic() - start


def main() -> int:
    """Runs all scripts to their end, whatever the others do."""
    failed = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for future in as_completed([pool.submit(check, name) for name in SCRIPTS]):
            name, code, output, seconds = future.result()
            print(output, end="")
            print(f"checks: {name:<11}{'FAILED' if code else 'ok':<7}{seconds:5.1f} s", flush=True)
            if code:
                failed.append(name)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
