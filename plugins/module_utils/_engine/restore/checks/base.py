# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a check is declared, and the SQL that several of them share.

A probe is one statement over one table (and what it refers to) and serves one or several checks. It returns rows
``(check id, id of an offending row)`` and none when all is well. ``{s}`` stands for Letta's schema. The needed columns are
looked up first: where a release has them not, the checks do not apply. JSON is looked into only after its type was tested, so
that odd values are found, not stumbled over.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from ...findings import FAIL

# The steps of a validation, in order: key -> words.
STEPS = {
    "schema": "schema version",
    "integrity": "table integrity",
    "state": "agent state",
    "ids": "id formats",
    "relations": "agent, file and source relations",
    "tools": "tools, models and sources",
    "queries": "test queries",
}


@dataclass(frozen=True)
class Check:
    """One thing that must hold.

    :param id: stable dotted name.
    :param passed: sentence when it holds.
    :param failed: sentence when it does not; ``{count}`` rows offend.
    :param advice: what to do then.
    :param step: key of :data:`STEPS`.
    :param severity: ``fail`` when it breaks use, ``warn`` when it only looks suspicious.
    :param needs: table -> columns that this check needs beyond its probe's.
    """

    id: str
    passed: str
    failed: str
    advice: str
    step: str = "state"
    severity: str = FAIL
    needs: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Probe:
    """One statement.

    :param checks: the checks it serves; the first column of its rows names one of them.
    :param needs: table -> columns it reads.
    :param sql: the statement; ``%`` is literal, ``{position}`` the revision's place in Letta's chain of migrations.
    :param maybe: name -> (table, column, SQL): ``{name}`` in the statement becomes the column where there is one, else the SQL.
    """

    checks: tuple
    needs: dict
    sql: str
    maybe: dict = field(default_factory=dict)


def array(expression):
    """Return SQL for a JSON value, or an empty array where it is none."""
    return "(case when json_typeof(%s) = 'array' then %s else '[]'::json end)" % (expression, expression)


def clean(expression):
    r"""Return SQL for a JSON value without ``\u0000``, which Letta reads, but PostgreSQL's operators stumble over."""
    return (
        r"(case when strpos({0}::text, '\u0000') > 0"
        r" then regexp_replace({0}::text, '(?<!\\)((?:\\\\)*)\\u0000', '\1', 'g')::json else {0} end)"
    ).replace("{0}", expression)


def quoted(values):
    """Return SQL literals of texts, separated by commas."""
    return ", ".join("'%s'" % value.replace("'", "''") for value in values)
