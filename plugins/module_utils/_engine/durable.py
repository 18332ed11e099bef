# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing files that survive a power cut: temp file, fsync, rename, fsync of the folder."""
from __future__ import annotations

import contextlib
import json
import os
import re
import shutil

TEMPORARY = re.compile(r".\.tmp-\d+$")


def sweep(folder):
    """Remove what writers that were killed left in a folder that nobody writes to now."""
    for name in os.listdir(folder):
        if TEMPORARY.search(name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))


def fsync_dir(path):
    """Flush a folder's entries to disk, so that a rename in it outlives a crash."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def seal(path):
    """Make a finished file private (0600) and flush it to disk. A link in its place is no file of ours. :raises OSError: for one."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe in its place must not hold us up
    try:
        os.fchmod(fd, 0o600)
        os.fsync(fd)
    finally:
        os.close(fd)


def make_private_dir(path):
    """Create a folder (and missing parents) with mode 0700 from its first instant."""
    missing = []
    path = os.path.abspath(path)
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:  # another process made it in this instant
            if not os.path.isdir(folder):
                raise


def write_private(path, data):
    """Write bytes to ``path`` atomically and durably, mode 0600 from its first instant."""
    _write(path, lambda out: out.write(data))


def copy_private(path, stream):
    """The same out of a binary stream, to its end."""
    _write(path, lambda out: shutil.copyfileobj(stream, out, 1 << 20))


def _write(path, fill):
    temp = "%s.tmp-%d" % (path, os.getpid())
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(fd, "wb") as out:
            fill(out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temp, path)
    except BaseException:
        if os.path.exists(temp):
            os.unlink(temp)
        raise
    fsync_dir(os.path.dirname(path) or ".")


def json_bytes(data):
    """Return the bytes that :func:`write_json` writes."""
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8")


def write_json(path, data):
    """Write plain data as JSON with :func:`write_private`."""
    write_private(path, json_bytes(data))


def parse_json(data):
    """Return what JSON in UTF-8 says. :raises ValueError: when it is none, or is nested deeper than Python reads."""
    try:
        return json.loads(data.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path):
    """Read a JSON file. Raises OSError and ValueError as the standard library does, and as :func:`parse_json`."""
    with open(path, "rb") as stream:
        return parse_json(stream.read())
