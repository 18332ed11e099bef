"""Coverage-guided fuzzing of every harness, one after another: ``python -m tests.fuzz [--seconds 60] [TARGET ...]``."""
from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "playbooks" / "collections")]

from tests.fuzz.targets import CASES, SEEDS, TARGETS, cases  # noqa: E402

CACHE = ROOT / ".cache" / "fuzz"
PACKAGES = CACHE / "packages"
REQUIREMENTS = ROOT / "requirements" / "fuzz.txt"
LIMITS = ["-timeout=30", "-rss_limit_mb=2048", "-max_len=65536", "-print_final_stats=1"]
NO_WHEEL = "There is no atheris for Python %d.%d on this machine (%s): the fuzzer needs CPython on Linux or macOS and a package registry."


def main() -> int:
    """Fuzz; returns 1 when anything was found, 2 when the fuzzer cannot be had."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="of %s; without any, all" % ", ".join(sorted(TARGETS)))
    asked = parser.parse_args()
    unknown = sorted(set(asked.targets) - set(TARGETS))
    if unknown:
        parser.error("no such target: %s" % ", ".join(unknown))
    problem = install()
    if problem:
        print(NO_WHEEL % (*sys.version_info[:2], problem), file=sys.stderr)
        return 2
    found = [fuzz(target, asked.seconds) for target in asked.targets or TARGETS]
    return int(any(found))


def install() -> str:
    """Bring atheris into a folder of its own: `.venv` stays what its lists say. Returns why that cannot be, or nothing."""
    stamp = PACKAGES / ".installed"
    wanted = "%s %s" % (sys.version, hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest())
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return ""
    argv = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input", "--no-deps", "--upgrade",
            "--only-binary", ":all:", "--target", str(PACKAGES), "-r", str(REQUIREMENTS)]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["pip ended with %d" % done.returncode])[-1]
    stamp.write_text(wanted, encoding="utf-8")
    return ""


def fuzz(target: str, seconds: int) -> int:
    """Fuzz one target; says how often it was run and returns how many inputs were found."""
    corpus, before = CACHE / "corpus" / target, set(cases(target))
    corpus.mkdir(parents=True, exist_ok=True)
    for data in SEEDS[target] + [path.read_bytes() for path in before]:
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    (CASES / target).mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "tests.fuzz.guided", target, str(corpus), "-max_total_time=%d" % seconds, *LIMITS,
            "-artifact_prefix=%s/" % (CASES / target)]  # fmt: skip
    environment = dict(os.environ, PYTHONPATH=str(PACKAGES))
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, errors="replace")
    runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    found = sorted(set(cases(target)) - before)
    if not any((CASES / target).iterdir()):
        (CASES / target).rmdir()
    print("%-20s %9s runs in %d s, %d found" % (target, runs.group(1) if runs else "no", seconds, len(found)), flush=True)
    for line in re.findall("^FOUND .*", done.stdout, re.MULTILINE):
        print("    " + line)
    if done.returncode and not found:
        print(done.stderr[-2000:], file=sys.stderr)
    return len(found) or done.returncode


if __name__ == "__main__":
    sys.exit(main())
