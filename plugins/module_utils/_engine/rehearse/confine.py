# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network of a rehearsal's own: what runs in it sees loopback and nothing else.

So nothing of it can reach production, a model provider or a callback, and its ports are nobody else's. A user namespace goes with it: no
privilege is needed, and PostgreSQL, which refuses root, runs as whoever rehearses under another number.
"""
from __future__ import annotations

import glob
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time

from ..errors import RecoveryError
from ..processes import ALIVE, identity, start_time, state_of

# Any number but 0 that PostgreSQL's programs do not refuse.
SERVER_USER = 1000
READY_SECONDS = 10
END_SECONDS = 10
# Brings loopback up (SIOCSIFFLAGS, IFF_UP), says so, and keeps the network alive until the folder is gone or its time is over.
_HOLDER = """
import fcntl, os, socket, struct, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    fcntl.ioctl(probe, 0x8914, struct.pack("16sh22x", b"lo", 1))
print("ready", flush=True)
os.close(1)
end = time.monotonic() + float(sys.argv[2])
while os.path.isdir(sys.argv[1]) and time.monotonic() < end:
    time.sleep(2)
"""


def begin(folder, lifetime):
    """Make the network; returns the :func:`~..processes.identity` of the process that holds it.

    :param folder: the network ends when this folder is gone. :param lifetime: or after so many seconds.
    :raises RecoveryError: ``preflight`` when this host allows no such network.
    """
    missing = [name for name in ("unshare", "nsenter") if not shutil.which(name)]
    if missing:
        raise _not_here("there is no %s (package util-linux)" % " and no ".join(missing))
    holder = [sys.executable, "-I", "-c", _HOLDER, folder, str(lifetime)]
    as_root = os.geteuid() == 0
    # Root's powers come with the second program: the first one was started before its number meant anything.
    argv = ["unshare", "--user", "--net", "--", "sh", "-c", 'read -r _ && exec "$@"', "sh", *holder] if as_root else [
        "unshare", "--user", "--map-root-user", "--net", "--", *holder]  # fmt: skip
    heard, told = os.pipe()
    try:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=told, stderr=told, cwd="/", start_new_session=True)
        os.close(told)
        try:
            with process.stdin as listening:  # type: ignore[union-attr]
                if as_root:
                    _map_everybody(process, listening)
        except OSError as exc:
            process.kill()
            process.wait()
            raise _not_here(str(exc)) from None
        readable, _writable, _broken = select.select([heard], [], [], READY_SECONDS)
        said = os.read(heard, 300).decode("utf-8", "replace").strip() if readable else "no answer in %d s" % READY_SECONDS
    finally:
        os.close(heard)
    if said != "ready":
        process.kill()
        process.wait()
        raise _not_here(said.splitlines()[-1] if said else "unshare ended without a word")
    return identity(process.pid)


def _map_everybody(process, listening):
    """Give a namespace that root made all users and groups that are known here, and let its first process go on.

    Ansible's files belong to whoever logged in: root without them could not read these.
    """
    mine, deadline = os.readlink("/proc/self/ns/user"), time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            there = os.readlink("/proc/%d/ns/user" % process.pid)
        except OSError:
            return
        if there == mine:
            time.sleep(0.005)
            continue
        for kind in ("uid_map", "gid_map"):
            with open("/proc/self/" + kind, encoding="ascii") as known:
                ranges = [line.split() for line in known]
            with open("/proc/%d/%s" % (process.pid, kind), "w", encoding="ascii") as given:
                given.write("".join("%s %s %s\n" % (first, first, count) for first, _outside, count in ranges))
        listening.write(b"go on\n")
        return


def _not_here(why):
    return RecoveryError(
        "preflight",
        "this host allows no network of a rehearsal's own: %s" % why,
        now="nothing was started",
        next_step="rehearse as root or on another host (letta_rehearse_host); or, where nothing can go wrong on this host's network,"
        " set letta_rehearse_isolation to none",
    )


def inside(holder, argv, as_server=False):
    """Return the arguments that run ``argv`` in the network of ``holder`` (None: in ours).

    :param as_server: under a number that is not root's. The files it makes are still ours.
    """
    lead = ["nsenter", "--target", str(holder["pid"]), "--user", "--net", "--preserve-credentials", "--"] if holder else []
    if as_server and (holder or os.geteuid() == 0):
        lead += ["unshare", "--user", "--map-user=%d" % SERVER_USER, "--map-group=%d" % SERVER_USER, "--"]
    return lead + list(argv)


def interpreter(path, holder):
    """Write a program that is this Python inside the network of ``holder``; Ansible's modules are run by it."""
    there = shlex.join([sys.executable])
    lines = ["#!/bin/sh"]
    if holder:
        # What runs inside starts it again, for background tasks; a user namespace cannot be entered twice.
        lines.append("[ \"$(readlink /proc/self/ns/net)\" = %s ] && exec %s \"$@\"" % (shlex.quote(_network(holder["pid"])), there))
    lines.append('exec %s "$@"' % shlex.join(inside(holder, [sys.executable])))
    with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o700)) as out:
        out.write("\n".join(lines) + "\n")
    return path


def members(holder):
    """Return the ids of the processes in the network of ``holder``, itself included; of a dead one nothing."""
    if state_of(holder) != ALIVE:
        return []
    mine = _network(holder["pid"])
    if not mine or mine == _network("self"):
        return []
    return [int(path.split("/")[2]) for path in glob.glob("/proc/[0-9]*") if _network(path.split("/")[2]) == mine]


def _network(pid):
    try:
        return os.readlink("/proc/%s/ns/net" % pid)
    except OSError:
        return ""


def end(holder, others=()):
    """Kill everything in the network of ``holder``, and ``others`` (identities) that live; waits until they are gone.

    :returns: how many there were.
    """
    victims = {pid: start_time(pid) for pid in members(holder)} if holder else {}
    victims.update({who["pid"]: who["started"] for who in others if state_of(who) == ALIVE})
    victims.pop(os.getpid(), None)
    for pid, started in victims.items():
        # Between looking and killing, a number may have become somebody else's.
        if start_time(pid) == started:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline and any(start_time(pid) == started for pid, started in victims.items()):
        time.sleep(0.02)
    return len(victims)
