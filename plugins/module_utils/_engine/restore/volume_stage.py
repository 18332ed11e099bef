# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Staging a volume: where it may go, unpacked beside its folder and proven; and what runs left there."""
from __future__ import annotations

import glob
import os
import re
import time

from ..backup import manifest as manifests
from ..backup import sealed, trees, unpack, volumes
from ..errors import RecoveryError
from ..progress import Progress, human_bytes
from . import folders
from .journal import parse_time, stamp
from .volumes import ABSENT, ROLLED_BACK, STAGED, SWAPPED, Volume

SILENT = Progress(None)
_ENTRY = ("files", "bytes", "tree_digest", "skipped_count")
_SPARE_PER_FILE = 4096  # bytes that a small file takes on disk


def check_place(name, path):
    """Check that a volume can be exchanged where it lies; returns ``{"path", "link", "exists", "inside", "free_bytes"}``.

    :param path: as configured; it may be a link or not exist yet.
    :raises RecoveryError: ``preflight``, the folder is what it was.
    """
    real = os.path.realpath(path)
    parent = os.path.dirname(real)
    if os.path.lexists(real) and not os.path.isdir(real):
        raise _refused(name, "%s is no folder" % real, "check letta_volumes")
    if not os.path.isdir(parent):
        raise _refused(name, "the folder %s does not exist, to hold %s" % (parent, os.path.basename(real)), "mount its disk, or make it")
    below = sorted(mount for mount in folders.mount_points() if mount.startswith(real + "/"))
    if below:
        raise _refused(name, "%s is mounted inside of %s" % (below[0], real), "name what is mounted as a volume of its own")
    inside = folders.must_be_inside(real)
    found = os.statvfs(real if inside else parent)
    link = os.path.normpath(path) != real
    return {"path": real, "link": link, "exists": os.path.isdir(real), "inside": inside, "free_bytes": found.f_bavail * found.f_frsize}


def check_room(name, place, entry):
    """Check that an archive's content has room. :raises RecoveryError: ``preflight``. :param place: of :func:`check_place`."""
    needed = entry["bytes"] + entry["files"] * _SPARE_PER_FILE
    if place["free_bytes"] < needed:
        values = (human_bytes(needed), place["path"], human_bytes(place["free_bytes"]))
        raise _refused(name, "it needs about %s beside %s, which has %s free" % values, "make room there")


def _refused(name, reason, next_step):
    return RecoveryError("preflight", "volume %s: %s" % (name, reason), now="its folder is what it was", next_step=next_step)


def stage_from_set(volume, set_dir, trust, progress=SILENT):
    """Stage a volume from a backup set. :raises RecoveryError: as :func:`stage`, and what opening the set raises.

    :param set_dir: folder of the set. :param trust: a :class:`~..backup.trust.Trust`.
    :returns: whether something was staged; None when the set holds no volume of this name.
    """
    _make_ready(volume)
    manifest = manifests.load(set_dir, trust)
    entry = entry_of(manifest, volume.name)
    if entry is None or volume.status in (STAGED, SWAPPED):
        return None if entry is None else False
    with sealed.opened(set_dir, manifest, trust, progress) as plain:
        plain.fetch(lambda path: path == entry["archive"])
        if not manifest.get("encryption"):  # else it was compared when it was decrypted
            _check_archive(set_dir, manifest, entry["archive"])
        return stage(volume, os.path.join(plain.folder, entry["archive"]), entry)


def stage_brought(volume, archive, entry):
    """Stage a volume from an archive that was brought to this host. Errors and result are those of :func:`stage`.

    :param entry: as :func:`take_out` returned it.
    """
    if sha256_of(archive) != entry.get("sha256"):
        text = "volume %s: %s is not the archive that was taken out of the set" % (volume.name, archive)
        raise RecoveryError("preflight", text, next_step="run again: it was damaged on its way")
    return stage(volume, archive, entry)


def write_archive(path, target):
    """Archive a folder for a set on another host. Returns its ``entry``: counts, tree digest, and the archive's own sha256."""
    facts = volumes.archive_volume(path, target)
    return dict({key: facts[key] for key in _ENTRY}, sha256=sha256_of(target))


def take_out(name, set_dir, folder, trust, check=False):
    """Copy the plain archive of a volume out of a set into a private folder, to be brought to another host.

    :param check: only tell whether there is one.
    :returns: ``{"archive": path, "entry"}``; an empty path and None where the set holds no volume of this name.
    """
    manifest = manifests.load(set_dir, trust)
    found = entry_of(manifest, name)
    if found is None or check:
        return {"archive": "", "entry": None if found is None else dict(found, skipped=[])}
    target = os.path.join(folder, os.path.basename(found["archive"]))
    checksum = sealed.copy_out(set_dir, manifest, found["archive"], target, trust)
    return {"archive": target, "entry": dict({key: found.get(key) for key in _ENTRY}, sha256=checksum)}


