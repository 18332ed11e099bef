# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of a throw-away system: named so that nothing else is ever taken for one, and gone when its time is over.

``<base>/letta_rehearsal_<id>/stand.json`` says what runs in it. Whatever has another name, or no such file, is never removed.
"""
from __future__ import annotations

import os
import re
import shutil
import time

from ..durable import read_json, write_json
from ..errors import RecoveryError
from ..processes import ALIVE, state_of
from . import confine

PREFIX = "letta_rehearsal_"
FACTS = "stand.json"
_ID = re.compile(r"rh-\d{8}T\d{6}Z-[0-9a-f]{6}(-\d+)?")


def path_of(base, name):
    """Return the folder of the throw-away system ``name`` (``rh-20261121T213000Z-4f2a9c``, with ``-2`` for the second of it).

    :raises RecoveryError: ``usage`` for a name that no rehearsal has.
    """
    if not _ID.fullmatch(name):
        raise RecoveryError("usage", "%r is no name of a rehearsal's system" % name, next_step="take the id that the rehearsal printed")
    return os.path.join(os.path.abspath(base), PREFIX + name)


def make(base, name):
    """Make the folder, private from its first instant. :raises RecoveryError: ``preflight`` when it is there or cannot be made."""
    path = path_of(base, name)
    try:
        os.mkdir(path, 0o700)
    except OSError as exc:
        raise RecoveryError(
            "preflight", "the rehearsal's folder %s cannot be made (%s)" % (path, exc.strerror), now="nothing was started",
            next_step="point letta_rehearse_dir at a folder of that host that may be written to",
        ) from None  # fmt: skip
    keep(path, {"name": name, "made": time.time(), "holder": None, "processes": []})
    return path


def sets_of(path):
    """Make the place for sets and runs in a system's folder; returns it."""
    root = os.path.join(path, "sets")
    os.mkdir(root, 0o700)
    return root


def volumes_of(path):
    """Make the place for restored volumes in a system's folder; returns it. Nothing that runs in the system is given them."""
    root = os.path.join(path, "volumes")
    os.mkdir(root, 0o700)
    return root


def name_in(text):
    """Return the name of a rehearsal's system when ``text`` is one, else an empty text."""
    return text if _ID.fullmatch(text) else ""


def keep(path, facts):
    """Write down what runs there, before it is relied on."""
    write_json(os.path.join(path, FACTS), facts)


def facts_of(path):
    """Return what was written down; None when this is no folder of a rehearsal."""
    if not os.path.basename(path).startswith(PREFIX) or os.path.islink(path):
        return None
    try:
        return read_json(os.path.join(path, FACTS))
    except (OSError, ValueError):
        return None


def remove(path):
    """End what runs there and remove the folder; returns how many processes were ended, None when there was no such folder.

    :raises RecoveryError: ``usage`` for a folder that is no rehearsal's: it is left alone.
    """
    if not os.path.lexists(path):
        return None
    facts = facts_of(path)
    if facts is None or os.lstat(path).st_uid != os.geteuid():
        raise RecoveryError(
            "usage", "%s is not a rehearsal's folder of ours" % path, now="it was left as it is",
            next_step="remove it yourself if nobody needs it",
        )  # fmt: skip
    ended = confine.end(facts["holder"], facts["processes"])
    shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path):  # a process that ended late had still written there
        shutil.rmtree(path)
    return ended


def reap(base, max_age, now=None):
    """Remove what rehearsals left that were killed: folders of ours older than ``max_age`` seconds, or whose machine was restarted.

    :returns: the names of the folders that went.
    """
    gone = []
    for name in sorted(os.listdir(base)) if os.path.isdir(base) else []:
        path = os.path.join(base, name)
        facts = facts_of(path)
        if facts is None or os.lstat(path).st_uid != os.geteuid():
            continue
        # A holder that is dead while its folder is there was killed, or its time was over.
        left = facts["holder"] is not None and state_of(facts["holder"]) != ALIVE
        if left or (now or time.time()) - facts["made"] > max_age:
            remove(path)
            gone.append(name)
    return gone
