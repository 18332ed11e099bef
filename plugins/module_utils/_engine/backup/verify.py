# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verifying a set without restoring it: checksums, table of contents, every member, what the manifest promises."""
from __future__ import annotations

import os
import tarfile

from ..errors import RecoveryError
from ..findings import FAIL, PASS, WARN, Finding, worst
from ..postgres import packing
from ..postgres import tools as pg_tools
from ..postgres.archive import check_readable, open_archive
from ..postgres.pieces import Saved
from ..progress import Progress
from . import archive_facts, catalogue, screening, sealed, unpack
from . import manifest as manifests
from .trust import ANYBODY

SILENT = Progress(None)

ERROR = "error"  # not judged, as opposed to failed
DEPTHS = ("checksums", "full")
NOT_CHECKED = "encryption.closed"


def verify_set(set_dir, tools=None, deep=True, progress=SILENT, trust=ANYBODY):
    """Verify one set; the set is not changed.

    :param set_dir: its folder.
    :param tools: client tools; found by themselves when None (only a deep verification needs them).
    :param deep: read the archive and the volumes too, not only the checksums.
    :param trust: a :class:`~.trust.Trust`: who must have signed it, and what opens it when it is encrypted.
    :returns: a list of :class:`Finding` (``manifest``, ``files…``, ``encryption``, ``archive…``, ``tables``, ``sequences``, ``volumes``).
    :raises RecoveryError: ``preflight`` when no tool here can read the archive: that says nothing about the set.
    """
    try:
        manifest = manifests.load(set_dir, trust)
    except RecoveryError as exc:
        if exc.failure_class != "backup_corrupt":
            raise
        return [Finding("manifest", FAIL, exc.details["reason"], 1)]
    findings = manifests.verify_files(set_dir, manifest, progress)
    if deep and all(finding.status != FAIL for finding in findings):
        # Reading a file that fails its checksum would only repeat the news.
        findings += _content_findings(set_dir, manifest, tools, progress, trust)
    return findings


def _content_findings(set_dir, manifest, tools, progress, trust):
    try:
        with sealed.opened(set_dir, manifest, trust, progress) as plain:
            plain.fetch()
            findings = _archive_findings(plain.folder, manifest, tools or _tools_for(manifest), progress)
            return findings + [item for volume in manifest.get("volumes") or [] for item in _volume_findings(plain.folder, volume)]
    except RecoveryError as exc:
        if exc.failure_class == "key_mismatch":
            return [Finding(NOT_CHECKED, WARN, "contents not checked: %s" % exc.message.partition(": ")[2], 1)]
        if exc.failure_class == "backup_corrupt":
            return [Finding("encryption", FAIL, exc.message, 1)]
        raise


def verify_and_note(root, info, depth, bin_dir=None, progress=SILENT, keep=True, trust=ANYBODY):
    """Verify a set of the catalogue to ``depth`` (``checksums`` or ``full``); with ``keep`` the outcome stays beside the sets.

    :returns: ``(findings, status)``; status ``error`` when a file could not be read: that says nothing about the set, and is not kept.
    """
    tools = tools_for(info.path, bin_dir) if depth == "full" and info.usable else None
    findings = verify_set(info.path, tools, depth == "full", progress, trust)
    status = worst(findings)
    failed = [finding.id for finding in findings if finding.status == FAIL]
    if info.problem == "unreadable" or set(failed) == {manifests.UNREADABLE}:
        return findings, ERROR
    if any(finding.id == NOT_CHECKED for finding in findings):
        depth = "checksums"
    if keep and info.usable:
        catalogue.note_verified(root, manifests.load(info.path, trust), findings, depth, status)
    return findings, status


def tools_for(set_dir, bin_dir=None):
    """Return tools that can read a set's archive. :raises RecoveryError: ``preflight`` naming what to install."""
    return _tools_for(manifests.load(set_dir), bin_dir)


def _tools_for(manifest, bin_dir=None):
    if manifest["database"].get("segments"):
        packing.require(manifest["database"]["segments"]["compression"], manifest["id"])
    major = int(str(manifest["postgresql"].get("dump_version") or "0").split(".", 1)[0])
    return pg_tools.find_tools(bin_dir, min_major=major, compression=manifest["database"]["archive"]["compression"], need=("pg_restore",))


def _archive_findings(set_dir, manifest, tools, progress):
    path = os.path.join(set_dir, manifest["database"]["archive"]["path"])
    try:
        archive = open_archive(path, tools)
        refused = screening.refused(archive)
        if refused:
            names = ["%s %s" % entry for entry in refused]
            text = "the archive holds what no Letta database has: %s" % ", ".join(names[:5])
            return [Finding("archive.refused", FAIL, text, len(names), names)]
        counted = check_readable(archive, tools, progress)
        binary = Saved.of(manifest, set_dir)
        if binary:
            counted.update(binary.count(progress))
    except RecoveryError as exc:
        if exc.failure_class == "preflight":
            raise
        return [Finding("archive.unreadable", FAIL, exc.message, 1)]
    findings = [Finding("archive", PASS, "%d entries, every member can be read" % len(archive.entries))]
    held = {"%s.%s" % (entry.schema, entry.name): 0 for entry in archive.data_entries()}
    return findings + [_tables(manifest, dict(held, **counted)), _sequences(manifest, archive)]


def _tables(manifest, counted):
    listed = {name: table["rows"] for name, table in manifest["tables"].items()}
    wrong = sorted(name for name in set(listed) | set(counted) if listed.get(name) != counted.get(name))
    if not wrong:
        return Finding("tables", PASS, "%d tables, %d rows as the manifest says" % (len(counted), sum(counted.values())))
    first = wrong[0]
    text = "%d table(s) differ from the manifest: %s has %s rows in the archive and %s in the manifest"
    return Finding("tables", FAIL, text % (len(wrong), first, counted.get(first, "no"), listed.get(first, "no")), len(wrong), wrong)


def _sequences(manifest, archive):
    held = archive_facts.sequence_values(archive)
    plain = {name: {key: value[key] for key in ("last_value", "is_called")} for name, value in manifest["sequences"].items()}
    wrong = sorted(name for name in set(held) | set(plain) if held.get(name) != plain.get(name))
    if wrong:
        return Finding("sequences", FAIL, "sequences differ from the manifest: %s" % ", ".join(wrong), len(wrong), wrong)
    return Finding("sequences", PASS, "%d sequences as the manifest says" % len(held))


def _volume_findings(set_dir, volume):
    try:
        facts = unpack.read_volume(os.path.join(set_dir, volume["archive"]))
    except (tarfile.TarError, OSError, EOFError, ValueError) as exc:
        return [Finding("volumes.unreadable", FAIL, "volume %s: %s" % (volume["name"], exc), 1, (volume["name"],))]
    if (facts["files"], facts["bytes"]) != (volume["files"], volume["bytes"]):
        text = "volume %s holds %d files and %d bytes, the manifest says %d and %d"
        values = (volume["name"], facts["files"], facts["bytes"], volume["files"], volume["bytes"])
        return [Finding("volumes.content", FAIL, text % values, 1, (volume["name"],))]
    if volume.get("tree_digest") not in (None, facts["tree_digest"]):
        text = "what volume %s holds has another digest than the manifest says" % volume["name"]
        return [Finding("volumes.content", FAIL, text, 1, (volume["name"],))]
    status = WARN if not facts["files"] else PASS
    return [Finding("volumes", status, "volume %s: %d files" % (volume["name"], facts["files"]))]
