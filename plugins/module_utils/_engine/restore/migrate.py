# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phase migrate: an older schema is brought forward on the side database, and every changed row is accounted for."""
from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field

from ..backup import versions
from ..errors import LIVE_UNTOUCHED, RecoveryError
from ..findings import FAIL, PASS, WARN, Finding
from ..letta import releases
from ..letta.row_changes import moved_between
from ..letta.traps import DELETE, REFUSE, traps_between
from ..postgres import load, planner
from ..postgres.columns import digest_columns
from ..postgres.connection import connect, sql
from ..progress import Progress
from . import sealing
from .accounting import account
from .prove import content_of
from .recovery import MIGRATE_STEP


@dataclass(frozen=True)
class MigrateOptions:
    """What to migrate, and how.

    :param database: the side database; :param schema: where Letta's tables are in it.
    :param target: revision to reach; :param key: Letta's encryption key, or empty.
    :param upgrade: function ``(progress, number of migrations)`` that runs the release's own migrations up to ``target``.
    """

    database: str
    schema: str
    target: str
    upgrade: object
    key: str = field(default="", repr=False)
    jobs: int = 2


def migrate(server, options, journal, progress=None):
    """Bring a side database forward, and prove that nothing changed but what the migrations are known to change.

    :param server: admin :class:`Server`; :param journal: :class:`Journal` of the run, or a ``NoJournal``.
    :returns: {"changed", "from_revision", "to_revision", "migrations", "tables" (report rows), "findings", "seconds"}
    :raises RecoveryError: ``schema``, ``key_mismatch``, ``load_failed`` or ``verify_failed``; the live database is untouched.
    """
    progress = progress or Progress(None)
    side = server.database(options.database)
    between, revision = _way(side, options)
    if not between:
        return {"changed": False, "from_revision": revision, "to_revision": revision, "migrations": 0, "tables": [], "findings": []}
    seconds, began = {}, time.monotonic()
    with journal.step(MIGRATE_STEP, from_revision=revision, to_revision=options.target) as facts:
        before = digest_columns(side, jobs=options.jobs, progress=progress)
        findings, treated = _disarm(side, options, between)
        cured = dict(before, **digest_columns(side, jobs=options.jobs, only=_tables_of(treated, options.schema))) if treated else before
        seconds["look"] = round(time.monotonic() - began, 3)
        options.upgrade(progress, len(between))
        _check_arrival(side, options)
        seconds["run"] = round(time.monotonic() - began - seconds["look"], 3)
        identities = {name: item.identity for name, item in before.items()}
        after = digest_columns(side, _moved(identities, between), options.jobs, progress)
        rows, accounted = account(cured, after, between)
        _tell_the_cured(rows, before, cured, treated)
        bad = [item for item in accounted if item.status == FAIL]
        if bad:
            raise _unexplained(options.database, rows, bad)
        findings += accounted + _seal_left_plain(side, options, rows, after)
        planner.analyze(server, options.database, load.session_settings(options.jobs), options.jobs)
        seconds["account"] = round(time.monotonic() - began - sum(seconds.values()), 3)
        facts.update(tables=rows, findings=[item.as_dict() for item in findings], seconds=seconds, content=content_of(side, options.jobs))
    return {
        "changed": True,
        "from_revision": revision,
        "to_revision": options.target,
        "migrations": len(between),
        "tables": rows,
        "findings": findings,
        "seconds": seconds,
    }


def schema_of(side):
    """Return the schema that holds Letta's tables in a database.

    :raises RecoveryError: ``schema`` when none or several do.
    """
    with closing(connect(side)) as conn, conn.cursor() as cursor:
        return versions.letta_schema(cursor, side.dbname)


def _way(side, options):
    """Return (revisions to run, the revision the database is at)."""
    comparison = releases.compare(_revisions(side, options.schema), options.target)
    if comparison.verdict not in (releases.EQUAL, releases.OLDER):
        raise RecoveryError("schema", comparison.detail, now=LIVE_UNTOUCHED, next_step="ansible-playbook playbooks/catalog.yml")
    return comparison.between, comparison.revision


def _revisions(side, schema):
    with closing(connect(side)) as conn, conn.cursor() as cursor:
        return versions.revisions(cursor, schema)


def _check_arrival(side, options):
    """Alembic exits 0 also where it found nothing to do in a schema that it took for another."""
    found = _revisions(side, options.schema)
    if found != [options.target]:
        raise RecoveryError(
            "load_failed",
            "the migrations ended without an error, and the schema is at %s instead of %s" % (", ".join(found or ["none"]), options.target),
            now=LIVE_UNTOUCHED + "; side database %s is kept for study (the next restore drops it)" % options.database,
            next_step="letta_alembic_command must run the migrations in the database that LETTA_PG_URI names",
        )


