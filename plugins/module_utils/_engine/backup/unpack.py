# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and unpacking archives of volumes that may have been made by an enemy.

Python's extraction filters were bypassed more than once (2025, CVE-2026-11940), so none is relied on: ``tarfile`` only tells what
is in the archive, and every file is made here, new, by a path that was checked. The first offence refuses the whole archive.
"""
from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import shutil
import tarfile
import tempfile
import unicodedata
import zlib
from contextlib import contextmanager

from ..errors import RecoveryError
from ..progress import human_bytes
from . import store, trees

MAX_PATH, MAX_NAME, MAX_DEPTH = 4096, 255, 128  # bytes, bytes, folders
MAX_MEMBERS = 2000000
# What an archive may unpack to when nothing else says how much it holds: real files hardly ever pack better.
MAX_RATIO, RATIO_FLOOR = 200, 1 << 30
_HEADER = 1 << 20  # longest header (a PAX record, a long name) that is read into memory
_CHUNK = 1 << 20
_PACKED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open))


class _Bounded:
    """A stream that only goes on, in pieces of bounded size, to a bounded end. ``tarfile`` trusts the lengths in headers; this does not."""

    def __init__(self, stream, limit):
        self._stream, self._limit, self._furthest = stream, limit, 0

    def read(self, size=-1):
        if not 0 <= size <= max(_CHUNK, _HEADER):
            raise ValueError("a header asks for %d bytes of memory" % size)
        try:
            data = self._stream.read(size)
        except (zlib.error, lzma.LZMAError) as exc:  # bz2 and gzip tell damage as OSError and EOFError besides
            raise ValueError("its compressed data is damaged (%s)" % exc) from None
        self._furthest = max(self._furthest, self._stream.tell())
        if self._furthest > self._limit:
            raise ValueError("it unpacks to more than %s" % human_bytes(self._limit))
        return data

    def seek(self, position):
        # Members follow each other: tarfile only ever steps back to the byte before the next one.
        if position > self._limit or position < self._furthest - 2 * tarfile.BLOCKSIZE:
            raise ValueError("a header points outside of its place")
        return self._stream.seek(position)

    def tell(self):
        return self._stream.tell()


@contextmanager
def _opened(path, limit):
    with open(path, "rb") as raw:
        head = raw.read(6)
        raw.seek(0)
        unpack = next((function for magic, function in _PACKED if head.startswith(magic)), None)
        stream = unpack(raw, "rb") if unpack else raw
        # Headers and padding come on top of what the files hold.
        yield _Bounded(stream, limit)


class _Names:
    """The paths of one archive, each allowed once; on file systems that fold case or Unicode forms too."""

    def __init__(self):
        self._seen = {}  # folded path -> (path, whether it is a folder)

    def check(self, member):
        """Return the normal path of a member (``.`` for the top). :raises ValueError: naming what is wrong with it."""
        given = member.name
        shown = given[:200]
        name = os.path.normpath(given)
        if given.startswith("/") or name.split("/")[0] == ".." or "\0" in given or ".." in given.split("/"):
            raise ValueError("the member %r points outside of the archive" % shown)
        parts = [] if name == "." else name.split("/")
        if len(os.fsencode(name)) > MAX_PATH or len(parts) > MAX_DEPTH or any(len(os.fsencode(part)) > MAX_NAME for part in parts):
            raise ValueError("the member %r has a path too long or too deep" % shown)
        if not (member.isreg() or member.isdir()) or member.issparse() or member.mode & 0o7000 & ~0o1000:
            raise ValueError("the member %r is a link, a device or another special file, or carries set-user rights" % shown)
        for depth in range(1, len(parts)):
            self._note("/".join(parts[:depth]), True, shown)
        if parts:
            self._note(name, member.isdir(), shown)
        return name

    def _note(self, name, is_dir, shown):
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in self._seen and (not is_dir or self._seen[folded] != (name, True)):
            raise ValueError("the member %r is there twice (or differs by case alone)" % shown)
        self._seen[folded] = (name, is_dir)


def _members(path, most_bytes):
    """Yield (path, TarInfo, iterator of its bytes) of each member of an archive; each must be used up before the next.

    :raises ValueError: naming the first offence. tarfile.TarError, OSError, EOFError when the archive is damaged.
    """
    names, count, at, left = _Names(), 0, -1, most_bytes
    with _opened(path, most_bytes + _overhead(most_bytes)) as stream, tarfile.TarFile(fileobj=stream, mode="r") as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # else the list grows with the archive
            count += 1
            if count > MAX_MEMBERS or member.offset <= at or member.size < 0:
                raise ValueError("it has too many members, or one that points back")
            name, at, left = names.check(member), member.offset, left - member.size
            if left < 0:
                raise ValueError("it unpacks to more than %s, from the member %r on" % (human_bytes(most_bytes), member.name[:200]))
            yield name, member, _content(tar, member)
        stream.seek(tar.offset)
        if any(data.strip(b"\0") for data in iter(lambda: stream.read(_CHUNK), b"")):
            raise ValueError("something that is no member follows the last one")


def _overhead(most_bytes):
    # A header and padding per member, a PAX record with each: bounded by the number of members, and small beside large files.
    return min(MAX_MEMBERS * 8 * tarfile.BLOCKSIZE, max(most_bytes, 64 << 20))


def _content(tar, member):
    if not member.isreg():
        return
    stream, size = tar.extractfile(member), 0
    for data in iter(lambda: stream.read(_CHUNK), b""):
        size += len(data)
        yield data
    if size != member.size:
        raise ValueError("the member %r is cut" % member.name[:200])


def read_volume(path, each=None):
    """Read a volume's archive to its end without writing anything.

    :param each: called with the path of each member.
    :returns: ``{"files", "bytes", "tree_digest"}``.
    :raises ValueError: naming the first member that is not a plain file or folder inside the archive's own tree, or is named twice;
        or that it unpacks to 200 times its size. tarfile.TarError, OSError, EOFError when it is damaged.
    """
    digest = trees.TreeDigest()
    for name, member, content in _members(path, _most(path)):
        seen = hashlib.sha256()
        for data in content:
            seen.update(data)
        _note(digest, name, member, seen)
        if each:
            each(name)
    return digest.facts()


def _most(path):
    return max(RATIO_FLOOR, MAX_RATIO * os.path.getsize(path))


def _note(digest, name, member, seen):
    if member.isreg():
        digest.file(name, member.mode, member.size, seen)
    else:
        digest.folder(name)


def extract_volume(path, target, expected, owners=None, scratch=None):
    """Unpack a verified volume's archive into a new folder.

    :param path: the archive. :param target: folder to make (0700); it appears by one rename, whole.
    :param expected: the volume's entry of the manifest; its ``files`` and ``bytes`` are a limit on the way and must match at the end,
        and so must its ``tree_digest`` where it has one.
    :param owners: a :class:`~.trees.Owners`, to give everything its owner and, as root, exactly its mode; None leaves both to who unpacks.
    :param scratch: path beside ``target`` to unpack in, for a caller that removes it after a kill.
    :returns: ``{"files", "bytes", "tree_digest", "top"}``; ``top`` is the archive's own member for the folder itself, or None.
    :raises RecoveryError: ``backup_corrupt`` naming the first offence, ``preflight`` when there is no room or ``target`` exists.
        Nothing is left in either case.
    """
    parent = os.path.dirname(os.path.abspath(target))
    if os.path.lexists(target):
        raise RecoveryError("preflight", "%s exists already" % target, next_step="name a folder that does not exist")
    store.check_free(parent, expected["bytes"], "unpacking %s" % os.path.basename(path))
    if scratch:
        os.mkdir(scratch, 0o700)
    else:
        scratch = tempfile.mkdtemp(prefix=".unpacking-", dir=parent)
    try:
        facts = _extract(path, scratch, expected, owners)
        os.rename(scratch, target)
    except (tarfile.TarError, EOFError, ValueError) as exc:
        raise _refused(path, exc) from None
    except OSError as exc:
        if exc.errno is None:  # gzip and bz2 tell damage this way
            raise _refused(path, exc) from None
        text = "unpacking %s failed: %s" % (os.path.basename(path), exc.strerror)
        raise RecoveryError("preflight", text, next_step="check the disk of %s" % parent) from None
    finally:
        if os.path.isdir(scratch):
            shutil.rmtree(scratch)
    return facts


def _refused(path, reason):
    return RecoveryError(
        "backup_corrupt",
        "%s is refused as a whole: %s" % (os.path.basename(path), reason),
        now="nothing was unpacked, nothing was written outside of a folder that is gone again",
        next_step="choose another set: ansible-playbook playbooks/catalog.yml",
    )


def _extract(path, folder, expected, owners):
    digest, folders, top = trees.TreeDigest(), [], None
    if expected["bytes"] > _most(path):
        raise ValueError("it would unpack to %s, more than %d times its size" % (human_bytes(expected["bytes"]), MAX_RATIO))
    for name, member, content in _members(path, expected["bytes"]):
        place = os.path.join(folder, name)
        if member.isdir():
            os.makedirs(place, 0o700, exist_ok=True)
            _note(digest, name, member, None)
            if name == ".":
                top = member
            else:
                folders.append((place, member))
            continue
        os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
        _note(digest, name, member, _write(place, member, content, owners))
        if digest.files > expected["files"]:
            raise ValueError("it holds more files than the manifest says, from %r on" % name[:200])
    facts = digest.facts()
    _compare(facts, expected)
    for place, member in reversed(folders):  # the inner ones first: making a file in a folder changes its time
        if owners:
            owners.give(place, member)
        os.chmod(place, _mode(member, owners, 0o700))
        os.utime(place, (member.mtime, member.mtime))
    return dict(facts, top=top)


def _compare(facts, expected):
    if (facts["files"], facts["bytes"]) != (expected["files"], expected["bytes"]):
        values = (facts["files"], facts["bytes"], expected["files"], expected["bytes"])
        raise ValueError("it holds %d files and %d bytes, the manifest says %d and %d" % values)
    if expected.get("tree_digest") not in (None, facts["tree_digest"]):
        raise ValueError("what it holds has another digest than the manifest says")


def _mode(member, owners, needed):
    # Whoever is not root could not read back what a mode keeps it from.
    return member.mode & 0o777 if owners and owners.may else member.mode & 0o777 | needed


def _write(place, member, content, owners):
    """Write a new file; returns the hashlib object that has seen its bytes."""
    seen = hashlib.sha256()
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as out:
        for data in content:
            seen.update(data)
            out.write(data)
        out.flush()
        if owners:
            owners.give(out.fileno(), member)
        os.fchmod(out.fileno(), _mode(member, owners, 0o600))
        os.utime(out.fileno(), (member.mtime, member.mtime))
    return seen
