# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a backup set: its name, its checksums, and what makes it refused."""
from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

from .. import durable
from ..errors import RecoveryError
from ..findings import FAIL, PASS, WARN, Finding
from ..postgres import pieces
from ..progress import Progress, human_bytes
from . import signature, wellformed

SILENT = Progress(None)

FORMAT = 1
FORMAT_SEGMENTS = 2  # with tables in binary form beside the archive: a release that does not know them must not restore without
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
HOLDER = ".holder"  # lives in a set in the making only
UNREADABLE = "files.unreadable"  # of a file that could not be read: no word on what is in it
BLOCK = 4 << 20  # bytes; a damaged file is named down to one such range
FLUSHES = 8  # files flushed at a time: a journal takes several with one write
ID = re.compile(r"lb-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}")
_NO_FILE = (errno.ELOOP, errno.EISDIR, errno.ENOTDIR)  # something else lies in a file's place
_REQUIRED = ("id", "kind", "taken_at", "letta", "postgresql", "database", "tables", "sequences", "files", "checksum")
_KINDS = ("backup", "adopted", "safety")
VERIFY_STEP = "catalog.yml --tags verify shows which sets are good; choose one with -e letta_backup_id=<id>"


def stamp(moment):
    """Return an aware datetime as the manifest writes it: ``2026-11-21T03:30:00Z``."""
    return moment.astimezone(timezone.utc).strftime(wellformed.STAMP)


def parse_stamp(text):
    """Return the aware datetime of :func:`stamp`'s text. Raises ValueError for anything else."""
    return datetime.strptime(text, wellformed.STAMP).replace(tzinfo=timezone.utc)


def new_id(now, kind="lb"):
    """Return a fresh id for an aware datetime, a set's unless another ``kind`` is named: ``lb-20261121T033000Z-4f2a9c``."""
    return "%s-%s-%s" % (kind, now.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ"), secrets.token_hex(3))


def checksum(manifest):
    """Return the checksum over the canonical JSON of a manifest, its own ``checksum`` left out."""
    plain = {key: value for key, value in manifest.items() if key != "checksum"}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode("utf-8")).hexdigest()


def seal(manifest):
    """Return a copy of the manifest with its own checksum."""
    return dict(manifest, checksum=checksum(manifest))


def refuse(set_id, reason, problem):
    """Return the ``backup_corrupt`` error of a set; ``problem`` is the short word for programs."""
    return RecoveryError(
        "backup_corrupt", "%s: %s" % (set_id, reason), next_step=VERIFY_STEP, details={"id": set_id, "reason": reason, "problem": problem}
    )


def load(set_dir, trust=None):
    """Read and check the manifest of a set.

    :param set_dir: the set's folder; its name must be the set's id.
    :param trust: a :class:`~.trust.Trust`; where it names allowed signers, nothing is read out of a manifest before its signature is good.
    :returns: the manifest, a dict of format 1 or 2.
    :raises RecoveryError: ``backup_corrupt``, each fault with its own reason and ``details.problem``: ``no_manifest``,
        ``unreadable``, ``not_json``, ``future_format``, ``incomplete``, ``wrong_label``, ``edited``, ``unsafe_path``, and the words
        of :func:`signature.problem_with`. ``preflight`` when signatures cannot be judged here.
    """
    name = os.path.basename(os.path.abspath(set_dir))
    try:
        with open(os.path.join(set_dir, MANIFEST), "rb") as stream:
            data = stream.read()
        if trust is not None and trust.allowed_signers:
            problem = signature.problem_with(data, os.path.join(set_dir, MANIFEST + signature.SUFFIX), trust)
            if problem:
                raise refuse(name, problem[1], problem[0])
        manifest = durable.parse_json(data)
    except FileNotFoundError:
        raise refuse(name, "no manifest.json, so the set was never finished or part of it is gone", "no_manifest") from None
    except OSError as exc:
        raise refuse(name, "manifest.json cannot be read (%s)" % exc.strerror, "unreadable") from None
    except ValueError:
        raise refuse(name, "manifest.json is cut or is no JSON", "not_json") from None
    if not isinstance(manifest, dict) or not wellformed.is_whole(manifest.get("format")) or manifest["format"] < FORMAT:
        raise refuse(name, "manifest.json names no format", "incomplete")
    if manifest["format"] > FORMAT_SEGMENTS:
        text = "manifest format %d was written by a newer release of this collection; this one reads up to %d"
        raise refuse(name, text % (manifest["format"], FORMAT_SEGMENTS), "future_format")
    _check_content(name, manifest)
    return manifest


