# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the operator's own commands: as argument lists, with a deadline, their output kept and cleaned."""
from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from dataclasses import dataclass

from ..errors import RecoveryError
from ..postgres.process import scrub

KEPT_OUTPUT = 4000
# Exit codes from here on come from the launcher (not found, not executable, killed), not from the command.
FIRST_FOREIGN_EXIT = 126


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    :param code: exit code; negative for a signal; None when it ran out of time and was ended.
    :param output: the end of its output, without secrets.
    """

    code: int | None
    output: str


def parse_command(value, name):
    """Return a command as an argument list.

    :param value: a list of arguments, or one string, split like a shell would and then run without one.
    :param name: the variable's name, for the message.
    :raises RecoveryError: ``usage`` when it is empty or cannot be split.
    """
    try:
        argv = shlex.split(value) if isinstance(value, str) else [str(part) for part in value or ()]
    except ValueError as exc:
        raise RecoveryError("usage", "%s cannot be split into arguments: %s" % (name, exc)) from None
    if any("\0" in part for part in argv):
        raise RecoveryError("usage", "%s holds a NUL byte, which no argument of a process can" % name, next_step="type it anew")
    if not argv or not argv[0]:
        raise RecoveryError("usage", "%s is not set" % name, next_step="give %s as a list of arguments or as one string" % name)
    return tuple(argv)


class Command:
    """One command of the operator.

    :param argv: from :func:`parse_command`.
    :param secrets: texts wiped from whatever it says.
    :param env: variables to set for it on top of this process's own; None takes one away.
    :param directory: folder to run it in.

    Its output goes to an unnamed file, not a pipe: a start command may leave a daemon behind that
    holds on to it, and waiting for the end of a pipe would then never end.
    """

    def __init__(self, argv, secrets=(), env=None, directory=None):
        self.argv = tuple(argv)
        self._env = {name: value for name, value in dict(os.environ, **(env or {})).items() if value is not None}
        self._directory = directory
        self._secrets = tuple(secret for secret in secrets if secret)
        self._output = None

    def __str__(self):
        return self.clean(" ".join(shlex.quote(part) for part in self.argv))

    def run(self, timeout):
        """Run it to its end; returns :class:`Outcome`.

        :param timeout: seconds; then it and whatever it started in its session is killed.
        :raises RecoveryError: ``preflight`` when it cannot be started at all.
        """
        self.close()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  (closed by close)
        try:
            process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT, start_new_session=True,
                env=self._env, cwd=self._directory,
            )  # fmt: skip
        except OSError as exc:
            raise RecoveryError("preflight", "cannot run %s: %s" % (self, exc.strerror or exc)) from None
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            _kill_session(process)
            code = None
        return Outcome(code, self.tail())

    def tail(self):
        """Return the end of its output so far (a daemon it left behind may still add to it), without secrets."""
        if self._output is None:
            return ""
        # Read by position: the command writes through the same open file, and its place in it must not move.
        descriptor = self._output.fileno()
        size = os.fstat(descriptor).st_size
        # A little more than is kept: a secret cut in two at the edge would not be recognised.
        kept = min(size, 2 * KEPT_OUTPUT)
        return self.clean(os.pread(descriptor, kept, size - kept).decode("utf-8", "replace")).strip()[-KEPT_OUTPUT:]

    def clean(self, text):
        """Return ``text`` without the secrets and without passwords of URIs."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return scrub(text)

    def close(self):
        """Forget the output."""
        if self._output is not None:
            self._output.close()
            self._output = None


def _kill_session(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except PermissionError:  # it runs as another user now (sudo): not ours to end, and not to be waited for
        return
    except ProcessLookupError:
        process.wait()
        return
    process.wait()
