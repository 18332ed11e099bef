"""``make rehearsal``: an engine, Molecule in it, and nothing of it left behind but images."""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import docker

from .. import ROOT
from . import FOLDER, Missing
from .engine import any_engine
from .fleet import Fleet


def run(arguments):
    """Run ``molecule test`` on all scenarios, or on those that ``arguments`` name. :returns: its exit code. :raises Missing:"""
    path = "%s:/usr/sbin:/sbin" % os.environ.get("PATH", os.defpath)
    missing = [name for name in ("ssh", "ssh-keygen", "ip") if not shutil.which(name, path=path)]
    if missing:
        raise Missing("Not installed here: %s (Debian: openssh-client iproute2)." % ", ".join(missing))
    chosen = arguments if {"-s", "--scenario-name"} & set(arguments) else ["--all", *arguments]
    programs = str(Path(sys.executable).parent)
    argv = [programs + "/molecule", "test", "--no-command-borders", *chosen]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Molecule notes there what it has made, which an interrupted run leaves behind.
    scratch = FOLDER / "ansible"
    shutil.rmtree(scratch, ignore_errors=True)
    with any_engine() as address:
        # The Makefile keeps the temporary files of the local host's modules in the checkout; the containers have no such folder.
        inherited = {name: value for name, value in os.environ.items() if name not in ("ANSIBLE_REMOTE_TMP", "ANSIBLE_ASYNC_DIR")}
        env = {**inherited, "DOCKER_HOST": address, "PATH": "%s:%s" % (programs, path),
               "PYTHONPATH": str(ROOT), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
               "ANSIBLE_HOME": str(scratch)}  # fmt: skip
        try:
            return subprocess.run(argv, cwd=ROOT, env=env, check=False).returncode
        finally:
            # Molecule has done so, unless it was interrupted.
            Fleet(docker.DockerClient(base_url=address, timeout=60)).down()
            for folder in (scratch, FOLDER / "reports"):
                shutil.rmtree(folder, ignore_errors=True)
