# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encrypted sets: made from plain files that never lie in the store, read through plain copies that live as long as a block."""
from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from .. import durable
from ..errors import RecoveryError
from ..progress import Progress
from . import age, signature, workplace
from . import manifest as manifests

SILENT = Progress(None)
JOBS = 2
_PROBE = b"letta_ops.recovery"


def check_seal(seal):
    """Try the signing key and the recipients on a few bytes, before any work.

    :raises RecoveryError: ``preflight`` or ``usage`` with what is wrong with them.
    """
    if seal.signing_key:
        signature.sign(_PROBE, seal.signing_key)
    if seal.recipients:
        _probe(seal)


def check_pair(seal, trust):
    """Prove that the identity opens what is encrypted for the recipients.

    :raises RecoveryError: ``key_mismatch``, or as :func:`check_seal`.
    """
    try:
        _probe(seal, age.read_identity(trust.identity))
    except age.WrongIdentity as exc:
        raise RecoveryError(
            "key_mismatch",
            "a set for letta_backup_recipients could not be brought back: %s" % exc,
            next_step="-e letta_backup_identity=<path of the age identity of one of these recipients>",
        ) from None


def _probe(seal, identity=None):
    with workplace.private_folder(seal.scratch_dir) as folder:
        plain, sealed = os.path.join(folder, "probe"), os.path.join(folder, "probe" + age.SUFFIX)
        with open(plain, "wb") as stream:
            stream.write(_PROBE)
        age.tool().encrypt(plain, sealed, seal.recipients)
        if identity is not None:
            age.tool().decrypt(sealed, plain + ".again", identity)


@contextmanager
def making(folder, seal, needed=0):
    """Yield the folder to put a new set's plain files in: the set's own, or a private one outside of the store when it will be encrypted.

    :param folder: the set in the making. :param needed: bytes of its plain files.
    """
    if not seal.recipients:
        yield folder
        return
    with workplace.private_folder(seal.scratch_dir, needed, "an encrypted backup") as plain:
        yield plain


def encrypt(plain, folder, manifest, seal, progress=SILENT):
    """Move the plain files of a new set into it, encrypted.

    :param plain: what :func:`making` yielded. :param folder: the set in the making. :param manifest: its manifest so far.
    :returns: the manifest, with ``encryption`` and without names of agents and of files in volumes; unchanged where nothing is encrypted.
    """
    if not seal.recipients:
        return manifest
    tool = age.tool()
    paths = manifests.list_files(plain)
    total = sum(os.path.getsize(os.path.join(plain, path)) for path in paths)
    progress.start("encrypt", total=total)

    def one(path):
        source, target = os.path.join(plain, path), os.path.join(folder, path + age.SUFFIX)
        os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
        entry = manifests.hash_file(plain, path)
        tool.encrypt(source, target, seal.recipients)
        os.unlink(source)
        return {key: entry[key] for key in ("path", "size", "sha256")}

    entries, done = [], 0
    with ThreadPoolExecutor(max_workers=JOBS) as pool:
        for entry in pool.map(one, paths):
            entries.append(entry)
            done += entry["size"]
            progress.update(done, entry["path"])
    agents = {agent_id: dict(facts, name=None) for agent_id, facts in manifest["agents"].items()}
    volumes = [{key: value for key, value in volume.items() if key != "skipped"} for volume in manifest.get("volumes") or []]
    return dict(manifest, agents=agents, volumes=volumes, encryption={"tool": "age", "recipients": list(seal.recipients), "files": entries})


class Plain:
    """The readable files of a set. ``folder`` has the layout of a plain set; files of an encrypted one are in it once fetched."""

    def __init__(self, set_dir, manifest, folder, identity="", progress=SILENT):
        self.folder = folder
        self._set_dir, self._id, self._identity, self._progress = set_dir, manifest["id"], identity, progress
        section = manifest.get("encryption")
        self._waiting = {entry["path"]: entry for entry in section["files"]} if section else {}

    def fetch(self, wanted=None):
        """Decrypt the files whose path ``wanted`` accepts (all without it), each once, and compare them with the manifest.

        :raises RecoveryError: ``key_mismatch`` or ``backup_corrupt``.
        """
        entries = [entry for path, entry in self._waiting.items() if wanted is None or wanted(path)]
        if not entries:
            return
        tool, done = age.tool(), 0
        self._progress.start("decrypt", total=sum(entry["size"] for entry in entries))
        with ThreadPoolExecutor(max_workers=JOBS) as pool:
            for entry in pool.map(lambda item: self._decrypt(tool, item), entries):
                del self._waiting[entry["path"]]
                done += entry["size"]
                self._progress.update(done, entry["path"])

    def _decrypt(self, tool, entry):
        target = os.path.join(self.folder, entry["path"])
        os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
        try:
            tool.decrypt(os.path.join(self._set_dir, entry["path"] + age.SUFFIX), target, self._identity)
        except age.WrongIdentity as exc:
            raise mismatch(self._id, exc) from None
        except age.Damaged as exc:
            raise manifests.refuse(self._id, str(exc), "encryption") from None
        os.chmod(target, 0o600)
        found = manifests.hash_file(self.folder, entry["path"])
        if found["sha256"] != entry["sha256"]:
            raise manifests.refuse(self._id, "%s decrypts to other content than the manifest says" % entry["path"], "encryption")
        return entry


