"""What a measurement costs the processor: it tells two ways apart where other work on the machine stretches the seconds.

Counted is what our process and its children use, and what the processes of a server use meanwhile.
"""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import psutil

# Of the programs alone: the kernel's share may not be counted by everybody.
EVENT = "instructions:u"


def processor_seconds(servers):
    """Return the seconds of processor time used so far, by us with our ended children and by servers with all of their own.

    :param servers: the process ids of each server's first process.
    """
    return sum(psutil.Process().cpu_times()[:4]) + sum(map(_of_server, servers))


def _of_server(pid):
    """A process has the seconds of its ended children; those of the living ones are added."""
    server = psutil.Process(pid)
    while True:
        before = server.cpu_times()
        living = 0.0
        for child in server.children():
            with suppress(psutil.NoSuchProcess):
                living += sum(child.cpu_times()[:2])
        # One that ended in between would count twice or not at all.
        if server.cpu_times()[2:4] == before[2:4]:
            return living + sum(before[:4])


def countable():
    """Return whether ``perf`` is there and counts instructions; many virtual machines have no counter for them."""
    if not shutil.which("perf"):
        return False
    done = subprocess.run(["perf", "stat", "-x", ",", "-e", EVENT, "true"], capture_output=True, text=True, check=False)
    return _count(done.stderr) is not None


@contextmanager
def measured(servers, count=False):
    """Yield an object that has ``seconds`` of processor time after the block, and ``instructions`` (None unless counted).

    :param servers: as of :func:`processor_seconds`. :param count: count instructions, too; see :func:`countable`.
    """
    spent = SimpleNamespace(seconds=None, instructions=None)
    children = [child.pid for server in servers for child in psutil.Process(server).children()]
    counter = _Counter([os.getpid(), *servers, *children]) if count else None
    before = processor_seconds(servers)
    yield spent
    spent.seconds = processor_seconds(servers) - before
    if counter:
        spent.instructions = counter.stop()


class _Counter:
    """``perf`` looking at running processes and all that they start, from its own word that it counts until it is stopped."""

    def __init__(self, pids):
        control, acknowledged = os.pipe(), os.pipe()
        self._say, self._hear = control[1], acknowledged[0]
        argv = ["perf", "stat", "-x", ",", "-e", EVENT, "-D", "-1", "--control", "fd:%d,%d" % (control[0], acknowledged[1])]
        argv += ["-p", ",".join(map(str, pids))]
        self._process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, pass_fds=(control[0], acknowledged[1]))
        os.close(control[0])
        os.close(acknowledged[1])
        self._command("enable")

    def stop(self):
        """Return what was counted, or None."""
        self._command("disable")
        self._process.send_signal(signal.SIGINT)
        printed = self._process.communicate()[1]
        os.close(self._say)
        os.close(self._hear)
        return _count(printed)

    def _command(self, word):
        with suppress(BrokenPipeError):  # perf has given up; then it has no number either
            os.write(self._say, word.encode() + b"\n")
            os.read(self._hear, 16)


def _count(printed):
    """Return the number that perf printed for the event, or None where it has none."""
    for line in printed.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[2] == EVENT:
            return float(fields[0]) if fields[0].replace(".", "", 1).isdigit() else None
    return None
