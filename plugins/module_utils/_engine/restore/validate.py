# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All checks of a Letta database, read-only: the frame first, then the data in it."""
from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from ..findings import FAIL, PASS, Finding
from ..postgres.connection import lost, psycopg2
from ..progress import Progress
from . import repair
from . import validate_structure as structure
from .checks.registry import DATA_PROBES, in_order
from .validate_context import open_context

# A failure of these hits every agent: the database as a whole is not fit to serve. The others
# concern single rows, and say so also when the database is a faithful copy of what was saved.
STRUCTURE_PREFIXES = ("revision.", "schema.", "integrity.", "names.", "sequence.", "queries.")
_WIDTHS = ("vectors.agent_passages", "vectors.archival_passages", "vectors.source_passages", "vectors.dimensions", "vectors.computed")
_EXAMPLES = 10


def is_structural(check):
    """Tell whether a check concerns the database as a whole, not single rows."""
    return check.startswith(STRUCTURE_PREFIXES) or check in _WIDTHS


@dataclass(frozen=True)
class Wanted:
    """What to validate against; nothing of it is needed.

    :param revision: Alembic revision the release needs; None to accept any that is known.
    :param role: the role Letta logs in as; None for the role of the server.
    :param queries: test queries of a set's manifest with their answers; None when there are none.
    :param bin_dir: folder of pg_amcheck; None to look for it.
    """

    revision: str | None = None
    role: str | None = None
    queries: list | None = None
    bin_dir: str | None = None


def validate_database(server, expected_revision=None, role=None, progress=None, queries=None, bin_dir=None):
    """Run every check on the server's default database, live or side, and change nothing.

    :param server: :class:`~..postgres.connection.Server`; its role must be able to read the tables.
    :param progress: :class:`~..progress.Progress`. The other parameters are those of :class:`Wanted`.
    :returns: list of :class:`~..findings.Finding`, in a fixed order. A check for tables or columns the
        revision does not have passes as "not applicable"; one that cannot be computed fails and says why.
    :raises RecoveryError: ``preflight`` when the database cannot be reached.
    """
    progress = progress or Progress(None)
    with open_context(server) as context:
        missing = structure.check_version_table(context)
        if missing is not None:
            return [missing]
        steps = _frame(context, server, Wanted(expected_revision, role, queries, bin_dir))
        steps += [(probe.checks[0].id, partial(run_probe, context, probe)) for probe in DATA_PROBES]
        steps.append(("queries.agents", lambda: structure.check_queries(context, queries)))
        return in_order(_run(steps, progress))


def repair_database(server, findings, role=None, check_mode=False):
    """Repair what the findings say, as far as :data:`~.repair.REPAIRS` goes.

    :returns: (findings, repairs): each finding concerned looked at anew and with what was done to it in its detail (what would be
        done in check mode), and what :func:`~.repair.run_repairs` returned.
    :raises RecoveryError: ``preflight`` when the database cannot be reached.
    """
    actions = repair.plan_repairs(server, findings, role)
    outcomes = repair.planned(actions) if check_mode else repair.run_repairs(server, actions)
    if not outcomes:
        return findings, []
    with open_context(server) as context:
        frame = _run(_frame(context, server, Wanted(role=role)), Progress(None)) if not check_mode else []
    touched = {outcome["check"] for outcome in outcomes}
    # With the search_path back, the extension is seen again too.
    fresh = {finding.id: finding for finding in frame if finding.id in touched | {"names.vector"}}
    return [_annotated(fresh.get(finding.id, finding), outcomes) for finding in findings], outcomes


def _annotated(finding, outcomes):
    words = [repair.in_words(outcome) for outcome in outcomes if outcome["check"] == finding.id]
    return replace(finding, detail="; ".join([finding.detail] + words)) if words else finding


def _frame(context, server, wanted):
    role = wanted.role or context.current_user()
    return [
        ("revision.known", lambda: structure.check_revision(context, wanted.revision)),
        ("schema.constraints", lambda: structure.check_constraints(context)),
        ("schema.indexes", lambda: structure.check_indexes(context)),
        ("schema.collations", lambda: structure.check_collations(context)),
        ("integrity.amcheck", lambda: structure.check_damage(context, server, wanted.bin_dir)),
        ("names.search_path", lambda: structure.check_names(context, role)),
        ("sequence.computed", lambda: structure.check_sequences(context)),
        ("vectors.computed", lambda: structure.check_vectors(context)),
    ]


def _run(steps, progress):
    findings = []
    progress.start("validate", len(steps), "checks")
    for done, (name, step) in enumerate(steps, 1):
        try:
            findings += step()
        except psycopg2.Error as exc:
            findings.append(_not_computed(name, exc))
        progress.update(done, name)
    return findings


def run_probe(context, probe):
    """Run one :class:`~.checks.base.Probe` and return a finding for each of its checks."""
    missing = lacking(context, probe.needs)
    if missing:
        return [context.not_applicable(check.id, missing) for check in probe.checks]
    statement = """with offenders(check_id, example) as materialized (%s)
             select check_id, count(*), (array_agg(example::text order by example))[1:%d] from offenders group by check_id"""
    unmet = {check.id: lacking(context, check.needs) for check in probe.checks}
    try:
        found = {row[0]: row[1:] for row in context.probe(statement % (probe.sql, _EXAMPLES), probe.maybe)}
    except psycopg2.Error as exc:
        return [_not_computed(check.id, exc) for check in probe.checks]
    return [
        context.not_applicable(check.id, unmet[check.id]) if unmet[check.id] else _finding(check, *found.get(check.id, (0, ())))
        for check in probe.checks
    ]


def lacking(context, needs):
    """Return what a database lacks of the needed columns, in words; an empty text when it has them all."""
    for table, columns in needs.items():
        if table not in context.tables:
            return "no table %s" % table
        for column in columns:
            if column not in context.tables[table]:
                return "no column %s.%s" % (table, column)
    return ""


def _finding(check, count, examples):
    if not count:
        return Finding(check.id, PASS, check.passed)
    return Finding(check.id, check.severity, check.failed.replace("{count}", str(count)), count, examples)


def _not_computed(check, exc):
    gone = lost("the server", exc)
    if gone is not None:  # says nothing of the data
        raise gone
    # The server's message may quote a value; its class and code do not.
    name = "%s %s" % (type(exc).__name__, exc.pgcode or "")
    return Finding(check, FAIL, "the check could not be computed: %s" % name.strip(), 1)