def _check_content(name, manifest):
    missing = [key for key in _REQUIRED if key not in manifest]
    if missing:
        raise refuse(name, "manifest.json lacks %s" % ", ".join(missing), "incomplete")
    if manifest["checksum"] != _checksum_of(name, manifest):
        raise refuse(name, "manifest.json was edited: its checksum does not match its content", "edited")
    if manifest["id"] != name:
        raise refuse(name, "the folder is named %s but holds the set %s" % (name, manifest["id"]), "wrong_label")
    if manifest["kind"] not in _KINDS:
        raise refuse(name, "unknown kind of set %r" % manifest["kind"], "incomplete")
    wrong = wellformed.problem(manifest)
    if wrong:
        raise refuse(name, "manifest.json misstates what is in the set: %s" % wrong, "incomplete")
    _check_paths(name, manifest["files"])
    _check_paths(name, [manifest["database"].get("archive") or {"path": "database"}])
    encrypted = (manifest.get("encryption") or {}).get("files") or []
    _check_paths(name, encrypted)
    if manifest["database"].get("segments"):
        problem = pieces.problem(manifest["database"]["segments"], {entry["path"] for entry in encrypted or manifest["files"]})
        if problem:
            raise refuse(name, problem, "incomplete")


def _checksum_of(name, manifest):
    try:
        return checksum(manifest)
    except UnicodeEncodeError:  # JSON can escape halves of characters, which no text of PostgreSQL holds
        raise refuse(name, "manifest.json holds text that is no Unicode", "not_json") from None


def _check_paths(name, entries):
    seen = set()
    for entry in entries:
        path = entry["path"]
        outside = path.startswith("/") or path.split("/")[0] in (".", "..") or os.path.normpath(path) != path
        if outside or "\0" in path or path in seen:
            raise refuse(name, "manifest.json lists the unsafe path %r" % path, "unsafe_path")
        seen.add(path)


def write(set_dir, manifest, signing_key=""):
    """Write ``SHA256SUMS``, the signature where there is a key, and then, last of all, the sealed manifest. Returns the sealed manifest."""
    lines = "".join("%s  %s\n" % (entry["sha256"], entry["path"]) for entry in manifest["files"])
    durable.write_private(os.path.join(set_dir, SUMS), lines.encode("utf-8"))
    sealed = seal(dict(manifest, files=manifest["files"] + [hash_file(set_dir, SUMS)]))
    data = durable.json_bytes(sealed)
    if signing_key:
        durable.write_private(os.path.join(set_dir, MANIFEST + signature.SUFFIX), signature.sign(data, signing_key))
    durable.write_private(os.path.join(set_dir, MANIFEST), data)
    return sealed


def list_files(set_dir):
    """Return the relative paths of everything in a set that is no folder, sorted; manifest, its signature, sums and holder left out."""
    found = []
    for folder, _dirs, names in os.walk(set_dir):
        for name in names + [d for d in _dirs if os.path.islink(os.path.join(folder, d))]:
            relative = os.path.relpath(os.path.join(folder, name), set_dir)
            if relative not in (MANIFEST, MANIFEST + signature.SUFFIX, SUMS, HOLDER):
                found.append(relative)
    return sorted(found)


