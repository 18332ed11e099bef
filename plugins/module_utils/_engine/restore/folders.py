# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that change places. Each function looks at what is where and does what is left to do, so that after a kill it is called again."""
from __future__ import annotations

import ctypes
import errno
import os
import re
import stat

from .. import durable
from ..backup.trees import WORKPLACE, given

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
# The file system or the kernel does not know the exchange; two renames do the same with a gap between them.
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


def top_of(path):
    """Return mode and owner of a folder itself: ``{"mode", "uid", "gid"}``."""
    found = os.stat(path)
    return {"mode": stat.S_IMODE(found.st_mode) & 0o777, "uid": found.st_uid, "gid": found.st_gid}


def dress(path, top):
    """Give a folder the mode and, as root, the owner that :func:`top_of` returned."""
    if os.geteuid() == 0:
        given(path, top["uid"], top["gid"])
    os.chmod(path, top["mode"])


def inode(path):
    """Return the inode number of a folder, None when there is nothing at ``path``; it stays with the folder through renames."""
    try:
        return os.lstat(path).st_ino
    except FileNotFoundError:
        return None


def mount_points():
    """Return the mount points of this host, bind mounts among them (``os.path.ismount`` does not see those of the same disk)."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        fields = [line.split(" ")[4] for line in stream]
    return {re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), field) for field in fields}


def must_be_inside(path):
    """Tell whether the entries of a folder change places rather than the folder: it is a mount point, or its parent cannot be written."""
    return os.path.isdir(path) and (path in mount_points() or not os.access(os.path.dirname(path), os.W_OK))


def flush(folder):
    """Bring all of the folder's file system to disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
            raise OSError(ctypes.get_errno(), "syncfs of %s failed" % folder)
    finally:
        os.close(fd)


def exchange(first, second):
    """Let two folders change names in one step. Returns False where that is not known; nothing was done then."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), ctypes.c_uint(_RENAME_EXCHANGE)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), first)


class Astray(Exception):
    """What lies at a path is neither of the two folders that take part."""


def settle(path, spare, kept, incoming, outgoing):
    """Make the folder ``incoming`` the one at ``path`` and the folder ``outgoing`` the one at ``kept``.

    :param path: the public name. :param spare: name of the incoming folder until then. :param kept: name for the outgoing one.
    :param incoming: inode of the folder to come, None when nothing is to be at ``path``.
    :param outgoing: inode of the folder to go, None when there was none.
    :raises Astray: when something else lies at ``path``.
    """
    at = inode(path)
    if at is not None and at not in (incoming, outgoing):
        raise Astray(path)
    if incoming is None:
        if at is not None:
            os.rename(path, kept)
    elif at is None:
        if inode(spare) != incoming:
            raise Astray(spare)
        os.rename(spare, path)
    elif at == outgoing:
        if inode(spare) != incoming:
            raise Astray(spare)
        if not exchange(path, spare):
            os.rename(path, kept)
            os.rename(spare, path)
    if outgoing is not None and inode(spare) == outgoing:
        os.rename(spare, kept)
    durable.fsync_dir(os.path.dirname(path))


def entries(folder):
    """Return the names of what lies in a folder; what a restore keeps there is left out."""
    return sorted(name for name in os.listdir(folder) if not re.fullmatch(WORKPLACE, name))


def settle_entries(path, out_names, out_to, in_names, in_from):
    """Move ``out_names`` from ``path`` to ``out_to``, then ``in_names`` from ``in_from`` to ``path``, as far as that is not done.

    Both lists were written down before the first move: a name may stand in both, and whatever lies under it at ``path`` is the one
    that goes for as long as ``out_to`` does not have it.
    """
    for name in out_names:
        if not os.path.lexists(os.path.join(out_to, name)):
            os.rename(os.path.join(path, name), os.path.join(out_to, name))
    durable.fsync_dir(out_to)
    for name in in_names:
        if os.path.lexists(os.path.join(in_from, name)):
            os.rename(os.path.join(in_from, name), os.path.join(path, name))
    durable.fsync_dir(in_from)
    durable.fsync_dir(path)
