# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of folders (Letta's git-backed memory, for one): regular files and folders only, always in the same order."""
from __future__ import annotations

import gzip
import os
import re
import stat
import tarfile
import tempfile

from ..errors import RecoveryError

_SPOOL = 8 << 20  # bytes of one file kept in memory before it goes through a temporary file
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
MAX_SKIPPED = 100
_KINDS = ((stat.S_ISLNK, "link"), (stat.S_ISSOCK, "socket"), (stat.S_ISFIFO, "pipe"), (stat.S_ISBLK, "device"), (stat.S_ISCHR, "device"))


def check_volumes(volumes):
    """Check ``[{"name", "path"}]`` before any work.

    :raises RecoveryError: ``usage`` for a bad or doubled name, ``preflight`` for a folder that is absent or cannot be read.
    """
    names = [volume["name"] for volume in volumes]
    for name in names:
        if not NAME.match(name) or names.count(name) > 1:
            raise RecoveryError("usage", "%r is no name for a volume, or is used twice" % name, next_step="use letters, digits, . _ -")
    for volume in volumes:
        try:
            os.listdir(volume["path"])
        except OSError as exc:
            raise RecoveryError(
                "preflight",
                "volume %s: the folder %s cannot be read (%s)" % (volume["name"], volume["path"], exc.strerror),
                next_step="check letta_volumes",
            ) from None


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
    :returns: ``{"files", "bytes", "skipped": [{"path", "reason"}], "skipped_count"}``; links, sockets, pipes and devices are
        skipped, set-user and set-group bits are not carried. Owner (number and name), mode and time of change are.
    """
    facts = {"files": 0, "bytes": 0, "skipped": [], "skipped_count": 0}
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as raw:
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=1, mtime=0)
        with packed, tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in _walk(source):
                _add(tar, source, path, facts, os.path.dirname(target))
        raw.flush()
        os.fsync(raw.fileno())
    return facts


def _walk(source):
    yield source
    for folder, dirs, names in os.walk(source):
        dirs.sort()
        for name in sorted(dirs + names):
            yield os.path.join(folder, name)


def _add(tar, source, path, facts, spool_dir):
    relative = os.path.relpath(path, source)
    try:
        found = os.lstat(path)
        if stat.S_ISDIR(found.st_mode):
            tar.addfile(_header(tar, path, relative))
        elif stat.S_ISREG(found.st_mode):
            _add_file(tar, path, relative, facts, spool_dir)
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


def _add_file(tar, path, relative, facts, spool_dir):
    # The file is read to its end first: one that grows or shrinks meanwhile must not break the archive.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as stream, tempfile.SpooledTemporaryFile(max_size=_SPOOL, dir=spool_dir) as spool:
        for data in iter(lambda: stream.read(1 << 20), b""):
            spool.write(data)
        info = _header(tar, path, relative)
        info.type, info.linkname = tarfile.REGTYPE, ""  # a second name of the same file is stored as a file of its own
        info.size = spool.tell()
        spool.seek(0)
        tar.addfile(info, spool)
    facts["files"] += 1
    facts["bytes"] += info.size


def _skip(facts, relative, reason):
    facts["skipped_count"] += 1
    if len(facts["skipped"]) < MAX_SKIPPED:
        facts["skipped"].append({"path": relative, "reason": reason})
