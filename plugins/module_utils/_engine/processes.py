# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a process is, so that its death can be proven later.

A process id alone proves nothing: ids are reused, and another machine or container has
its own. A process is named by boot id, pid namespace, pid and start time together.
"""
from __future__ import annotations

import os
import re
import resource
import socket

ALIVE, DEAD, UNKNOWN = "alive", "dead", "unknown"


def _read(path):
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return ""


ENDED = -1  # start time of a zombie: it does nothing any more


def start_time(pid):
    """Return a process's start time in clock ticks since boot (field 22 of /proc/PID/stat), None when it cannot be read, or ENDED."""
    stat = _read("/proc/%d/stat" % pid)
    if not stat:
        return None
    fields = stat.rpartition(")")[2].split()
    return ENDED if fields[0] == "Z" else int(fields[19])


def _is_gone(pid):
    """Tell whether the kernel knows no such process; /proc may hide those of others (hidepid)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it is there and is somebody else's
        pass
    return False


def peak_memory():
    """Return the peak memory of this process in bytes.

    Where /proc tells it. What getrusage tells counts the parent too, whose pages a child has for the moment between fork and exec.
    """
    found = re.search(r"^VmHWM:\s+(\d+) kB$", _read("/proc/self/status"), re.MULTILINE)
    return int(found.group(1)) << 10 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


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
    if not who or not who.get("boot") or not who.get("pid") or not here["boot"]:
        return UNKNOWN
    if who["boot"] != here["boot"]:
        # The same machine under another boot id has been restarted since: nothing of then lives. Clones of one
        # image may share a machine id, so the name must agree too.
        same = who.get("machine") and all(who.get(key) == here[key] for key in ("machine", "host"))
        return DEAD if same else UNKNOWN
    if who.get("pidns") != here["pidns"]:
        return UNKNOWN
    return _state_here(who["pid"], who.get("started"))


def _state_here(pid, started):
    """Tell whether the process with this number and start time lives in this process's own pid namespace."""
    found = start_time(pid)
    if found is None:
        return DEAD if _is_gone(pid) else UNKNOWN
    if found == ENDED:
        return DEAD
    if started is None:  # it may be the same process or another under its number
        return UNKNOWN
    return ALIVE if found == started else DEAD
