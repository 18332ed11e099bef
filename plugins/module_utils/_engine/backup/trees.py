# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a folder holds, in counts and one digest; and the owners of what is in it."""
from __future__ import annotations

import errno
import grp
import hashlib
import os
import pwd
import re
import stat

# Folder inside a mounted volume in which a restore keeps what it exchanges; backups leave it out.
WORKPLACE = r"\.letta-r-[0-9a-f]{8}"
_CHUNK = 1 << 20
_NOBODY = 2**32 - 1  # the id that chown takes for "leave it"


class TreeDigest:
    """A digest of names of folders and of names, modes and content of files, whatever order they come in.

    Owners and times are not part of it: not every host can keep them. Rights of the owner to read and write are taken as given,
    since unpacking grants them where it may not keep modes exactly.
    """

    def __init__(self):
        self.files, self.bytes, self._entries = 0, 0, {}

    def folder(self, name):
        """Note a folder by its path (``.`` and doubles are left out)."""
        if name not in ("", "."):
            self._entries["%s/" % name] = hashlib.sha256(b"d\0" + os.fsencode(name)).digest()

    def file(self, name, mode, size, content):
        """Note a file by its path; ``content`` is the hashlib object that has seen its bytes. Its folders are noted with it."""
        parts = name.split("/")
        for depth in range(1, len(parts)):
            self.folder("/".join(parts[:depth]))
        head = "f\0%o\0%d\0%s\0" % (mode & 0o777 | 0o600, size, content.hexdigest())
        self._entries[name] = hashlib.sha256(head.encode("ascii") + os.fsencode(name)).digest()
        self.files += 1
        self.bytes += size

    def facts(self):
        """Return ``{"files", "bytes", "tree_digest": "sha256:…"}``."""
        whole = hashlib.sha256()
        for entry in sorted(self._entries.values()):
            whole.update(entry)
        return {"files": self.files, "bytes": self.bytes, "tree_digest": "sha256:" + whole.hexdigest()}


def walk(top):
    """Yield the folder itself and every path below it, sorted, without following links; work of a restore in it is left out."""
    yield top
    for folder, dirs, names in os.walk(top):
        if folder == top:
            dirs[:] = [name for name in dirs if not re.fullmatch(WORKPLACE, name)]
        dirs.sort()
        for name in sorted(dirs + names):
            yield os.path.join(folder, name)


def read_tree(top):
    """Read a folder to its end; returns :meth:`TreeDigest.facts`.

    :raises ValueError: when it holds something that is neither file nor folder. OSError when it cannot be read.
    """
    digest = TreeDigest()
    for path in walk(top):
        name, found = os.path.relpath(path, top), os.lstat(path)
        if stat.S_ISDIR(found.st_mode):
            digest.folder(name)
        elif stat.S_ISREG(found.st_mode):
            digest.file(name, found.st_mode, found.st_size, _content(path))
        else:
            raise ValueError("%s is neither a file nor a folder" % name)
    return digest.facts()


def _content(path):
    content = hashlib.sha256()
    with open(path, "rb") as stream:
        for data in iter(lambda: stream.read(_CHUNK), b""):
            content.update(data)
    return content


class Owners:
    """Gives unpacked files the owners they had: by name where this host knows it, else by number; only root may.

    ``others`` counts what belongs to somebody else now than it did.
    """

    def __init__(self):
        self.may, self.others = os.geteuid() == 0, 0
        self._known = {}

    def of(self, member):
        """Return (uid, gid) here for a member of an archive. :raises ValueError: for numbers that no system has."""
        key = (member.uname, member.uid, member.gname, member.gid)
        if key not in self._known:
            if not (0 <= member.uid < _NOBODY and 0 <= member.gid < _NOBODY):
                raise ValueError("the member %r has an owner that no system has" % member.name[:200])
            self._known[key] = (_number(pwd.getpwnam, member.uname, member.uid), _number(grp.getgrnam, member.gname, member.gid))
        return self._known[key]

    def give(self, place, member):
        """Give a file (path or descriptor) to its owner."""
        uid, gid = self.of(member)
        if self.may:
            self.others += not given(place, uid, gid)
        elif (uid, gid) != (os.geteuid(), os.getegid()):
            self.others += 1


def given(place, uid, gid):
    """Give a file or folder to somebody, as root; returns whether that was possible: root of a user namespace knows not everybody."""
    try:
        os.chown(place, uid, gid)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        return False
    return True


def _number(find, name, otherwise):
    try:
        return find(name)[2] if name else otherwise
    except (KeyError, ValueError):  # a name with a NUL is none
        return otherwise
