"""``make rehearsal``: an engine, Molecule in it, and nothing of it left behind but images."""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import docker

from .. import ROOT
from . import FOLDER, Missing, budget, images
from .engine import any_engine
from .fleet import Fleet

SCENARIOS = ROOT / "extensions" / "molecule"
# Makes the containers of all the others, and is none itself.
MAKER = "default"


def run(names=(), minutes=None, arguments=()):
    """Run the scenarios ``names``, else all that there are, one by one in the same containers, and say at the end what became of them.

    :param minutes: begin a scenario only when it ends within so many minutes from now. What this machine lacks is then said, and is no
        failure: nobody is there who could install it.
    :param arguments: further ones for ``molecule test``. :returns: the exit code. :raises Missing:
    """
    began, within = time.monotonic(), None if minutes is None else 60 * minutes
    names = names or budget.in_turn(scenarios(), date.today().toordinal())
    try:
        none = dict.fromkeys(names, (budget.LEFT, 0))
        done = none if budget.too_short(names, within) else _run(names, within, began, arguments)
    except Missing as exc:
        if minutes is None:
            raise
        print("rehearsal: nothing was run. %s" % exc)
        return 0
    print(budget.summary(done, time.monotonic() - began, within), flush=True)
    return budget.code_of(done)


def scenarios():
    """Return the names of all scenarios but the one that makes the containers."""
    return sorted(path.parent.name for path in SCENARIOS.glob("*/molecule.yml") if path.parent.name != MAKER)


def _run(names, within, began, arguments):
    path = "%s:/usr/sbin:/sbin" % os.environ.get("PATH", os.defpath)
    missing = [name for name in ("ssh", "ssh-keygen", "ip") if not shutil.which(name, path=path)]
    if missing:
        raise Missing("Not installed here: %s (Debian: openssh-client iproute2)." % ", ".join(missing))
    programs = str(Path(sys.executable).parent)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Molecule notes there what it has made, for the next scenario; an interrupted run leaves it behind.
    scratch = FOLDER / "ansible"
    shutil.rmtree(scratch, ignore_errors=True)
    with any_engine() as address:
        # The Makefile keeps the temporary files of the local host's modules in the checkout; the containers have no such folder.
        inherited = {name: value for name, value in os.environ.items() if name not in ("ANSIBLE_REMOTE_TMP", "ANSIBLE_ASYNC_DIR")}
        env = {**inherited, "DOCKER_HOST": address, "PATH": "%s:%s" % (programs, path),
               "PYTHONPATH": str(ROOT), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
               "ANSIBLE_HOME": str(scratch)}  # fmt: skip

        def molecule(*argv):
            return subprocess.run([programs + "/molecule", *argv], cwd=ROOT, env=env, check=False).returncode

        try:
            # What cannot be had for them is said here in one sentence; later it would be lost in Ansible's output.
            images.build(docker.DockerClient(base_url=address, timeout=900))
            if molecule("create", "--no-command-borders", "-s", MAKER):
                sys.exit("rehearsal: nothing was run, the containers could not be made: see above.")
            # They are used by all scenarios, and removed below.
            test = ["test", "--no-command-borders", "--destroy=never", *arguments]
            return budget.run(names, lambda name: molecule(*test, "-s", name), within, began)
        finally:
            Fleet(docker.DockerClient(base_url=address, timeout=60)).down()
            for folder in (scratch, FOLDER / "reports"):
                shutil.rmtree(folder, ignore_errors=True)
