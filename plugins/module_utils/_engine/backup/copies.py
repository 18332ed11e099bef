# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of what is adopted: a dump, a Redis file, archives of volumes, each under its own name in the set."""
from __future__ import annotations

import os
import shutil
import tarfile

from ..errors import RecoveryError
from ..redisserver import is_snapshot
from . import unpack, volumes


def copy_dump(source, target, progress):
    """Copy an archive into the new folder ``target``; returns the path of the archive in it."""
    os.mkdir(target, 0o700)
    if not os.path.isdir(source):
        # One file has its own name in the set; a custom archive still restores with several jobs.
        target = os.path.join(target, "archive.tar" if tarfile.is_tarfile(source) else "archive.dump")
        pairs = [(source, target)]
    else:
        pairs = [(os.path.join(source, name), os.path.join(target, name)) for name in sorted(os.listdir(source))]
    progress.start("copy", total=sum(os.path.getsize(path) for path, _to in pairs))
    done = 0
    for path, to in pairs:
        _copy(path, to)
        done += os.path.getsize(to)
        progress.update(done, os.path.basename(path))
    return target


def _copy(source, target):
    shutil.copyfile(source, target)
    os.chmod(target, 0o600)


def copy_redis(source, folder):
    """Copy an RDB or AOF file into a set; returns the manifest's ``redis``, None without a file."""
    if not source:
        return None
    name = "redis/" + ("dump.rdb" if is_snapshot(source) else "appendonly.aof")
    os.mkdir(os.path.join(folder, "redis"), 0o700)
    _copy(source, os.path.join(folder, name))
    return dict(path=name, bytes=os.path.getsize(source), server_version=None)


def copy_volumes(adopted, folder):
    """Copy tar files of volumes into a set and read each; returns the manifest's ``volumes``.

    :raises RecoveryError: ``usage`` for a name that is none, ``backup_corrupt`` for an archive that is damaged or reaches out.
    """
    done = []
    for volume in adopted:
        if not volumes.NAME.fullmatch(volume["name"]):
            raise RecoveryError("usage", "%r is no name for a volume" % volume["name"], next_step="use letters, digits, . _ -")
        os.makedirs(os.path.join(folder, "volumes"), 0o700, exist_ok=True)
        suffix = next((end for end in (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz") if volume["path"].endswith(end)), ".tar")
        archive = "volumes/%s%s" % (volume["name"], suffix)
        _copy(volume["path"], os.path.join(folder, archive))
        try:
            facts = unpack.read_volume(os.path.join(folder, archive))
        except (tarfile.TarError, OSError, EOFError, ValueError) as exc:
            text = "volume %s: %s: %s" % (volume["name"], volume["path"], exc)
            raise RecoveryError("backup_corrupt", text, next_step="make it again") from None
        done.append(dict(facts, name=volume["name"], source=None, archive=archive))
    return done
