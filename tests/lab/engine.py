"""A private Docker engine, and machines in it: containers that share this machine's programs, so that no image has to be fetched."""
from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal as signals
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

from . import places

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "machine:1"
# Where Debian keeps the daemon is not on every PATH.
PROGRAMS = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
PYTHON = os.path.realpath(sys.executable)
# What a process in a machine needs to run our modules: the checkout and the packages of this environment.
PYTHONPATH = os.pathsep.join([str(ROOT / "playbooks" / "collections"), os.path.realpath(sysconfig.get_paths()["purelib"])])
SYSTEMD = "/usr/lib/systemd/systemd"


def unavailable():
    """Return in one sentence why no engine can be had here, or an empty text."""
    if not places.am_root():
        return "a Docker engine of its own needs root"
    if not shutil.which("dockerd", path=PROGRAMS):
        return "there is no dockerd here: install docker.io (tools/ci_packages.sh does)"
    return ""


class DockerEngine:
    """One engine: data, socket and process id below ``base_dir``; no bridge and no rule of the firewall.

    Containers are on the host's network, or on none.

    :param data: another folder for images and containers, which :meth:`destroy` leaves alone.
    """

    def __init__(self, base_dir, data=None):
        self.home = Path(base_dir).resolve()
        self.data = Path(data).resolve() if data else self.home / "data"
        self.address = "unix://%s" % (self.home / "docker.sock")
        self.log_path = self.home / "log"
        self._process = None
        self._client = None

    def start(self, timeout=30):
        """Start it with its one image; returns self. :raises RuntimeError: with the end of its log."""
        # The kernel ends it, and it its containers, when the tests themselves are killed.
        argv = ["setpriv", "--pdeathsig=TERM"] if shutil.which("setpriv") else []
        argv += ["dockerd", "--data-root=%s" % self.data, "--exec-root=%s" % (self.home / "exec"), "--host=%s" % self.address,
                "--pidfile=%s" % (self.home / "pid"), "--bridge=none", "--iptables=false", "--ip6tables=false", "--userland-proxy=false",
                "--shutdown-timeout=5"]  # fmt: skip
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env={**os.environ, "PATH": PROGRAMS}
            )
        if not places.wait_for(lambda: self._answers() or self._process.poll() is not None, timeout) or self._process.poll() is not None:
            self.stop()
            raise RuntimeError("dockerd did not start: %s" % self.log_path.read_text(encoding="utf-8").strip()[-400:])
        self.client.api.import_image_from_data(_skeleton(), repository=IMAGE.partition(":")[0], tag="1")
        return self

    @property
    def client(self):
        """A ``docker.DockerClient`` of this engine."""
        if self._client is None:
            import docker

            self._client = docker.DockerClient(base_url=self.address, timeout=30)
        return self._client

    def _answers(self):
        import docker
        import requests

        try:
            return (self.home / "docker.sock").exists() and docker.DockerClient(base_url=self.address, version="auto").ping()
        except (docker.errors.DockerException, requests.exceptions.RequestException):
            return False

    def create(self, name, command, folders=(), writable=(), **more):
        """Create a container that sees this machine's programs, our checkout, ``folders``, and ``writable`` ones it may write to."""
        seen = {"/usr", sys.base_prefix, str(ROOT), *PYTHONPATH.split(os.pathsep)[1:], *map(str, folders)}
        inside = sorted(path for path in seen if not any(path != other and path.startswith(other + "/") for other in seen))
        volumes = ["%s:%s:ro" % (path, path) for path in inside] + ["%s:%s:rw" % (path, path) for path in map(str, writable)]
        return self.client.containers.create(
            IMAGE, command, name=name, volumes=volumes + more.pop("volumes", []), **{"network_mode": "host", **more}
        )

    def boot(self, name, writable=(), timeout=30):
        """Start a machine that systemd has booted as its first process, without ``--privileged``; returns the container.

        :raises RuntimeError: when it does not come up.
        """
        if not os.path.exists(SYSTEMD):
            raise RuntimeError("there is no %s: install systemd" % SYSTEMD)
        container = self.create(
            name, [SYSTEMD, "--unit=basic.target"], writable=writable, network_mode="none", cgroupns="host",
            environment={"container": "docker"}, volumes=["/sys/fs/cgroup:/sys/fs/cgroup:rw"], security_opt=["seccomp=unconfined"],
            tmpfs={"/run": "", "/run/lock": "", "/tmp": ""}, stop_signal="SIGRTMIN+3",
        )  # fmt: skip
        container.start()
        ready = ["systemctl", "is-active", "--quiet", "basic.target"]
        if not places.wait_for(lambda: _runs(container) and container.exec_run(ready).exit_code == 0, timeout, 0.2):
            raise RuntimeError("systemd did not boot: %s" % container.logs().decode("utf-8", "replace")[-400:])
        return container

    def stop(self):
        """End all containers, then the daemon and its containerd, by their process ids; unmount what they left."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(Exception):
                for container in self.client.containers.list(all=True):
                    container.remove(force=True)
            self._process.send_signal(signals.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._end_orphans()
        with open("/proc/self/mounts", encoding="utf-8") as mounts:
            left = [line.split()[1] for line in mounts if line.split()[1].startswith((str(self.home) + "/", str(self.data) + "/"))]
        for path in sorted(left, reverse=True):
            subprocess.run(["umount", "--lazy", path], check=False)

    def destroy(self):
        """Stop it and remove its files."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def _end_orphans(self):
        """End what a daemon leaves that was killed: its containerd, whose socket all of them name, the shims, and their containers."""
        for found in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if str(self.home / "exec") in found.read_text(encoding="utf-8", errors="replace"):
                    pid = found.parent.name
                    children = (found.parent / "task" / pid / "children").read_text(encoding="ascii").split()
                    for victim in (*children, pid):
                        os.kill(int(victim), signals.SIGKILL)


def _runs(container):
    container.reload()
    return container.status == "running"


def _skeleton():
    """Return a tar archive of a root folder with nothing in it but what mounted programs need around them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        folders = "dev etc etc/systemd etc/systemd/system proc root run sys tmp usr var var/log var/tmp"
        for name in folders.split():
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
        for name in ("bin", "lib", "lib64", "sbin"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, "usr/" + name
            archive.addfile(link)
        for name, text in (("passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("group", "root:x:0:\n"), ("machine-id", "")):
            file = tarfile.TarInfo("etc/" + name)
            file.size = len(text)
            archive.addfile(file, io.BytesIO(text.encode()))
    return packed.getvalue()
