# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing one set from a remote store to this host: into private, resumed after a stop, nothing trusted without its checksum.

``<root>/.fetched/<id>`` is a set that is here as a whole; ``.part-<id>`` is one on its way. They go when the restore ends well, or by age.
"""
from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from contextlib import contextmanager

from .. import durable
from ..errors import RecoveryError
from ..findings import FAIL
from ..progress import Progress
from . import manifest as manifests
from . import store

FETCHED, PART, LOCK = ".fetched", ".part-", ".lock-"
KEPT_SECONDS = 7 * 86400
SILENT = Progress(None)


def folder(root):
    """Return where fetched sets lie."""
    return os.path.join(root, FETCHED)


def fetch_set(root, info, manifest, copy, progress=SILENT):
    """Bring a set here; files that are here already and match their checksums are not copied again.

    :param info: its :class:`SetInfo`, ``path`` being a folder with the manifest. :param manifest: that manifest, loaded.
    :param copy: function (set id, folder, {path: bytes}, told) that copies files into the folder, see :meth:`rclone.Rclone.copy`.
    :returns: the path of the set. What was copied now is not verified yet: that is the caller's check.
    :raises RecoveryError: ``preflight`` without room for it, ``locked`` while another process fetches it; whatever ``copy`` raises.
    """
    durable.make_private_dir(folder(root))
    with _alone(root, info.id):
        part, whole = (os.path.join(folder(root), name) for name in (PART + info.id, info.id))
        if os.path.isdir(whole):  # asked for again, so something in it was found wrong
            store.remove_tree(part)
            os.rename(whole, part)
        durable.make_private_dir(part)
        os.utime(part)  # it is in use: its age counts from now
        sizes = {entry["path"]: entry["size"] for entry in manifest["files"]}
        _keep_only_sound(part, manifest, progress)
        here = sum(os.path.getsize(os.path.join(part, path)) for path in sizes if os.path.isfile(os.path.join(part, path)))
        total = sum(sizes.values())
        store.check_free(folder(root), total - here, "fetching %s" % info.id)
        progress.start("fetch", total=total, item=info.id)
        copy(info.id, part, sizes, lambda done: progress.update(min(done, total)))
        for name in os.listdir(info.path):  # the manifest last, with what stands beside it
            if name.startswith(manifests.MANIFEST):
                shutil.copyfile(os.path.join(info.path, name), os.path.join(part, name))
        _make_private(part)
        os.rename(part, whole)
        durable.fsync_dir(folder(root))
        return whole


def _keep_only_sound(part, manifest, progress):
    """Remove from a half-fetched set what is not a listed file with the right checksum."""
    listed = {entry["path"] for entry in manifest["files"]}
    for here, folders, names in os.walk(part):
        for name in names + [name for name in folders if os.path.islink(os.path.join(here, name))]:
            path = os.path.join(here, name)
            if os.path.relpath(path, part) not in listed or os.path.islink(path):
                os.unlink(path)
    for finding in manifests.verify_files(part, manifest, progress):
        for path in finding.examples if finding.status == FAIL else ():
            full = os.path.join(part, path)
            if os.path.isdir(full):
                store.remove_tree(full)
            elif os.path.lexists(full):
                os.unlink(full)


def _make_private(part):
    for here, _folders, names in os.walk(part):
        os.chmod(here, 0o700)
        for name in names:
            os.chmod(os.path.join(here, name), 0o600)


def discard(path):
    """Remove a fetched set that turned out to be damaged in its store."""
    if os.path.basename(os.path.dirname(path)) == FETCHED:
        store.remove_tree(path)


def clear(root, set_id):
    """Remove what was fetched of a set, when its restore ended well."""
    for name in (set_id, PART + set_id, LOCK + set_id):
        path = os.path.join(folder(root), name)
        if os.path.isdir(path):
            store.remove_tree(path)
        elif os.path.lexists(path):
            os.unlink(path)
    if os.path.isdir(folder(root)) and not os.listdir(folder(root)):
        os.rmdir(folder(root))


def sweep(root, keep=(), now=None):
    """Remove fetched sets that no run came back for within a week.

    :param keep: ids of sets that are in use. :returns: ids removed.
    """
    gone = []
    for name in sorted(os.listdir(folder(root))) if os.path.isdir(folder(root)) else []:
        set_id = name[len(PART):] if name.startswith(PART) else name
        path = os.path.join(folder(root), name)
        if manifests.ID.fullmatch(set_id) and set_id not in keep and os.lstat(path).st_mtime < (now or time.time()) - KEPT_SECONDS:
            clear(root, set_id)
            gone.append(set_id)
    return gone


@contextmanager
def _alone(root, set_id):
    """Let one process fetch a set; the kernel ends this hold with the process."""
    with open(os.path.join(folder(root), LOCK + set_id), "a", encoding="ascii") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            if exc.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise RecoveryError(
                "locked",
                "another process is fetching %s into %s" % (set_id, folder(root)),
                next_step="wait for it: the next run goes on with what it brought",
            ) from None
        yield
