# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Part of phase migrate, when asked for: every secret of the side database is brought under another key, and nothing else changes."""
from __future__ import annotations

import time

from ..errors import LIVE_UNTOUCHED, RecoveryError
from ..findings import PASS, Finding
from ..letta.ciphers import COLUMNS
from ..letta.entities import bare_name
from ..postgres.columns import digest_columns
from ..progress import Progress
from . import recovery, sealing
from .migrate import schema_of
from .prove import content_of

WHY = "brought under letta_encryption_new_key"


def rekey(server, database, keys, journal, jobs=2, progress=None):
    """Bring the secrets of a side database under another key, in one transaction, and prove that no other value changed.

    :param server: admin :class:`Server`; :param database: the side database.
    :param keys: (key they are under, key they will be under); the first may be empty where nothing is encrypted.
    :param journal: :class:`Journal` of the run, or a ``NoJournal``.
    :returns: {"changed", "secrets" ({"table.column": values written}), "tables" (report rows), "findings", "seconds"}
    :raises RecoveryError: ``key_mismatch`` when a value does not open, ``verify_failed`` when anything else changed; live is untouched.
    """
    began = time.monotonic()
    side = server.database(database)
    schema = schema_of(side)
    with journal.step(recovery.REKEY_STEP) as facts:
        before = digest_columns(side, jobs=jobs, only=["%s.%s" % (schema, table) for table in COLUMNS])
        rows = [dict(row) for row in recovery.last_proof(journal.data["steps"]).get("tables", [])] or _rows(before)
        old, new = keys
        written = sealing.change_key(side, schema, old, new, progress or Progress(None))
        bad = sealing.tell_sealed(rows, before, side, written, WHY, jobs)
        if bad:
            raise RecoveryError(
                "verify_failed",
                "more than secrets changed in %s while the key was changed" % ", ".join(bad),
                now=LIVE_UNTOUCHED + "; side database %s is kept for study (the next restore drops it)" % database,
                next_step="nobody but this run may write to the side database; run again, or without letta_encryption_new_key",
                details={"tables": [row for row in rows if row["name"] in bad]},
            )
        detail = "%d secrets are under letta_encryption_new_key now" % sum(written.values())
        findings = [Finding("migrate.rekey", PASS, detail)]
        facts.update(tables=rows, findings=[item.as_dict() for item in findings], content=content_of(side, jobs))
    seconds = round(time.monotonic() - began, 3)
    return {"changed": bool(written), "secrets": written, "tables": rows, "findings": findings, "seconds": seconds}


def _rows(before):
    """Return report rows for a database that no run has proven."""
    return [
        {"name": name, "rows_expected": item.rows, "rows_restored": item.rows, "digest": "equal", "explanation": ""}
        for name, item in sorted(before.items(), key=lambda pair: bare_name(pair[0]))
    ]
