"""What the developer scripts share: where things are, and starting a program of the environment."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Not resolved: the `python` of an environment is a link, and its folder is what counts.
BIN = Path(sys.executable).parent
CACHE = ROOT / ".cache"


def run(argv: list[str], cwd: Path = ROOT, quiet: bool = False, extra: dict[str, str] | None = None) -> int:
    """Starts a program of the environment, without a terminal to ask at, and returns its exit code.

    With ``quiet`` its output is shown only when it fails. ``extra`` is added to our environment variables.
    """
    env = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}", **(extra or {})}
    program = shutil.which(argv[0], path=env["PATH"]) or argv[0]
    sys.stdout.flush()
    done = subprocess.run(
        [program, *argv[1:]],
        cwd=cwd,
        env=env,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
    )
    if quiet and done.returncode:
        print(done.stdout, end="", flush=True)
    return done.returncode


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder of our own, gone afterwards; HOME and Ansible's folders point into it."""
    with tempfile.TemporaryDirectory(prefix="letta-recovery-") as name:
        folder = Path(name).resolve()
        (folder / "home").mkdir()
        (folder / "ansible.cfg").touch()
        yield folder


def at_home(folder: Path) -> dict[str, str]:
    """Environment variables that keep Ansible and its tools out of the user's own home and settings."""
    return {
        "HOME": str(folder / "home"),
        "ANSIBLE_HOME": str(folder / "home" / ".ansible"),
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(folder),
        "ANSIBLE_LOCAL_TEMP": str(folder / "home" / "tmp"),
        # For Ansible ~ is the home that the system knows, whatever HOME says; an account may have none.
        "ANSIBLE_REMOTE_TMP": str(folder / "home" / "remote"),
        "ANSIBLE_ASYNC_DIR": str(folder / "home" / "async"),
    }


def build(folder: Path) -> Path:
    """Builds the collection into ``folder`` and returns the tarball; ends the script where that fails."""
    argv = ["ansible-galaxy", "collection", "build", "--force", "--output-path", str(folder), str(ROOT)]
    if run(argv, quiet=True, extra=at_home(folder)):
        sys.exit("The collection could not be built.")
    (tarball,) = folder.glob("letta_ops-recovery-*.tar.gz")
    return tarball


def install(tarball: Path, folder: Path) -> Path:
    """Installs the tarball below ``folder`` without asking any server and returns the collection's folder."""
    argv = ["ansible-galaxy", "collection", "install", "--offline", "--no-deps", "--force", "-p", str(folder), str(tarball)]
    if run(argv, quiet=True, extra=at_home(folder)):
        sys.exit("The built collection could not be installed.")
    return folder / "ansible_collections" / "letta_ops" / "recovery"


def members(tarball: Path) -> list[str]:
    """The names of the files in the tarball."""
    with tarfile.open(tarball) as archive:
        return [member.name for member in archive.getmembers() if not member.isdir()]
