# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the encryption key open the values in this very archive? Told before anything is loaded, without a server, in counts only.

A fingerprint in a manifest says which key somebody gave when the set was made. It does not say under which keys the rows were written.
"""
from __future__ import annotations

import hashlib
import heapq
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ..errors import RecoveryError
from ..letta import ciphers
from ..postgres.archive import data_columns, read_rows
from ..progress import Progress

# Trying a key costs tens of milliseconds of one core per value, as Letta chose it to.
MOST_TRIED = 200
WORKERS = 4
# What the plan says of the key.
PROVEN, SAMPLED, UNPROVEN, NOTHING = "proven", "sampled", "unproven", "nothing"
# A base provider's encrypted empty string: Letta writes it at its first start, never again, and reads past one under a lost key.
EMPTY_OTHER_KEY = "empty_other_key"
_COUNTED = (*ciphers.CLASSES, EMPTY_OTHER_KEY)


@dataclass
class Column:
    """What one encrypted column holds; of its encrypted values a sample of bounded size, the rest as a number."""

    plain: int = 0
    empty: int = 0
    encrypted: int = 0
    sample: list = field(default_factory=list, repr=False)

    def add(self, value):
        if not value:
            self.empty += 1
        elif not ciphers.is_encrypted(value):
            self.plain += 1
        else:
            self.encrypted += 1
            # Those with the greatest hashes are a fair sample, wherever in the table they stand, and the same one at every run.
            keep = heapq.heappush if len(self.sample) < MOST_TRIED else heapq.heappushpop
            keep(self.sample, (hashlib.sha256(value.encode("utf-8")).digest(), value))


def check_key(archive, tools, schema, set_id, key="", progress=None):
    """Try the key on the encrypted values of an archive.

    :param archive: :class:`Archive`. :param tools: Tools with ``pg_restore``. :param schema: the one Letta's tables are in.
    :param set_id: for messages. :param key: ``LETTA_ENCRYPTION_KEY``, empty when none was given.
    :returns: (facts, warnings). facts: ``{"verdict", "columns": {"table.column": counts}, "total": counts}``, counts being numbers
        of values ``under_key``, ``other_key``, ``plain``, ``empty``, ``unchecked``, ``empty_other_key`` (encrypted empty strings
        that do not open). verdict: ``proven`` (every encrypted value opens), ``sampled`` (every one that was tried does, at most
        200 of a column were), ``unproven`` (no key given), ``nothing`` (nothing is encrypted).
    :raises RecoveryError: ``key_mismatch`` with the counts; ``preflight`` without the package ``cryptography``; ``backup_corrupt``.
    """
    return judge(_read(archive, tools, schema), set_id, key, progress)


def judge(columns, set_id, key, progress=None):
    """Try a key on values that were read.

    :param columns: {"table.column": :class:`Column`}; the rest as :func:`check_key`.
    """
    counts = _tried(columns, key, progress or Progress(None))
    total = {name: sum(column[name] for column in counts.values()) for name in _COUNTED}
    facts = {"verdict": _verdict(total, key), "columns": counts, "total": total}
    # Empty strings alone say that the key is wrong; beside secrets that open they only say that it was another one at first.
    if total[ciphers.OTHER_KEY] or (total[EMPTY_OTHER_KEY] and not total[ciphers.UNDER_KEY]):
        raise _mismatch(set_id, facts)
    return facts, _warnings(facts, key)


def _read(archive, tools, schema):
    """Return {"table.column": :class:`Column`} of the encrypted columns the archive has; streams only the tables that have some."""
    found = {}
    for entry in archive.data_entries():
        known = ciphers.COLUMNS.get(entry.name, {}) if entry.schema == schema else {}
        places = [(index, Column(), name) for index, name in enumerate(data_columns(entry)) if name in known] if known else []
        if not places:
            continue  # releases before 0.12 have the tables without these columns
        _names, rows = read_rows(archive, tools, "%s.%s" % (schema, entry.name))
        for row in rows:
            for index, column, _name in places:
                column.add(row[index])
        found.update({"%s.%s" % (entry.name, name): column for _index, column, name in places})
    return {name: found[name] for name in sorted(found)}


def _tried(columns, key, progress):
    """Return {"table.column": counts}, the key tried on every sampled value."""
    counts = {
        name: dict(dict.fromkeys(_COUNTED, 0), plain=column.plain, empty=column.empty, unchecked=column.encrypted)
        for name, column in columns.items()
    }
    values = [(name, value) for name, column in columns.items() for _hash, value in column.sample] if key else []
    progress.start("encryption key", len(values), "secrets")
    with ThreadPoolExecutor(max_workers=min(WORKERS, os.cpu_count() or 1)) as pool:
        verdicts = pool.map(lambda item: ciphers.classify(item[1], key), values)
        for number, ((name, value), verdict) in enumerate(zip(values, verdicts)):
            hollow = verdict == ciphers.OTHER_KEY and ciphers.holds_nothing(value)
            counts[name][EMPTY_OTHER_KEY if hollow else verdict] += 1
            counts[name][ciphers.UNCHECKED] -= 1
            progress.update(number + 1, name)
    return counts


def _verdict(total, key):
    if not total[ciphers.UNDER_KEY] + total[ciphers.UNCHECKED]:
        return NOTHING
    if not key:
        return UNPROVEN
    return SAMPLED if total[ciphers.UNCHECKED] else PROVEN


def _per_column(facts, *classes):
    """Return the counts of some classes for a sentence, columns without any left out: ``a.b 3 open, 4 do not; c.d 1 opens``."""
    words = {ciphers.UNDER_KEY: "%d open", ciphers.OTHER_KEY: "%d do not", EMPTY_OTHER_KEY: "%d empty do not",
             ciphers.UNCHECKED: "%d not tried"} if len(classes) > 1 else dict.fromkeys(classes, "%d")  # fmt: skip
    parts = []
    for name, counts in facts["columns"].items():
        texts = [words[item] % counts[item] for item in classes if counts[item]]
        parts += ["%s %s" % (name, ", ".join(texts))] if texts else []
    return "; ".join(parts)


def _mismatch(set_id, facts):
    total = facts["total"]
    closed = total[ciphers.OTHER_KEY] + total[EMPTY_OTHER_KEY]
    tried = closed + total[ciphers.UNDER_KEY]
    extent = "none of the %d" % tried if closed == tried else "%d of %d" % (closed, tried)
    text = "do not open" if closed != tried else "opens"
    columns = _per_column(facts, ciphers.UNDER_KEY, ciphers.OTHER_KEY, EMPTY_OTHER_KEY, ciphers.UNCHECKED)
    return RecoveryError(
        "key_mismatch",
        "%s encrypted values tried in %s %s under letta_encryption_key (%s): they are under another key, or damaged"
        % (extent, set_id, text, columns),
        next_step="give the LETTA_ENCRYPTION_KEY of the time of the backup; without letta_encryption_key the set is restored unproven",
        details={"secrets": facts},
    )


def _warnings(facts, key):
    total, warnings = facts["total"], []
    if not key and total[ciphers.UNCHECKED]:
        warnings.append(
            "%s and no letta_encryption_key was given: that Letta will be able to read them is not proven (%s)"
            % (_some(total[ciphers.UNCHECKED], "secret is encrypted", "secrets are encrypted"), _per_column(facts, ciphers.UNCHECKED))
        )
    if total[ciphers.PLAIN]:
        warnings.append(
            "%s in columns for encrypted ones (%s): whoever reads the set reads them, and Letta with a key may refuse long ones"
            % (_some(total[ciphers.PLAIN], "secret is plain text", "secrets are plain text"), _per_column(facts, ciphers.PLAIN))
        )
    if total[EMPTY_OTHER_KEY]:
        warnings.append(
            "%s under another key (%s): nothing is lost, Letta's first start had another LETTA_ENCRYPTION_KEY"
            % (_some(total[EMPTY_OTHER_KEY], "encrypted empty value is", "encrypted empty values are"), _per_column(facts, EMPTY_OTHER_KEY))
        )
    return warnings


def _some(count, one, many):
    return "%d %s" % (count, one if count == 1 else many)
