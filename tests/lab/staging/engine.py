"""The Docker engine that the containers live in: the machine's own where it answers, else one that is started for the while."""
from __future__ import annotations

import contextlib
import hashlib
import os

import docker
import requests

from .. import places
from ..engine import DockerEngine, unavailable
from . import FOLDER, Missing


def running():
    """Return a client of the engine of ``DOCKER_HOST`` or of the usual socket. :raises Missing: when none answers."""
    client = None
    with contextlib.suppress(docker.errors.DockerException, requests.exceptions.RequestException, OSError):
        client = docker.from_env(timeout=900)
        client.ping()
        return client
    raise Missing("No Docker engine answers here: `make rehearsal` starts one for itself.")


@contextlib.contextmanager
def any_engine():
    """Have an engine for a while and yield its address, as ``DOCKER_HOST`` takes it.

    One that runs is used and left running. Else an engine of this checkout is started, and stopped afterwards; its images stay, below
    ``FOLDER``. :raises Missing: when there can be none.
    """
    with contextlib.suppress(Missing):
        running()
        yield os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        return
    why = unavailable()
    if why:
        raise Missing("No Docker engine answers here, and none can be started: %s." % why)
    FOLDER.mkdir(parents=True, exist_ok=True)
    # Paths of sockets are short.
    home = places.shared_folder() / ("engine-%s" % hashlib.sha256(str(FOLDER.resolve()).encode()).hexdigest()[:8])
    with places.locked(FOLDER / "engine.lock"):
        home.mkdir(mode=0o700, exist_ok=True)
        engine = DockerEngine(home, FOLDER / "engine")
        try:
            try:
                engine.start(timeout=60)
            except RuntimeError as exc:
                raise Missing("No Docker engine answers here, and none can be started: %s." % " ".join(str(exc).split())[:600]) from None
            yield engine.address
        finally:
            engine.destroy()
