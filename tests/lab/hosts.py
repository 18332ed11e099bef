"""Hosts on one wire: network namespaces of this machine, each with its own sshd, its own 127.0.0.1 and an ordinary user who may sudo.

What a host is made of lies below one folder and in namespaces named after this process: files of /etc that differ (users, sudoers)
are mounted over the machine's own in the sshd's mount namespace alone. What a killed process left is removed by the next one.
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
import shutil
import signal as signals
import subprocess
import sys
from pathlib import Path

from . import places

USER, USER_ID = "ops", 4242
SSH_PORT = 22  # of a host of its own
CONTROLLER = "controller"
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_NAME = re.compile(r"lops(\d+)-")
_SSHD = """
Port {port}
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
AllowUsers {user}
UsePAM no
PasswordAuthentication no
StrictModes no
PidFile none
"""
_BOOT = """
set -e
for name in passwd shadow group sudoers; do mount --bind {folder}/etc/$name /etc/$name; done
exec {sshd} -D -e -f {folder}/sshd_config
"""


def why_not():
    """Return why there can be no such hosts here, in one sentence; empty when there can."""
    if not places.am_root():
        return "network namespaces need root"
    missing = [name for name in ("ip", "sshd", "ssh", "sudo", "ssh-keygen") if not _program(name)]
    if missing:
        return "not installed: %s (Debian: iproute2 openssh-server openssh-client sudo)" % ", ".join(missing)
    name = "lops%d-try" % os.getpid()
    if run("ip", "netns", "add", name, check=False).returncode:
        return "this container may make no network namespaces"
    trials = {"bridges": ("ip", "-n", name, "link", "add", "wire", "type", "bridge"),
              "veth pairs": ("ip", "-n", name, "link", "add", "one", "type", "veth", "peer", "name", "other"),
              "mounts": ("ip", "netns", "exec", name, "mount", "--bind", "/etc/passwd", "/etc/passwd")}  # fmt: skip
    refused = [what for what, argv in trials.items() if run(*argv, check=False).returncode]
    run("ip", "netns", "del", name)
    return "this container may make no %s" % " and no ".join(refused) if refused else ""


class Hosts:
    """``with Hosts(["letta1", "db"]) as hosts: ...``; ``hosts.address["db"]`` and ``hosts.variables("db")`` are what an inventory needs."""

    def __init__(self, names):
        self.names = list(names)
        # A short path: that of a socket below it has at most 108 bytes.
        self.folder = places.shared_folder("hosts") / ("hosts-%d-%s" % (os.getpid(), secrets.token_hex(3)))
        self.address, self._processes = {}, []

    def __enter__(self):
        reap()
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc):
        self.close()

    def variables(self, name):
        """Return the connection variables of a host."""
        options = "-F none -o UserKnownHostsFile=%s -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes" % (self.folder / "known_hosts")
        return {
            "ansible_host": self.address[name], "ansible_user": USER, "ansible_become": True, "ansible_python_interpreter": sys.executable,
            "ansible_ssh_private_key_file": str(self.folder / "key"), "ansible_ssh_common_args": options,
            "ansible_control_path_dir": str(self.folder / "cp"), "ansible_remote_tmp": str(self.folder / name / "home" / "tmp"),
            "ansible_async_dir": str(self.folder / name / "async"),
        }  # fmt: skip

    @contextlib.contextmanager
    def inside(self, name):
        """Be on a host's network for a while, see :func:`inside`."""
        with inside(name):
            yield

    def run(self, name, argv):
        """Run a command on a host as somebody at its console would; returns its exit code."""
        with self.inside(name):
            return subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, timeout=60).returncode

    def lose(self, name):
        """End a host's sshd with all its sessions: from now on it cannot be reached, while whatever else runs on it goes on."""
        for inmate in run("ip", "netns", "pids", namespace(name)).stdout.split():
            with contextlib.suppress(OSError):
                if Path("/proc", inmate, "comm").read_text(encoding="utf-8").startswith("sshd"):
                    os.kill(int(inmate), signals.SIGKILL)

    def close(self):
        """End everything on these hosts and remove them."""
        for socket in (self.folder / "cp").glob("*"):
            run("ssh", "-O", "exit", "-o", "ControlPath=%s" % socket, "nobody", check=False)
        _remove(os.getpid())
        for process in self._processes:
            process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- inside -------------------------------------------------------------------------------------

    def _build(self):
        self.folder.mkdir()
        (self.folder / "cp").mkdir(mode=0o700)
        self.folder.chmod(0o755)
        net = _free_net()
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "key"))
        switch = namespace("switch")
        run("ip", "netns", "add", switch)
        run("ip", "-n", switch, "link", "add", "wire", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "wire", "up")
        self._plug(CONTROLLER, None, "%s.1" % net)
        known = []
        for number, name in enumerate(self.names, 11):
            self.address[name] = "%s.%d" % (net, number)
            run("ip", "netns", "add", namespace(name))
            self._plug(name, namespace(name), self.address[name])
            known.append("%s %s" % (self.address[name], self._boot(name)))
        (self.folder / "known_hosts").write_text("".join(known), encoding="ascii")

    def _plug(self, name, there, address):
        """Lay a cable from the switch to a host, or to the machine itself (the controller)."""
        outer, inner = "%sp" % _cable(name), "%sh" % _cable(name)
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
        run("ip", "link", "set", outer, "netns", namespace("switch"))
        run("ip", "-n", namespace("switch"), "link", "set", outer, "master", "wire", "up")
        here = ["ip"]
        if there:
            run("ip", "link", "set", inner, "netns", there)
            here = ["ip", "-n", there]
            run(*here, "link", "set", "lo", "up")
        run(*here, "addr", "add", address + "/24", "dev", inner)
        run(*here, "link", "set", inner, "up")

    def _boot(self, name):
        """Start a host's sshd; returns its public host key."""
        folder = self.folder / name
        (folder / "etc").mkdir(parents=True)
        (folder / "home").mkdir()
        os.chown(folder / "home", USER_ID, USER_ID)
        lines = {"passwd": "%s:x:%d:%d::%s:/bin/sh" % (USER, USER_ID, USER_ID, folder / "home"),
                 "shadow": "%s:*:20000:0:99999:7:::" % USER, "group": "%s:x:%d:" % (USER, USER_ID)}  # fmt: skip
        for file, line in lines.items():
            (folder / "etc" / file).write_text(Path("/etc", file).read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
        (folder / "etc" / "shadow").chmod(0o640)
        (folder / "etc" / "sudoers").write_text("root ALL=(ALL) ALL\n%s ALL=(ALL) NOPASSWD: ALL\n" % USER, encoding="ascii")
        (folder / "etc" / "sudoers").chmod(0o440)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host_key"))
        shutil.copy(self.folder / "key.pub", folder / "authorized_keys")
        text = _SSHD.format(port=SSH_PORT, address=self.address[name], folder=folder, user=USER)
        (folder / "sshd_config").write_text(text, encoding="ascii")
        os.makedirs("/run/sshd", exist_ok=True)
        boot = _BOOT.format(folder=folder, sshd=_program("sshd"))
        with open(folder / "sshd.log", "ab") as log:
            argv = ["ip", "netns", "exec", namespace(name), "sh", "-c", boot]
            self._processes.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True))
        if not places.wait_for(lambda: "Server listening" in (folder / "sshd.log").read_text(encoding="utf-8"), 15):
            raise RuntimeError("sshd of %s did not start:\n%s" % (name, (folder / "sshd.log").read_text(encoding="utf-8")[-2000:]))
        return " ".join((folder / "host_key.pub").read_text(encoding="ascii").split()[:2]) + "\n"


