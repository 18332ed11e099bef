# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that Letta reads as enumerations, ids, and work that nobody will finish."""
from __future__ import annotations

from ...findings import FAIL, WARN
from ...letta.entities import ID_PREFIXES, RUNNING_WORK, id_pattern
from ...letta.values import VALUES
from .base import Check, Probe, quoted

# Where the table stands for the state of agents; the others are relations and tools.
_STEP_OF = {"files": "relations", "groups": "relations", "identities": "relations", "tools": "tools", "providers": "tools",
            "provider_models": "tools", "mcp_server": "tools"}  # fmt: skip


def _values_check(wanted):
    name = "%s.%s" % (wanted.table, wanted.column)
    effect = "Letta takes it as text" if wanted.readable else "Letta cannot read such a row"
    return Check(
        "values.%s" % name,
        "every %s is one that Letta knows" % name,
        "{count} rows of %s have an unknown %s: %s" % (wanted.table, wanted.column, effect),
        "set the column to a value that Letta knows",
        step=_STEP_OF.get(wanted.table, "state"),
        severity=WARN if wanted.readable else FAIL,
        needs={wanted.table: (wanted.column,)},
    )


def _values_probe(table):
    """One pass over a table for all its columns; a column that the revision lacks is left out by its check."""
    wanted = [values for values in VALUES if values.table == table]
    rows = ", ".join(
        "('values.%s.%s', {%s}::text in (%s))" % (table, one.column, one.column, quoted(one.allowed)) for one in wanted
    )
    # Tables whose rows of one kind have no id of their own are none of these.
    return Probe(
        checks=tuple(_values_check(one) for one in wanted),
        needs={table: ("id",)},
        maybe={one.column: (table, one.column, "null::text") for one in wanted},
        sql="select c.name, t.id from {s}.%s as t cross join lateral (values %s) as c(name, known) where not c.known" % (table, rows),
    )


def _ids_probe(table):
    check = "ids.%s" % table
    return Probe(
        checks=(
            Check(
                check,
                "every id in %s has its prefix and a lower-case UUID of version 4" % table,
                "{count} ids in %s are not of the form that Letta's API takes: it answers 422 to them" % table,
                "leave them: Letta itself works with such rows, only requests by id are refused",
                step="ids",
                severity=WARN,
            ),
        ),
        needs={table: ("id",)},
        # CASE, since a planner that takes the tests for equally dear would begin with the regular expression.
        sql="select '%s', id from {s}.%s where case when %s then false else id !~ '%s' end"
        % (check, table, _plainly_sound(ID_PREFIXES[table][0]), id_pattern(table).replace("{", "{{").replace("}", "}}")),
    )


def _plainly_sound(prefix):
    """Return an SQL condition that spares nearly all ids the regular expression, which takes five times as long."""
    shape = prefix.replace("_", "\\_") + "-________-____-4___-____-____________"
    rest = "substr(id, %d)" % (len(prefix) + 2)
    return "(id like '%s' and %s !~ '[^0-9a-f-]' and length(replace(%s, '-', '')) = 32 and substr(%s, 20, 1) in ('8', '9', 'a', 'b'))" % (
        shape, rest, rest, rest,
    )  # fmt: skip


def _work_probe(work):
    values, check = quoted(work.open_values), "work.%s" % work.table
    return Probe(
        checks=(
            Check(
                check,
                "nothing is left unfinished in %s" % work.table,
                "{count} rows of %s say they are unfinished (%s): Letta never finishes them by itself"
                % (work.table, ", ".join(work.open_values)),
                "a restore closes them in its phase reconcile, reconcile.yml on a live system, where they may simply be at work",
                severity=WARN,
            ),
        ),
        needs={work.table: ("id", work.column)},
        sql="select '%s', id from {s}.%s where %s::text in (%s)" % (check, work.table, work.column, values),
    )


METRICS = Probe(
    checks=(
        Check(
            "runs.metrics",
            "every unfinished run has its metrics",
            "{count} unfinished runs have no row in run_metrics: Letta cannot update them",
            "close the run; it can end no other way",
            severity=WARN,
        ),
    ),
    needs={"runs": ("id", "status"), "run_metrics": ("id",)},
    sql="""
        select 'runs.metrics', r.id from {s}.runs r
        where r.status in ('created', 'running') and not exists (select from {s}.run_metrics m where m.id = r.id)""",
)

VALUE_PROBES = tuple(_values_probe(table) for table in dict.fromkeys(values.table for values in VALUES))
ID_PROBES = tuple(_ids_probe(table) for table in sorted(ID_PREFIXES) if ID_PREFIXES[table])
WORK_PROBES = tuple(_work_probe(work) for work in RUNNING_WORK) + (METRICS,)
PROBES = VALUE_PROBES + ID_PROBES + WORK_PROBES
