"""An operation as Ansible runs it: a controller process in a process group of its own, and a process for each module call.

Both are forks of this one, so that no Python has to start. A hook in the journal stops the module at a chosen step until the kill is done.
"""
from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import tempfile
import time
import traceback

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes as identities
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import journal as journals

from . import processes

FAILED = 2  # exit code of a controller whose module failed


class ModuleFailed(Exception):
    """A module call did not end well, or was killed."""


class Hook:
    """Stands in the journal for the variable that kills a run at a step: tells the runner that a moment has come, and waits.

    :param moment: ``<step>:<begun|done>``, empty for none. :param seen: file that every moment is written to.
    """

    def __init__(self, moment="", seen=None):
        self.moment, self.seen, self._come = moment, seen, False
        self.told, self._tell = os.pipe()
        self._wait, self._go = os.pipe()

    def __call__(self, moment, _controller):
        if self.seen:
            with open(self.seen, "a", encoding="ascii") as stream:
                stream.write(moment + "\n")
        if moment == self.moment and not self._come:
            self._come = True
            os.write(self._tell, b"!")
            os.read(self._wait, 1)

    def go(self):
        """Let whoever waits at the moment go on."""
        os.write(self._go, b"!" * 64)  # the rescue may come by the same moment

    def close(self):
        """Close the pipes."""
        for end in (self.told, self._tell, self._wait, self._go):
            os.close(end)


class Run:
    """One run of an operation, from now on under way."""

    def __init__(self, operation, scene, hook):
        self.hook, self.began, self.code = hook, time.monotonic(), None
        self.said = scene.folder / "said"
        self.pid = os.fork()
        if self.pid == 0:
            _end_with(_controller, operation, scene, hook)

    def ended(self):
        """Tell whether the controller has ended; its exit code is in ``code`` then, negative for a signal."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def wait(self, patience):
        """Wait for the controller. Returns whether it has ended."""
        deadline = time.monotonic() + patience
        while not self.ended() and time.monotonic() < deadline:
            time.sleep(0.002)
        return self.ended()

    def comes_to(self, seconds):
        """Wait for a moment of time, or for that of the hook (``seconds`` None). Returns whether the operation came so far."""
        deadline = self.began + (60 if seconds is None else seconds)
        while not self.ended():
            left = deadline - time.monotonic()
            if left <= 0:
                return seconds is not None
            if select.select([self.hook.told], [], [], min(left, 0.02))[0]:
                return True
        return False

    def module(self):
        """Return the process id of the module under way; None when the operation ended."""
        while not self.ended():
            found = [pid for pid, state in processes.children(self.pid).items() if state != "Z"]
            if found:
                return found[0]
        return None

    def words(self):
        """Return the end of what controller and modules said."""
        return self.said.read_text(encoding="utf-8", errors="replace")[-1500:] if self.said.exists() else ""


def strike(run, victim, stand):
    """Kill the victim. Returns False when there was none any more."""
    if victim == "postgres":
        stand.crash()
        return True
    target = run.module() if victim == "module" else run.pid
    if target is None or run.ended():
        return False
    try:
        (os.killpg if victim == "group" else os.kill)(target, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _end_with(function, *arguments):
    """Do the work of a forked process and end it: nothing of the runner's own is run in it."""
    code = 70
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        code = function(*arguments)
    except BaseException as error:  # noqa: BLE001 - the runner reads it
        traceback.print_exc()
        print("failure class: %s" % getattr(error, "failure_class", ""), file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)


def _controller(operation, scene, hook):
    """Call the modules of an operation one after the other; what fails is put right as by the rescue of a role. Returns the exit code."""
    os.setsid()
    with open(scene.folder / "said", "a", encoding="utf-8") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    journals._crash_if_asked = hook
    os.environ["TMPDIR"] = tempfile.tempdir = str(scene.temporary)
    who, facts = identities.identity(), {}
    try:
        for part in operation.parts:
            facts.update(_module(part, scene, who, facts) or {})
            if facts.get("over"):
                return 0
    except ModuleFailed:
        _module(operation.rescue, scene, who, facts)
        return FAILED
    return 0


def _module(part, scene, who, facts):
    """Run a part in a process of its own, as Ansible runs a module. Returns what it returned."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _end_with(_answer, part, (scene, who, facts), writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        answer = stream.read()
    _pid, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) or not answer:
        raise ModuleFailed
    return pickle.loads(answer)


def _answer(part, arguments, writing):
    with os.fdopen(writing, "wb") as stream:
        stream.write(pickle.dumps(part(*arguments)))
    return 0
