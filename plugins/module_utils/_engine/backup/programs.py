# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the programs that sign and encrypt: found by name, fed through pipes, with no secret among their arguments."""
from __future__ import annotations

import os
import shutil
import subprocess

from ..errors import RecoveryError
from ..postgres.process import clean_environment


def find(name, install):
    """Return the path of a program. :raises RecoveryError: ``preflight`` with what to install."""
    path = shutil.which(name)
    if path is None:
        raise RecoveryError("preflight", "the program %s is not installed on this host" % name, next_step="install %s" % install)
    return path


def run(argv, data=b""):
    """Run a program without a terminal, so that it cannot ask for a passphrase and wait.

    :param data: its standard input.
    :returns: CompletedProcess with ``stdout`` as bytes and ``stderr`` as text. An exception, SIGTERM's among them, ends it.
    """
    extra = {"SSH_ASKPASS_REQUIRE": "never"}
    if os.environ.get("SSH_AUTH_SOCK"):
        extra["SSH_AUTH_SOCK"] = os.environ["SSH_AUTH_SOCK"]
    done = subprocess.run(argv, input=data, capture_output=True, env=clean_environment(extra=extra), start_new_session=True, check=False)
    done.stderr = done.stderr.decode("utf-8", "replace")
    return done


def last_line(text):
    """Return the last line a program said, for an error of ours."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