@contextlib.contextmanager
def inside(name):
    """Be in one of our namespaces for a while: connections of this thread and of threads it starts, and processes they start."""
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        with open("/run/netns/" + namespace(name), encoding="ascii") as there:
            _setns(there.fileno())
        yield
    finally:
        _setns(back)
        os.close(back)


def reap():
    """Remove what processes that are gone left behind."""
    listed = run("ip", "netns", "list", check=False).stdout.split()
    for pid in {int(match.group(1)) for match in map(_NAME.match, listed) if match}:
        if not Path("/proc/%d" % pid).exists():
            _remove(pid)
            for folder in places.shared_folder("hosts").glob("hosts-%d-*" % pid):
                shutil.rmtree(folder, ignore_errors=True)


def _remove(pid):
    """End every process on the hosts of a process, and the hosts. Cables go with their namespaces, some a little later."""
    run("ip", "link", "del", "%sh" % _cable(CONTROLLER, pid), check=False)
    for name in run("ip", "netns", "list", check=False).stdout.split():
        if not name.startswith("lops%d-" % pid):
            continue
        for inmate in run("ip", "netns", "pids", name, check=False).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(inmate), signals.SIGKILL)
        run("ip", "netns", "del", name, check=False)


def namespace(name):
    """Return the name of a namespace of this process: what is named so is removed once the process is gone."""
    return "lops%d-%s" % (os.getpid(), name)


def _cable(name, pid=None):
    # At most 15 characters.
    return "lo%x%s" % (pid or os.getpid(), name[0] + name[-1])


def _free_net():
    """Return the first three numbers of a network that this machine has no address in."""
    taken = run("ip", "-4", "-o", "addr").stdout
    return next("10.213.%d" % number for number in range(os.getpid() % 200, 255) if "10.213.%d." % number not in taken)


def _setns(descriptor):
    if _LIBC.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _program(name):
    return shutil.which(name, path="%s:/usr/sbin:/sbin" % os.environ.get("PATH", "/usr/bin"))


def run(*argv, check=True):
    """Run a program; returns it with its output. :raises RuntimeError: with what it said, where it failed and ``check`` is set."""
    done = subprocess.run([_program(argv[0]) or argv[0], *argv[1:]], check=False, capture_output=True, text=True, timeout=30)
    if check and done.returncode:
        raise RuntimeError("%s: %s" % (" ".join(argv), (done.stdout + done.stderr).strip()))
    return done