def sha256_of(path):
    """Return the SHA-256 of a file."""
    return manifests.hash_file(os.path.dirname(path), os.path.basename(path))["sha256"]


def entry_of(manifest, name):
    """Return the entry of a volume in a manifest, None without one. :raises RecoveryError: when its archive is no file of the set."""
    entry = next((volume for volume in manifest.get("volumes") or [] if volume["name"] == name), None)
    if entry and entry["archive"] not in sealed.plain_files(manifest):
        raise manifests.refuse(manifest["id"], "the archive of volume %s is not listed among its files" % name, "unsafe_path")
    return entry


def _check_archive(set_dir, manifest, path):
    """The set was verified when it was chosen; that may have been days ago, of a prepared run."""
    try:
        found = manifests.hash_file(set_dir, path)["sha256"]
    except OSError as exc:
        found = exc.strerror
    if found != sealed.plain_files(manifest)[path]["sha256"]:
        raise manifests.refuse(manifest["id"], "%s does not match its checksum" % path, "files")


def stage(volume, archive, entry):
    """Unpack a volume's archive beside its folder and prove it. One that this run has staged already, or exchanged, is left as it is.

    :param volume: :class:`Volume`. :param archive: path of the plain, verified archive. :param entry: the volume's entry of the manifest.
    :returns: whether something was staged.
    :raises RecoveryError: ``preflight``, ``backup_corrupt`` or ``verify_failed``; the live folder is untouched and nothing is left.
    """
    _make_ready(volume)
    if volume.status in (STAGED, SWAPPED):
        return False
    place, names = check_place(volume.name, volume.path), volume.names
    volume.remove()
    volume.sweep_unfinished()
    check_room(volume.name, place, entry)
    for folder in (names.work, names.old) if names.inside else ():
        os.mkdir(folder, 0o700)
    owners = trees.Owners()
    try:
        found = unpack.extract_volume(archive, names.new, entry, owners, scratch=names.part)
        folders.flush(names.new)
        _prove(volume, found, entry)
    except BaseException:
        volume.sweep_unfinished()
        raise
    top = {"mode": found["top"].mode & 0o777, **dict(zip(("uid", "gid"), owners.of(found["top"])))} if found["top"] else _known_top(volume)
    volume.save(status=STAGED, name=volume.name, run_id=volume.run_id, top=top, others=owners.others, staged_at=stamp(time.time()),
                proof="equal" if entry.get("tree_digest") else "counts", **{key: found[key] for key in ("files", "bytes", "tree_digest")})
    return True


def _make_ready(volume):
    """End what was begun before; a staged folder that somebody removed is not staged."""
    clear_others(volume)
    volume.finish()
    if volume.status == STAGED and not os.path.isdir(volume.names.new):
        volume.remove()


def _known_top(volume):
    """An archive that somebody else made need not say how the folder itself was."""
    return folders.top_of(volume.path) if os.path.isdir(volume.path) else {"mode": 0o700, "uid": os.geteuid(), "gid": os.getegid()}


def _prove(volume, found, entry):
    """Read back what was unpacked. :raises RecoveryError: ``verify_failed`` when the disk holds something else than the archive."""
    try:
        read = trees.read_tree(volume.names.new)
    except (OSError, ValueError) as exc:
        read = {"tree_digest": str(exc)}
    if read["tree_digest"] != found["tree_digest"]:
        text = "volume %s: what was unpacked of %s (%d files) reads back as something else" % (volume.name, volume.path, entry["files"])
        raise RecoveryError("verify_failed", text, now="its folder is what it was, nothing was left beside it", next_step="check the disk")


def of_runs(name, path):
    """Return the :class:`Volume` of every run that left something at a folder."""
    real = os.path.realpath(path)
    found = glob.glob(glob.escape(real) + ".letta-r-*") + glob.glob(os.path.join(glob.escape(real), ".letta-r-*"))
    matches = [re.search(r"\.letta-(r-[0-9a-f]{8})(\.json(\.tmp-\d+)?|\.part)?$", item) for item in found]
    runs = {match.group(1) for match in matches if match}
    return [Volume(name, path, run_id) for run_id in sorted(runs)]


def clear_others(volume):
    """Remove what other runs staged and never used; what one of them began to exchange is finished first. One run works at a time."""
    for other in of_runs(volume.name, volume.path):
        if other.run_id != volume.run_id:
            other.finish()
            if other.status == STAGED:
                other.remove()
            elif other.status == ABSENT:
                other.sweep_unfinished()


def remove_expired(name, path, now, check=False):
    """Remove what runs kept for a time that is over. Returns the ids of these runs.

    :param now: epoch seconds. :param check: only tell.
    """
    gone = []
    for volume in of_runs(name, path):
        until = volume.state.get("keep_until")
        if volume.status in (SWAPPED, ROLLED_BACK) and until and parse_time(until) < now:
            gone.append(volume.run_id)
            if not check:
                volume.remove()
    return gone
