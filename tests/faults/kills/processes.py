"""The processes below this one: who they are, which of them are orphans, and when they have gone."""
from __future__ import annotations

import ctypes
import os
import time

_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """From now on, whatever below this process loses its parent becomes its child, so that nothing gets out of sight."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def children(parent):
    """Return {process id: state} of the children of a process."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name, encoding="ascii", errors="replace") as stream:
                    fields = stream.read().rpartition(")")[2].split()
            except OSError:
                continue  # it has gone in this instant
            if int(fields[1]) == parent:
                found[int(name)] = fields[0]
    return found


def strangers(known):
    """Return the ids of living children of this process but the known ones; the dead among them are buried."""
    living = []
    for pid, state in children(os.getpid()).items():
        if pid in known:
            continue
        if state == "Z":
            os.waitpid(pid, 0)
        else:
            living.append(pid)
    return living


def gone(known, patience):
    """Wait until nothing lives below this process but the known ones. Returns the command lines of what does after that many seconds."""
    deadline = time.monotonic() + patience
    while True:
        living = strangers(known)
        if not living or time.monotonic() > deadline:
            return [name_of(pid) for pid in living]
        time.sleep(0.03)  # a look at /proc is not free


def name_of(pid):
    """Return a process's command line, for people."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as stream:
            return "%d %s" % (pid, stream.read().replace(b"\0", b" ").decode("utf-8", "replace")[:120])
    except OSError:
        return str(pid)