def _disarm(side, options, between):
    """Find the traps that these migrations would spring; treat the ones that have a safe treatment, refuse the others.

    :returns: (findings, [(finding, trap)] of those whose rows were removed).
    """
    findings, treated = [], []
    with closing(connect(side, autocommit=False)) as conn, conn.cursor() as cursor:
        for trap in traps_between(between, bool(options.key)):
            if not all(_has_column(cursor, options.schema, table, name) for table, names in trap.needs.items() for name in names):
                continue
            place = sql.Identifier(options.schema)
            cursor.execute(sql.SQL(trap.offenders).format(s=place))
            offenders = [row[0] for row in cursor.fetchall()]
            detail = trap.text.replace("{count}", str(len(offenders)))
            if not offenders:
                findings.append(Finding(trap.id, PASS, "no such rows"))
                continue
            if trap.treatment == REFUSE:
                raise RecoveryError(
                    "key_mismatch" if trap.with_key else "schema",
                    detail,
                    now=LIVE_UNTOUCHED + "; nothing was migrated",
                    next_step=trap.next_step,
                    details={"trap": trap.id, "examples": offenders[:10]},
                )
            findings.append(Finding(trap.id, WARN, detail, len(offenders), offenders))
            if trap.treatment == DELETE:
                cursor.execute(sql.SQL(trap.cure).format(s=place))
                treated.append((findings[-1], trap))
        conn.commit()
    return findings, treated


def _seal_left_plain(side, options, rows, after):
    """Encrypt the secrets that the migrations should have encrypted and did not, and prove that nothing else was touched.

    Some revisions skip columns, some every second batch of rows; the release then reads the encrypted column and finds nothing.
    """
    left = sealing.count_plain(side, options.schema)
    if not left:
        return [Finding("migrate.plain_secrets", PASS, "no secret was left in plain text")]
    names = ", ".join("%s %d" % item for item in sorted(left.items()))
    if not options.key:
        text = "the migrations left %d secrets in plain text: %s; without letta_encryption_key they stay so, and Letta does not read them"
        return [Finding("migrate.plain_secrets", WARN, text % (sum(left.values()), names), sum(left.values()), sorted(left))]
    sealed = sealing.seal_plain(side, options.schema, options.key)
    bad = sealing.tell_sealed(rows, after, side, sealed, "left in plain text by the migrations, encrypted now", options.jobs)
    if sealed != left or bad:
        detail = "secrets were left in plain text (%s), and encrypting them did not end as it should" % names
        finding = Finding("migrate.plain_secrets", FAIL, detail, len(bad), bad)
        raise _unexplained(options.database, rows, [finding])
    detail = "the migrations left %d secrets in plain text; encrypted now: %s" % (sum(sealed.values()), names)
    return [Finding("migrate.plain_secrets", PASS, detail)]


def _tables_of(treated, schema):
    return ["%s.%s" % (schema, table) for _finding, trap in treated for table in trap.needs]


def _has_column(cursor, schema, table, column):
    cursor.execute(
        "SELECT 1 FROM information_schema.columns WHERE table_schema = %s AND table_name = %s AND column_name = %s", (schema, table, column)
    )
    return cursor.fetchone() is not None


def _moved(identities, between):
    """Return the identities under the names that tables have afterwards too."""
    moved, found = moved_between(between), dict(identities)
    for name, identity in identities.items():
        schema, _dot, table = name.rpartition(".")
        if table in moved:
            found["%s.%s" % (schema, moved[table])] = identity
    return found


def _tell_the_cured(rows, before, cured, treated):
    """Give the report's rows the counts of before the treatment, with the reason."""
    reasons = "; ".join(finding.detail for finding, _trap in treated)
    for name, item in before.items():
        if cured[name].rows != item.rows:
            row = next(row for row in rows if row["was"] == name)
            row.update(rows_expected=item.rows, explanation="%s; %s" % (reasons, row["explanation"]))
            row["digest"] = "differs" if row["digest"] == "differs" else "explained"


def _unexplained(database, rows, bad):
    return RecoveryError(
        "verify_failed",
        "; ".join(item.detail for item in bad),
        now=LIVE_UNTOUCHED + "; side database %s is kept for study (the next restore drops it)" % database,
        next_step="compare the tables named with the backup; restore with the letta_version of the backup, which needs no migration",
        details={"tables": [row for row in rows if row["digest"] == "differs"], "findings": [item.as_dict() for item in bad]},
    )
