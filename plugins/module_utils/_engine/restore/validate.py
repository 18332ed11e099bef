# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All checks of a Letta database, read-only: the frame first, then the data in it."""
from __future__ import annotations

from functools import partial

from ..findings import FAIL, PASS, Finding
from ..postgres.connection import psycopg2
from ..progress import Progress
from . import validate_structure as structure
from .checks.registry import DATA_PROBES, in_order
from .validate_context import open_context

# A failure of these hits every agent: the database as a whole is not fit to serve. The others
# concern single rows, and say so also when the database is a faithful copy of what was saved.
STRUCTURE_PREFIXES = ("revision.", "schema.", "integrity.", "names.", "sequence.")
_WIDTHS = ("vectors.agent_passages", "vectors.archival_passages", "vectors.source_passages", "vectors.dimensions", "vectors.computed")
_EXAMPLES = 10


def is_structural(check):
    """Tell whether a check concerns the database as a whole, not single rows."""
    return check.startswith(STRUCTURE_PREFIXES) or check in _WIDTHS


def validate_database(server, expected_revision=None, role=None, progress=None):
    """Run every check on the server's default database, live or side, and change nothing.

    :param server: :class:`~..postgres.connection.Server`; its role must be able to read the tables.
    :param expected_revision: Alembic revision the release needs; None to accept any that is known.
    :param role: the role Letta logs in as; None for the role of ``server``.
    :param progress: :class:`~..progress.Progress`.
    :returns: list of :class:`~..findings.Finding`, in a fixed order. A check for tables or columns the
        revision does not have passes as "not applicable"; one that cannot be computed fails and says why.
    :raises RecoveryError: ``preflight`` when the database cannot be reached.
    """
    progress = progress or Progress(None)
    with open_context(server) as context:
        missing = structure.check_version_table(context)
        if missing is not None:
            return [missing]
        role = role or context.current_user()
        steps = [
            ("revision.known", lambda: structure.check_revision(context, expected_revision)),
            ("schema.constraints", lambda: structure.check_constraints(context)),
            ("schema.indexes", lambda: structure.check_indexes(context)),
            ("names.search_path", lambda: structure.check_names(context, role)),
            ("sequence.computed", lambda: structure.check_sequences(context)),
            ("vectors.computed", lambda: structure.check_vectors(context)),
        ]
        steps += [(probe.checks[0].id, partial(run_probe, context, probe)) for probe in DATA_PROBES]
        return in_order(_run(steps, progress))


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
    lacking = _lacking(context, probe.needs)
    if lacking:
        return [context.not_applicable(check.id, lacking) for check in probe.checks]
    statement = """with offenders(check_id, example) as materialized (%s)
             select check_id, count(*), (array_agg(example::text order by example))[1:%d] from offenders group by check_id"""
    lacking = {check.id: _lacking(context, check.needs) for check in probe.checks}
    try:
        found = {row[0]: row[1:] for row in context.probe(statement % (probe.sql, _EXAMPLES), probe.maybe)}
    except psycopg2.Error as exc:
        return [_not_computed(check.id, exc) for check in probe.checks]
    return [
        context.not_applicable(check.id, lacking[check.id]) if lacking[check.id] else _finding(check, *found.get(check.id, (0, ())))
        for check in probe.checks
    ]


def _lacking(context, needs):
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
    # The server's message may quote a value; its class and code do not.
    name = "%s %s" % (type(exc).__name__, exc.pgcode or "")
    return Finding(check, FAIL, "the check could not be computed: %s" % name.strip(), 1)
