# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of folders (Letta's git-backed memory, for one): regular files and folders only, always in the same order."""
from __future__ import annotations

import gzip
import hashlib
import os
import re
import stat
import tarfile
import tempfile

from ..errors import RecoveryError
from . import trees

_SPOOL = 8 << 20  # bytes of one file kept in memory before it goes through a temporary file
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MAX_SKIPPED = 100
_KINDS = ((stat.S_ISLNK, "link"), (stat.S_ISSOCK, "socket"), (stat.S_ISFIFO, "pipe"), (stat.S_ISBLK, "device"), (stat.S_ISCHR, "device"))


def check_volumes(volumes):
    """Check ``[{"name", "path"}]`` before any work. One with ``archive`` was archived on another ``host`` and brought here.

    :raises RecoveryError: ``usage`` for a bad or doubled name or for folders that lie in one another, ``preflight`` for a folder that
        is absent or cannot be read.
    """
    check_apart(volumes)
    for volume in volumes:
        try:
            if volume.get("archive"):
                os.stat(volume["archive"])
            else:
                os.listdir(volume["path"])
        except OSError as exc:
            raise RecoveryError(
                "preflight",
                "volume %s: the folder %s cannot be read (%s)" % (volume["name"], volume["path"], exc.strerror),
                next_step="check letta_volumes",
            ) from None


def check_apart(volumes):
    """Check that names are names, each used once, and that no folder lies in another of its host: each is exchanged as a whole.

    :param volumes: ``[{"name", "path"}]``, with ``host`` where it is not this one.
    :raises RecoveryError: ``usage``.
    """
    names = [volume["name"] for volume in volumes]
    for name in names:
        if not NAME.fullmatch(name) or names.count(name) > 1:
            raise RecoveryError("usage", "%r is no name for a volume, or is used twice" % name, next_step="use letters, digits, . _ -")
    for volume in volumes:
        if not _can_be_path(volume["path"]):
            raise RecoveryError("usage", "%.200r is no path of a folder" % volume["path"], next_step="mend letta_volumes")
    places = sorted((volume.get("host") or "", os.path.realpath(volume["path"]) + "/", volume["name"]) for volume in volumes)
    for (host, outer, first), (other, inner, second) in zip(places, places[1:]):
        if host == other and inner.startswith(outer):
            raise RecoveryError(
                "usage",
                "the folder of volume %s lies in that of volume %s" % (second, first),
                next_step="name the outer folder alone in letta_volumes, or folders beside each other",
            )


def _can_be_path(text):
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def needed_bytes(volume):
    """Return how much room a volume's archive may take."""
    return os.path.getsize(volume["archive"]) if volume.get("archive") else tree_bytes(volume["path"])


def tree_bytes(path):
    """Return the bytes of all regular files under a folder (an estimate; files may come and go meanwhile)."""
    total = 0
    for folder, _dirs, names in os.walk(path):
        for name in names:
            try:
                found = os.lstat(os.path.join(folder, name))
            except FileNotFoundError:
                continue
            total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


def archive_volume(source, target):
    """Write a ``tar.gz`` of a folder.

    :param source: the folder; paths in the archive are relative to it.
    :param target: file to write (0600).
    :returns: ``{"files", "bytes", "tree_digest", "skipped": [{"path", "reason"}], "skipped_count"}``; links, sockets, pipes and devices
        are skipped, set-user and set-group bits are not carried. Owner (number and name), mode and time of change are.
    """
    facts, digest = {"skipped": [], "skipped_count": 0}, trees.TreeDigest()
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as raw:
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=1, mtime=0)
        with packed, tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in trees.walk(source):
                _add(tar, path, os.path.relpath(path, source), facts, digest, os.path.dirname(target))
        raw.flush()
        os.fsync(raw.fileno())
    return dict(facts, **digest.facts())


def _add(tar, path, relative, facts, digest, spool_dir):
    try:
        found = os.lstat(path)
        if stat.S_ISDIR(found.st_mode):
            tar.addfile(_header(tar, path, relative))
            digest.folder(relative)
        elif stat.S_ISREG(found.st_mode):
            _add_file(tar, path, relative, digest, spool_dir)
        else:
            kind = next((name for test, name in _KINDS if test(found.st_mode)), "special file")
            _skip(facts, relative, kind)
    except FileNotFoundError:
        _skip(facts, relative, "vanished while the archive was written")


def _header(tar, path, relative):
    info = tar.gettarinfo(path, arcname=relative)
    info.mode &= 0o777
    info.mtime = int(info.mtime)
    return info


def _add_file(tar, path, relative, digest, spool_dir):
    # The file is read to its end first: one that grows or shrinks meanwhile must not break the archive.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    content = hashlib.sha256()
    with os.fdopen(fd, "rb") as stream, tempfile.SpooledTemporaryFile(max_size=_SPOOL, dir=spool_dir) as spool:
        for data in iter(lambda: stream.read(1 << 20), b""):
            content.update(data)
            spool.write(data)
        info = _header(tar, path, relative)
        info.type, info.linkname = tarfile.REGTYPE, ""  # a second name of the same file is stored as a file of its own
        info.size = spool.tell()
        spool.seek(0)
        tar.addfile(info, spool)
    digest.file(relative, info.mode, info.size, content)


def _skip(facts, relative, reason):
    facts["skipped_count"] += 1
    if len(facts["skipped"]) < MAX_SKIPPED:
        facts["skipped"].append({"path": relative, "reason": reason})