def checksum_files(set_dir, progress=SILENT, jobs=2):
    """Hash, flush and make private (0600) every file of a set in the making.

    :returns: ``[{"path", "size", "sha256"}]`` sorted by path; files above 4 MiB also carry ``crc32``, one per 4 MiB block,
        so that damage can be named by its byte range.
    """
    paths = list_files(set_dir)
    sizes = {path: os.lstat(os.path.join(set_dir, path)).st_size for path in paths}
    progress.start("checksum", total=sum(sizes.values()))
    for folder, dirs, _names in os.walk(set_dir):
        for name in dirs:
            os.chmod(os.path.join(folder, name), 0o700)
    entries, done = [], 0
    with ThreadPoolExecutor(FLUSHES) as flushes, ThreadPoolExecutor(max_workers=jobs) as pool:
        flushed = flushes.map(lambda path: durable.seal(os.path.join(set_dir, path)), paths)
        for entry in pool.map(lambda path: hash_file(set_dir, path), paths):
            entries.append(entry)
            done += entry["size"]
            progress.update(done, entry["path"])
        for _none in flushed:  # raises what flushing raised
            continue
    for folder, _dirs, _names in os.walk(set_dir):
        durable.fsync_dir(folder)
    return entries


def hash_file(set_dir, path):
    """Return the entry of one file: path, size, sha256, and crc32 of each block when it has several."""
    whole, blocks, size = hashlib.sha256(), [], 0
    fd = os.open(os.path.join(set_dir, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe in its place must not hold us up
    with os.fdopen(fd, "rb", buffering=0) as stream:
        for block in iter(lambda: _read_block(stream), b""):
            whole.update(block)
            blocks.append("%08x" % zlib.crc32(block))
            size += len(block)
    entry = {"path": path, "size": size, "sha256": whole.hexdigest()}
    if len(blocks) > 1:
        entry["crc32"] = blocks
    return entry


def _read_block(stream):
    # An unbuffered read may come back short; the blocks must not depend on that.
    parts, wanted = [], BLOCK
    while wanted:
        part = stream.read(wanted)
        if not part:
            break
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)


def verify_files(set_dir, manifest, progress=SILENT, jobs=2):
    """Compare every file of a set with its manifest.

    :returns: a list of :class:`Finding`: ``files.checksum`` and ``files.absent`` (fail), ``files.unlisted`` (warn),
        or one ``files`` that passes. A damaged file is named with the byte range that differs.
    """
    listed = {entry["path"]: entry for entry in manifest["files"]}
    findings, done = [], 0
    progress.start("verify", total=sum(entry["size"] for entry in listed.values()))
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        for entry, problem in zip(listed.values(), pool.map(lambda entry: _compare(set_dir, entry), listed.values())):
            done += entry["size"]
            progress.update(done, entry["path"])
            if problem:
                findings.append(problem)
    extra = [path for path in list_files(set_dir) if path not in listed]
    if extra:
        text = "%d file(s) that the manifest does not list are ignored: %s" % (len(extra), ", ".join(extra[:3]))
        findings.append(Finding("files.unlisted", WARN, text, len(extra), extra))
    if not any(finding.status == FAIL for finding in findings):
        text = "%d files, %s, match their checksums" % (len(listed), human_bytes(done))
        findings.insert(0, Finding("files", PASS, text))
    return findings


def _compare(set_dir, entry):
    path = entry["path"]
    try:
        found = hash_file(set_dir, path)
    except FileNotFoundError:
        return Finding("files.absent", FAIL, "%s is listed in the manifest but absent" % path, 1, (path,))
    except OSError as exc:
        if exc.errno in _NO_FILE:
            return Finding("files.replaced", FAIL, "%s is no regular file" % path, 1, (path,))
        return Finding(UNREADABLE, FAIL, "%s cannot be read (%s)" % (path, exc.strerror), 1, (path,))
    if found["sha256"] == entry["sha256"] and found["size"] == entry["size"]:
        return None
    if found["size"] != entry["size"]:
        text = "%s has %d bytes instead of %d" % (path, found["size"], entry["size"])
        return Finding("files.checksum", FAIL, text, 1, (path,))
    start, end = _damaged_range(entry, found)
    text = "%s does not match its checksum (byte range %d-%d)" % (path, start, end)
    return Finding("files.checksum", FAIL, text, 1, (path,))


def _damaged_range(entry, found):
    bad = [i for i, (was, now) in enumerate(zip(entry.get("crc32", ()), found.get("crc32", ()))) if was != now]
    if not bad:
        return 0, entry["size"]
    return bad[0] * BLOCK, min((bad[-1] + 1) * BLOCK, entry["size"])
