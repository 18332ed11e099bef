"""Makes and keeps `.venv`, the project's own Python environment, from the pinned lists in `requirements/`.

Usage: environment.py runtime|test      (run by any Python 3.11 or newer; the Makefile finds one)

`runtime` is what a restore needs; `test` is that and the linters and test tools. A second call with nothing changed
returns at once. The environment is made anew when it was made elsewhere (a moved checkout) or its Python is gone.
"""
from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
SETS = {"runtime": ("runtime",), "test": ("runtime", "lint", "test")}


def fingerprint(names: tuple[str, ...]) -> str:
    """What the environment depends on: where it lies and the content of the pinned lists."""
    digest = hashlib.sha256(str(ENVIRONMENT).encode())
    for name in names:
        digest.update((ROOT / "requirements" / f"{name}.txt").read_bytes())
    return digest.hexdigest()


def works() -> bool:
    """True when `.venv` was made for this very place and its Python still starts."""
    made_for = ENVIRONMENT / ".made-for"
    if not made_for.is_file() or made_for.read_text(encoding="utf-8") != str(ENVIRONMENT):
        return False
    try:
        return subprocess.run([ENVIRONMENT / "bin" / "python", "-c", "import pip"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def make() -> None:
    """Creates an empty environment in place of whatever was there."""
    print(f"Creating .venv with Python {sys.version.split()[0]}", flush=True)
    if ENVIRONMENT.exists():
        shutil.rmtree(ENVIRONMENT)
    # Not symlinks=False: a copied interpreter of a version manager does not find its own libraries.
    venv.EnvBuilder(with_pip=True, symlinks=True).create(ENVIRONMENT)
    (ENVIRONMENT / ".made-for").write_text(str(ENVIRONMENT), encoding="utf-8")


def install(names: tuple[str, ...]) -> int:
    """Installs the pinned lists; they name the whole closure, so that nothing is resolved here. Returns pip's exit code."""
    argv = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input", "--no-deps"]
    for name in names:
        argv += ["-r", str(ROOT / "requirements" / f"{name}.txt")]
    # A settings variable of another environment must not lead the packages elsewhere.
    environment = {name: value for name, value in os.environ.items() if name not in ("PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PYTHONPATH")}
    return subprocess.run(argv, env=environment, check=False).returncode


def main() -> int:
    """Brings `.venv` to the wanted set under a lock, so that two `make` at once do not mix."""
    if len(sys.argv) != 2 or sys.argv[1] not in SETS:
        print(__doc__, file=sys.stderr)
        return 2
    wanted = sys.argv[1]
    with open(ROOT / ".venv.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not works():
            make()
        for name in (wanted, "test"):
            stamp = ENVIRONMENT / f".installed-{name}"
            if stamp.is_file() and stamp.read_text(encoding="utf-8") == fingerprint(SETS[name]):
                return 0
        print(f"Installing the pinned packages ({', '.join(SETS[wanted])}) into .venv", flush=True)
        for stamp in ENVIRONMENT.glob(".installed-*"):
            stamp.unlink()
        if install(SETS[wanted]) != 0:
            print("The packages could not be installed. Live data was not touched; run the same command again.", file=sys.stderr)
            return 1
        (ENVIRONMENT / f".installed-{wanted}").write_text(fingerprint(SETS[wanted]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
