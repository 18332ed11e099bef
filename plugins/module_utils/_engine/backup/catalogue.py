# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in a folder of sets: the list, what is known of each, and how to tell it to a person."""
from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

from .. import durable
from ..errors import RecoveryError
from ..findings import FAIL, PASS, WARN
from ..progress import human_bytes
from . import manifest as manifests
from . import rehearsals, signature, store

CLOCK_SKEW = timedelta(minutes=5)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_AGE_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGE = re.compile(r"([0-9]{1,12})\s*([smhdw]?)")
LONGEST_AGE = 100 * 366 * 86400  # a moment that much earlier or later is still one that Python knows


@dataclass(frozen=True)
class SetInfo:
    """One folder of the store, as the catalogue shows it. ``usable`` False comes with ``reason`` and ``problem``."""

    id: str
    path: str
    usable: bool = False
    reason: str = ""
    problem: str = ""
    kind: str = ""
    taken_at: datetime = _EPOCH
    age_seconds: int = 0
    size_bytes: int = 0
    database: str = ""
    letta_version: str | None = None
    release_range: str | None = None
    alembic_revisions: tuple = ()
    agents: int = 0
    encrypted: bool = False
    signed: bool = False  # a signature lies beside its manifest; who made it is judged where allowed signers are given
    valid_until: datetime | None = None
    verified_at: str | None = None
    verified_depth: str | None = None
    verified_status: str | None = None
    warnings: tuple = field(default_factory=tuple)
    cluster: str | None = None  # PostgreSQL's own identity of the cluster it was taken from
    store: str = ""  # where it was found, when more than one place was searched
    rehearsal: dict | None = None  # its last one, of :func:`rehearsals.last_of`, where :func:`with_rehearsals` has looked
    at_hand: bool = True  # False: ``path`` holds the manifest alone, the rest is still in a remote store

    @property
    def order(self):
        """The order of sets in time: by the server's clock at the snapshot, then by id."""
        return (self.taken_at, self.id)

    @property
    def good(self):
        """Usable, and not known to be damaged."""
        return self.usable and self.verified_status != "fail"

    def as_dict(self):
        """Return plain data for results and reports; moments as text."""
        data = dict(self.__dict__, alembic_revisions=list(self.alembic_revisions), warnings=list(self.warnings), good=self.good)
        data["taken_at"] = manifests.stamp(self.taken_at) if self.taken_at != _EPOCH else None
        data["valid_until"] = manifests.stamp(self.valid_until) if self.valid_until else None
        return data


def list_sets(root, now=None, trust=None):
    """Return every set of the store, newest first, the ones that cannot be used (with their reason) among them.

    :param root: the store. Hidden folders and files are no sets; other folders count when they look like one.
    :param now: aware datetime, for ages; the host's clock by default.
    :param trust: a :class:`~.trust.Trust`; sets without a good signature cannot be used where it asks for one.
    :raises RecoveryError: ``preflight`` when the store cannot be read.
    """
    store.check_root(root)
    now = now or datetime.now(timezone.utc)
    infos = []
    for name in os.listdir(root):
        path = os.path.join(root, name)
        if name.startswith(".") or not os.path.isdir(path):
            continue
        if name.startswith("lb-") or os.path.lexists(os.path.join(path, manifests.MANIFEST)):
            infos.append(read_set(root, name, now, trust))
    return sorted(infos, key=lambda info: info.order, reverse=True)


def with_rehearsals(root, infos):
    """Return the same sets, each with its last rehearsal."""
    records, _damaged = rehearsals.read(root)
    return [replace(info, rehearsal=rehearsals.last_of(records, info.id)) for info in infos]


def read_set(root, name, now, trust=None):
    """Return the :class:`SetInfo` of one folder; a bad manifest makes it unusable, not an error."""
    path = os.path.join(root, name)
    try:
        manifest = manifests.load(path, trust)
        facts = _facts(manifest, now)
    except RecoveryError as exc:
        if exc.failure_class != "backup_corrupt":
            raise  # signatures cannot be judged here: that says nothing about the set
        return _unusable(name, path, now, exc.details["reason"], exc.details["problem"])
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        return _unusable(name, path, now, "manifest.json lacks or misstates %s" % exc, "incomplete")
    note = _note(root, manifest)
    return SetInfo(
        id=name,
        path=path,
        usable=True,
        signed=os.path.isfile(os.path.join(path, manifests.MANIFEST + signature.SUFFIX)),
        verified_at=note.get("verified_at"),
        verified_depth=note.get("depth"),
        verified_status=note.get("status"),
        **facts
    )


