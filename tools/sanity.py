"""Runs `ansible-test sanity` on the collection as it is built, in a scratch folder with a home of its own.

Usage: sanity.py [options of ansible-test sanity]

ansible-test wants a collection inside an `ansible_collections` tree under version control, and bootstraps pip in the
environments of its tests by a downloaded script. Its cache gets a stand-in of two lines that takes the pip bundled
with Python, so that nothing is fetched from a download site. The tests' own pinned tools come through pip as usual.
"""
from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from common import CACHE, ROOT, at_home, build, install, run, scratch

# The pip that this release of ansible-core asks for; another release may ask for another.
PIP_SCRIPT = "get_pip_24_2.py"
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
MODULE_PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
# Kept between runs: the environments of the tests take longer to make than the tests to run.
HOME = CACHE / "sanity-home"
STAND_IN = "import ensurepip\nensurepip.bootstrap()\n"


def prepare(folder: Path) -> Path:
    """Installs the built collection below ``folder`` with the files the tests need and a repository; returns its folder."""
    collection = install(build(folder), folder)
    # Tests are not part of the tarball; these files steer the sanity tests.
    for name in ("sanity", "config.yml"):
        source = ROOT / "tests" / name
        if source.is_dir():
            shutil.copytree(source, collection / "tests" / name)
        elif source.is_file():
            (collection / "tests").mkdir(exist_ok=True)
            shutil.copy(source, collection / "tests" / name)
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / PIP_SCRIPT).write_text(STAND_IN, encoding="utf-8")
    for argv in (["git", "init", "--quiet", "--initial-branch", "main"], ["git", "add", "--all"]):
        if run(argv, cwd=collection, quiet=True, extra=at_home(folder)):
            sys.exit("The scratch copy could not be put under version control; is git installed?")
    return collection


def other_pythons() -> list[str]:
    """Versions besides the running one that modules support and whose interpreter is on PATH and starts (a shim may not)."""
    found = []
    for version in MODULE_PYTHONS:
        program = shutil.which(f"python{version}")
        if version != RUNNING and program and subprocess.run([program, "-c", ""], capture_output=True, check=False).returncode == 0:
            found.append(version)
    return found


def main() -> int:
    """Runs all tests with the Python of the environment, and those that depend on the version with others; 0 if all pass."""
    with scratch() as folder:
        collection = prepare(folder)
        environment = {**at_home(folder), "HOME": str(HOME)}
        argv = ["ansible-test", "sanity", "--color", "no"]
        code = run([*argv, "--python", RUNNING, *sys.argv[1:]], cwd=collection, extra=environment)
        for version in other_pythons():
            tests = ["--test", "compile", "--test", "import"]
            code |= run([*argv, "--python", version, *tests], cwd=collection, extra=environment)
    print("sanity:", "FAILED" if code else "ok")
    return code


if __name__ == "__main__":
    sys.exit(main())