def mismatch(set_id, reason):
    """Return the error of a set that the identity does not open."""
    return RecoveryError(
        "key_mismatch",
        "%s is encrypted: %s" % (set_id, reason),
        next_step="-e letta_backup_identity=<path of an age identity on the database host>; manifest.json names the recipients",
    )


@contextmanager
def opened(set_dir, manifest, trust, progress=SILENT):
    """Yield the :class:`Plain` files of a set. Those of an encrypted one are removed when the block ends.

    :param trust: a :class:`~.trust.Trust`.
    :raises RecoveryError: ``key_mismatch`` when there is no identity or it does not open the set (tried on its smallest file at once);
        ``preflight`` without age, or without room for the plain copies.
    """
    section = manifest.get("encryption")
    if not section:
        yield Plain(set_dir, manifest, set_dir)
        return
    try:
        identity = age.read_identity(trust.identity)
    except age.WrongIdentity as exc:
        raise mismatch(manifest["id"], exc) from None
    needed = sum(entry["size"] for entry in section["files"])
    with workplace.private_folder(trust.scratch_dir, needed) as folder:
        plain = Plain(set_dir, manifest, folder, identity, progress)
        smallest = min(section["files"], key=lambda entry: entry["size"])
        plain.fetch(lambda path: path == smallest["path"])
        yield plain


def take_out(set_dir, path, target, trust, check=False):
    """Copy one file of a set to a private place; a copy that is there and matches is left.

    :param path: as the manifest lists it. :param target: file to write. :param check: True to look only.
    :returns: {"changed", "dest", "size", "sha256"}.
    :raises RecoveryError: ``usage`` when the set has no such file, ``backup_corrupt`` when it is not what the manifest says, else as
        :func:`opened`.
    """
    manifest = manifests.load(set_dir, trust)
    files = plain_files(manifest)
    entry = files.get(path)
    if entry is None:
        listed = ", ".join(sorted(name for name in files if not name.startswith("database/")))
        raise RecoveryError(
            "usage", "%s has no file %s" % (manifest["id"], path), now="nothing was written",
            next_step="beside the database it has: %s" % (listed or "nothing"),
        )  # fmt: skip
    folder, name = os.path.split(os.path.abspath(target))
    told = {"changed": False, "dest": target, "size": entry["size"], "sha256": entry["sha256"]}
    if os.path.isfile(target) and manifests.hash_file(folder, name)["sha256"] == entry["sha256"]:
        return told
    if not check:
        copy_out(set_dir, manifest, path, target, trust)
    return dict(told, changed=True)


def copy_out(set_dir, manifest, path, target, trust):
    """Copy one listed file of a set to a private place and compare it with the manifest; returns its SHA-256.

    :raises RecoveryError: ``backup_corrupt`` when it is not what the manifest says (nothing is left), else as :func:`opened`.
    """
    with opened(set_dir, manifest, trust) as plain:
        plain.fetch(lambda item: item == path)
        with open(os.path.join(plain.folder, path), "rb") as stream:
            durable.copy_private(target, stream)
    found = manifests.hash_file(*os.path.split(os.path.abspath(target)))["sha256"]
    if found != plain_files(manifest)[path]["sha256"]:
        os.unlink(target)
        raise manifests.refuse(manifest["id"], "%s does not match its checksum" % path, "files")
    return found


def plain_files(manifest):
    """Return {path: entry} of the files of a set as they are when they are readable."""
    return {entry["path"]: entry for entry in (manifest.get("encryption") or manifest)["files"]}