def _unusable(name, path, now, reason, problem):
    # The name alone tells when it was taken: enough to show the set at its place among the others.
    taken_at = _EPOCH
    if manifests.ID.fullmatch(name):
        with contextlib.suppress(ValueError):  # digits that are no moment
            taken_at = datetime.strptime(name[3:19], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    age = int((now - taken_at).total_seconds()) if taken_at != _EPOCH else 0
    return SetInfo(id=name, path=path, reason=reason, problem=problem, taken_at=taken_at, age_seconds=age)


def _facts(manifest, now):
    taken_at = manifests.parse_stamp(manifest["taken_at"])
    until = manifest.get("valid_until")
    warnings = list(manifest.get("warnings") or ())
    if taken_at > now + CLOCK_SKEW:
        warnings.append("taken at %s, which is in the future here: a clock is wrong" % manifest["taken_at"])
    return dict(
        kind=manifest["kind"],
        taken_at=taken_at,
        age_seconds=int((now - taken_at).total_seconds()),
        size_bytes=sum(entry["size"] for entry in manifest["files"]),
        database=manifest["database"]["name"],
        letta_version=manifest["letta"].get("version"),
        release_range=manifest["letta"].get("release_range"),
        alembic_revisions=tuple(manifest["letta"]["alembic_revisions"]),
        agents=len(manifest.get("agents") or {}),
        encrypted=bool(manifest.get("encryption")),
        valid_until=manifests.parse_stamp(until) if until else None,
        cluster=manifest["postgresql"].get("system_identifier"),
        warnings=tuple(warnings),
    )


def _note(root, manifest):
    try:
        note = durable.read_json(os.path.join(root, store.CATALOG, manifest["id"] + ".json"))
    except (OSError, ValueError):
        return {}  # a lost note only means: not known to be verified
    return note if isinstance(note, dict) and note.get("manifest_checksum") == manifest["checksum"] and _is_whole(note) else {}


def _is_whole(note):
    """Tell whether a note says what :func:`note_verified` writes."""
    try:
        manifests.parse_stamp(note["verified_at"])
    except (KeyError, TypeError, ValueError):
        return False
    return note.get("status") in (PASS, WARN, FAIL) and isinstance(note.get("depth"), str)


def note_verified(root, manifest, findings, depth, status, now=None):
    """Keep the outcome of a verification beside the sets, for the catalogue. Returns the note."""
    note = {
        "id": manifest["id"],
        "manifest_checksum": manifest["checksum"],
        "verified_at": manifests.stamp(now or datetime.now(timezone.utc)),
        "depth": depth,
        "status": status,
        "findings": [finding.as_dict() for finding in findings],
    }
    durable.make_private_dir(os.path.join(root, store.CATALOG))
    durable.write_json(os.path.join(root, store.CATALOG, manifest["id"] + ".json"), note)
    return note


def parse_age(value):
    """Return seconds of ``90``, ``"90s"``, ``"36h"``, ``"2d"`` (None stays None). :raises RecoveryError: ``usage``."""
    if value in (None, ""):
        return None
    match = _AGE.fullmatch(str(value).strip())
    seconds = int(match.group(1)) * _AGE_UNITS[match.group(2) or "s"] if match else None
    if seconds is None or seconds > LONGEST_AGE:
        raise RecoveryError("usage", "%.80r is no age of at most a hundred years" % (value,), next_step="write it as 36h, 2d or 90m")
    return seconds


def format_line(info, now=None):
    """Return one line about a set for a person: id, moment, age, size, release, revision, when it was verified."""
    now = now or datetime.now(timezone.utc)
    parts = [info.id]
    if info.taken_at != _EPOCH:
        parts.append("%s (%s)" % (info.taken_at.strftime("%Y-%m-%d %H:%M UTC"), human_age(info.age_seconds)))
    if not info.usable:
        return "  ".join(parts + ["NOT USABLE: %s" % info.reason])
    parts += [human_bytes(info.size_bytes), "Letta %s" % (info.letta_version or info.release_range or "unknown")]
    parts += [",".join(info.alembic_revisions) or "no revision", "%d agents" % info.agents]
    if info.kind != "backup":
        parts.append(info.kind)
    parts += [word for word, true in (("signed", info.signed), ("encrypted", info.encrypted)) if true]
    if info.verified_at:
        ago = human_age(int((now - manifests.parse_stamp(info.verified_at)).total_seconds()))
        parts.append("%s %s (%s)" % ("FAILED verification" if info.verified_status == "fail" else "verified", ago, info.verified_depth))
    else:
        parts.append("never verified")
    if info.rehearsal:
        parts.append(_rehearsed(info.rehearsal, now))
    return "  ".join(parts)


def _rehearsed(told, now):
    words = {rehearsals.PASSED: "rehearsal passed", rehearsals.FAILED: "rehearsal FAILED", rehearsals.ERROR: "rehearsal gave no verdict"}
    text = words[told["verdict"]]
    with contextlib.suppress(TypeError, ValueError):  # a line of the history without a moment still tells the verdict
        text += " %s" % human_age(int((now - manifests.parse_stamp(told["finished_at"])).total_seconds()))
    if told["verdict"] != rehearsals.FAILED or not told["reason"]:
        return text
    return "%s: %s" % (text, "".join(char if char.isprintable() else " " for char in str(told["reason"])[:200]))


def human_age(seconds):
    """Return an age for a person: ``3 h ago``, ``12 d ago``, ``in the future``."""
    if seconds < -CLOCK_SKEW.total_seconds():
        return "in the future"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return "%d %s ago" % (seconds // size, unit)
    return "just now"
