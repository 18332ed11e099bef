# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passages that need not be read out of the archive, because live has them as they were saved: their digests say so.

Deleting an agent leaves its archives where they are, and passages with their vectors are most of a backup.
"""
from __future__ import annotations

from ..errors import LIVE_UNTOUCHED, RecoveryError
from ..postgres import rowsums
from ..postgres.rowsums import Sums

TABLE, COLUMN = "archival_passages", "archive_id"


def as_saved(bench, saved, archives):
    """Tell whether live has the passages of these archives as a set has them.

    :param saved: the ``archives`` of the set's manifest. :param archives: ids.
    :returns: {archive: [rows, digest]}, None when any of them differs.
    """
    if TABLE not in bench.tables:
        return None
    form = _form(saved)
    wanted = {archive: saved.get(archive, [0, rowsums.format_digest(0, 0, form)]) for archive in archives}
    return wanted if digests(bench, archives, form) == wanted else None


def _form(known):
    """Return the form of digests of ``{archive: [rows, digest]}``."""
    return rowsums.form_of({archive: {"digest": digest} for archive, (_rows, digest) in known.items()})


def digests(bench, archives, form):
    """Return {archive: [rows, digest]} of the passages that live has, as a manifest's digests of that form are made."""
    sums = {archive: Sums(form) for archive in archives}
    query = rowsums.sums(form, bench.tables[TABLE].sends, bench.live(TABLE), COLUMN, "where t.%s = any(%%s)" % COLUMN)
    for archive, rows, first, second in bench.rows(query, (list(archives),)):
        sums[archive].add("", rows, int(first), int(second))
    results = {archive: found.result(False) for archive, found in sums.items()}
    return {archive: [found.rows, found.digest] for archive, found in results.items()}


def still_as_saved(bench, unread):
    """Refuse to go on when what was not read is not as saved any more.

    :param unread: of the slice. :raises RecoveryError: ``preflight``.
    """
    found = digests(bench, list(unread), _form(unread)) if unread else {}
    changed = sorted(archive for archive, now in found.items() if now != list(unread[archive]))
    if changed:
        raise RecoveryError(
            "preflight", "passages were written or removed since the plan was shown, in %s" % ", ".join(changed[:5]), now=LIVE_UNTOUCHED,
            next_step="run the same command again: it plans anew and shows it",
        )  # fmt: skip


def report_rows(unread):
    """Return the report's rows of what was not read; see :func:`apply.prove`."""
    count = sum(rows for rows, _digest in unread.values())
    row = {"name": TABLE, "rows_expected": count, "rows_restored": count, "digest": "equal"}
    return [dict(row, explanation="live had them as they were saved: compared by digest, not read")] if unread else []
