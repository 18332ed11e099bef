# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Letta release has which database schema, and what lies between two of them.

Pure functions over :mod:`chain_data`, which says how the data was derived (from the
``alembic/versions`` folders of Letta's release tags). Equal revisions mean equal schemas
even where versions differ, so restores compare revisions, never versions.
"""
from __future__ import annotations

from dataclasses import dataclass

from .chain_data import CHAIN, HAZARDS, HEADS

EQUAL, OLDER, NEWER, UNKNOWN = "equal", "older", "newer", "unknown"
TWO_HEADS, EMPTY, MISSING = "two_heads", "empty", "missing"
VERDICTS = (EQUAL, OLDER, NEWER, UNKNOWN, TWO_HEADS, EMPTY, MISSING)

_RELEASES = {revision: tuple(versions.split()) for revision, versions in HEADS}
_HEAD = {version: revision for revision, versions in _RELEASES.items() for version in versions}
_POSITION = {entry[0]: index for index, entry in enumerate(CHAIN, 1)}


@dataclass(frozen=True)
class Revision:
    """One step of Letta's chain of migrations.

    :param revision: Alembic's id (``1c28e167b74f``).
    :param position: 1 for the first revision.
    :param release: the first release that brought it.
    :param subject: what it does, from its file name.
    :param changes_data: it rewrites rows, so its time grows with the database.
    :param commits_midway: a failure behind it leaves the database in the middle of the chain.
    :param needs_encryption_key: it silently skips its work without ``LETTA_ENCRYPTION_KEY``.
    :param concurrent_index: an interruption leaves an invalid index.
    :param hazard: rows it loses or stumbles over, or None.
    """

    revision: str
    position: int
    release: str
    subject: str
    changes_data: bool
    commits_midway: bool
    needs_encryption_key: bool
    concurrent_index: bool
    hazard: str | None


@dataclass(frozen=True)
class Comparison:
    """How a database's revision stands to the one a release needs.

    :param verdict: one of :data:`VERDICTS`.
    :param revision: the database's revision when it has exactly one, else None.
    :param target: the revision it was compared with.
    :param between: revision ids, oldest first: those to run when ``older``, those the target
        lacks when ``newer``, else none.
    :param detail: one sentence for a person.
    """

    verdict: str
    revision: str | None
    target: str | None
    between: tuple
    detail: str


def all_revisions():
    """Return every known revision, oldest first, as :class:`Revision`."""
    return [revision_info(entry[0]) for entry in CHAIN]


def revision_info(revision):
    """Return the :class:`Revision` of an Alembic id, or None when it is not one of Letta's we know."""
    index = _POSITION.get(revision)
    if index is None:
        return None
    name, release, subject, flags = CHAIN[index - 1]
    return Revision(name, index, release, subject, "d" in flags, "c" in flags, "k" in flags, "i" in flags, HAZARDS.get(name))


def known_versions():
    """Return the known release numbers, oldest first."""
    return [version for revision, versions in HEADS for version in versions.split()]


def head_of(version):
    """Return the revision a release runs on (``"0.16.8"`` or ``"v0.16.8"``), or None for an unknown release."""
    return _HEAD.get((version or "").strip().lstrip("v"))


def position(revision):
    """Return a revision's place in the chain (1 is the first), or None when it is unknown."""
    return _POSITION.get(revision)


def releases_of(revision):
    """Return the releases whose schema is exactly this revision, oldest first; none for one in the middle of a release."""
    return list(_RELEASES.get(revision, ()))


def release_range_of(revision):
    """Return the releases of a revision for a person: ``0.16.7–0.16.8``, ``0.11.7``, or None."""
    versions = releases_of(revision)
    if not versions:
        return None
    return versions[0] if len(versions) == 1 else "%s–%s" % (versions[0], versions[-1])


def describe(revision):
    """Return a revision with its releases for a person: ``1c28e167b74f (0.16.7–0.16.8)``."""
    info = revision_info(revision)
    if info is None:
        return "%s (unknown)" % revision
    return "%s (%s)" % (revision, release_range_of(revision) or "on the way to %s" % info.release)


def compare(backup_revisions, target_revision):
    """Compare what a database or an archive says about itself with the revision a release needs.

    :param backup_revisions: the rows of ``alembic_version``; None when the table itself is absent.
    :param target_revision: the revision of the release that will run.
    :returns: :class:`Comparison`. The same id on both sides is ``equal`` even where we do not know it;
        otherwise an id outside the chain, on either side, is ``unknown``.
    """
    if backup_revisions is None:
        return Comparison(MISSING, None, target_revision, (), "there is no table alembic_version: not a Letta database, or not its schema")
    heads = sorted(set(backup_revisions))
    if not heads:
        return Comparison(EMPTY, None, target_revision, (), "alembic_version is empty: the database says no revision")
    if len(heads) > 1:
        return Comparison(TWO_HEADS, None, target_revision, (), "alembic_version names %d revisions: %s" % (len(heads), ", ".join(heads)))
    return _compare_one(heads[0], target_revision)


def _compare_one(revision, target):
    if revision == target:
        return Comparison(EQUAL, revision, target, (), "the schema is the same: %s" % describe(revision))
    here, there = position(revision), position(target)
    if here is None or there is None:
        strange = revision if here is None else target
        detail = "revision %s belongs to no Letta release up to %s" % (strange, known_versions()[-1])
        return Comparison(UNKNOWN, revision, target, (), detail)
    low, high = sorted((here, there))
    between = tuple(entry[0] for entry in CHAIN[low:high])
    verdict = OLDER if here < there else NEWER
    detail = "%s is %d migration%s %s than %s" % (
        describe(revision), len(between), "" if len(between) == 1 else "s", verdict, describe(target),
    )
    return Comparison(verdict, revision, target, between, detail)
