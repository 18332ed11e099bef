# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running PostgreSQL's client tools: clean environment, no secret in what comes out, no orphan left behind."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import tempfile
import threading
from contextlib import contextmanager, suppress

KEPT_STDERR = 4000
_PR_SET_PDEATHSIG = 1
try:
    _PRCTL = ctypes.CDLL(None, use_errno=True).prctl
except (OSError, AttributeError):  # not Linux: no such call
    _PRCTL = None  # type: ignore[assignment]


class ToolFailed(RuntimeError):
    """A client tool ended with an error or ran out of time.

    :ivar tool: its name (``pg_restore``).
    :ivar returncode: its exit code, negative for a signal, None for a time-out.
    :ivar stderr: the end of what it said, without secrets.
    """

    def __init__(self, tool, returncode, stderr):
        self.tool = tool
        self.returncode = returncode
        self.stderr = stderr
        last = stderr.strip().splitlines()[-1] if stderr.strip() else "it said nothing"
        super().__init__("%s failed (exit %s): %s" % (tool, returncode, last))


def scrub(text, server=None):
    """Return ``text`` without the server's password and without the password of any URI in it."""
    if server is not None and server.password:
        text = text.replace(server.password, "***")
    text = re.sub(r"(\w://[^\s:/@]*:)[^\s@]*@", r"\1***@", text)
    return re.sub(r"(password\s*=\s*)('[^']*'|[^\s'&]+)", r"\1***", text, flags=re.IGNORECASE)


def clean_environment(server=None, extra=None):
    """Return the whole environment a tool gets: PATH, HOME, English messages, the server, ``extra``.

    Nothing else is inherited: a stray PGOPTIONS or PGSERVICE of the caller must not redirect a restore.
    """
    env = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
    }
    for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"):
        if os.environ.get(name):
            env[name] = os.environ[name]
    if server is not None:
        env.update(server.environment())
    env.update(extra or {})
    return env


def _prepare_child(parent):
    """Return what the child does before exec: private files, and death with its parent (Linux)."""

    def prepare():
        os.umask(0o077)
        if _PRCTL is not None:
            _PRCTL(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
            if os.getppid() != parent:  # the parent died before the call above
                os._exit(1)

    return prepare


@contextmanager
def sigterm_unwinds():
    """Turn SIGTERM into SystemExit while a tool runs, so that ``finally`` blocks end the tool too."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def leave(signum, _frame):
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _kill_group(process):
    """End a child and all it started: politely, then for good."""
    for signum, patience in ((signal.SIGTERM, 3), (signal.SIGKILL, 10)):
        with suppress(ProcessLookupError, PermissionError):  # then the group is gone already
            os.killpg(process.pid, signum)
        try:
            process.wait(patience)
            return
        except subprocess.TimeoutExpired:
            continue


def _start(argv, server, env, stdout, stderr, stdin=subprocess.DEVNULL):
    """Start a tool in a process group of its own, with nothing of the caller's environment but what it needs."""
    return subprocess.Popen(
        [str(part) for part in argv],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=clean_environment(server, env),
        start_new_session=True,
        preexec_fn=_prepare_child(os.getpid()),  # noqa: PLW1509 (umask and one system call: nothing that takes a lock)
    )


@contextmanager
def running_tool(
    argv, server=None, env=None, stdout=subprocess.PIPE, check=True, stdin=subprocess.DEVNULL, forgiven=None
):
    """Run a tool for the time of the block; yields its Popen (binary ``stdout``).

    :param stdin: ``subprocess.PIPE`` for a binary ``stdin``, which the block closes.

    Leaving the block early (an exception, SIGTERM, or a ``break`` of whoever reads) ends the tool's
    whole process group. When the block ends by itself, the tool is waited for.

    :param env: further environment variables.
    :param check: raise when the tool ended with an error by itself.
    :param forgiven: as for :func:`run_tool`.
    :raises ToolFailed: with its scrubbed standard error.
    """
    with tempfile.TemporaryFile() as errors, sigterm_unwinds():
        process = _start(argv, server, env, stdout, errors, stdin)
        try:
            yield process
            process.wait()
        except BaseException:
            _kill_group(process)
            raise
        finally:
            if process.stdout:
                process.stdout.close()
        if check and process.returncode and not _is_forgiven(process, errors, forgiven):
            raise ToolFailed(os.path.basename(str(argv[0])), process.returncode, read_errors(errors, server))


def read_errors(stream, server=None):
    """Return the end of a tool's standard error, scrubbed."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - KEPT_STDERR))
    return scrub(stream.read().decode("utf-8", "replace"), server)


def _is_forgiven(process, errors, forgiven):
    """Tell whether ``forgiven`` takes all that the tool said for no failure; one that a signal ended has failed."""
    if forgiven is None or process.returncode < 0:
        return False
    errors.seek(0)
    return forgiven(errors.read().decode("utf-8", "replace"))


def run_tool(argv, server=None, timeout=None, env=None, accepted=(0,), forgiven=None):
    """Run a tool to its end.

    :param argv: argument list; the program as an absolute path.
    :param server: whose environment it gets, and whose password is scrubbed.
    :param timeout: seconds, None for no limit.
    :param accepted: exit statuses that are results, not failures.
    :param forgiven: function that is given all that the tool said on any other status, and tells that it is no failure.
    :returns: CompletedProcess with text ``stdout`` and scrubbed ``stderr``.
    :raises ToolFailed: on another exit status or when the time is up.
    """
    tool = os.path.basename(str(argv[0]))
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors, sigterm_unwinds():
        process = _start(argv, server, env, output, errors)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            _kill_group(process)
            said = read_errors(errors, server)
            raise ToolFailed(tool, None, "%s\n%s took longer than %s s and was stopped" % (said, tool, timeout)) from None
        except BaseException:
            _kill_group(process)
            raise
        said = read_errors(errors, server)
        if process.returncode not in accepted and not _is_forgiven(process, errors, forgiven):
            raise ToolFailed(tool, process.returncode, said)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
        return subprocess.CompletedProcess(argv, process.returncode, text, said)
