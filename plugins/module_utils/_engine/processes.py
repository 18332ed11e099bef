# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a process is, so that its death can be proven later.

A process id alone proves nothing: ids are reused, and another machine or container has
its own. A process is named by boot id, pid namespace, pid and start time together.
"""
from __future__ import annotations

import os
import socket

ALIVE, DEAD, UNKNOWN = "alive", "dead", "unknown"


def _read(path):
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def start_time(pid):
    """Return a process's start time in clock ticks since boot (field 22 of /proc/PID/stat), or None."""
    stat = _read("/proc/%d/stat" % pid)
    if not stat:
        return None
    fields = stat.rpartition(")")[2].split()
    if fields[0] == "Z":  # a zombie does nothing any more
        return None
    return int(fields[19])


def pid_namespace():
    """Return the identity of this process's pid namespace, or an empty string."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def identity(pid=None):
    """Return the identity of a process of this machine: host, machine, boot, pidns, pid, started."""
    pid = pid or os.getpid()
    return {
        "host": socket.gethostname(),
        "machine": _read("/etc/machine-id"),
        "boot": _read("/proc/sys/kernel/random/boot_id"),
        "pidns": pid_namespace(),
        "pid": pid,
        "started": start_time(pid),
    }


def state_of(who):
    """Tell from here whether a process named by :func:`identity` lives.

    :returns: ``alive``, ``dead``, or ``unknown`` when it ran on another machine or in another
        pid namespace, where this process cannot look.
    """
    here = identity()
    if not who or not who.get("boot") or not who.get("pid"):
        return UNKNOWN
    if who["boot"] != here["boot"]:
        # The same machine under another boot id has been restarted since: nothing of then lives.
        return DEAD if who.get("machine") and who["machine"] == here["machine"] else UNKNOWN
    if who.get("pidns") != here["pidns"]:
        return UNKNOWN
    started = start_time(who["pid"])
    return ALIVE if started is not None and started == who.get("started") else DEAD
