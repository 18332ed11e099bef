# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Background turns of sleeptime agents, off from phase reconcile to the end of a restore; what was set before is in the journal.

What starts them is the group's row: after a turn Letta asks ``sleeptime_agent_frequency``, where NULL means after each turn and a number
after that many. At 0 it neither starts one nor counts the turn. The agents' ``enable_sleeptime`` alone does not decide.
"""
from __future__ import annotations

from contextlib import closing

from ...findings import PASS, Finding
from ...postgres.connection import connect, sql
from ..validate_context import open_context

_OFF = 0


def pause(server, journal):
    """Turn background turns off in the server's default database, a side one. The journal knows what to put back before that is done.

    :returns: number of groups that are off because of it.
    """
    with open_context(server) as context:
        schema, known = context.schema, {"sleeptime_agent_frequency", "manager_type"} <= context.tables.get("groups", set())
        rows = []
        if known:
            rows = context.rows(
                "select id, sleeptime_agent_frequency from {s}.groups where manager_type = 'sleeptime'"
                " and sleeptime_agent_frequency is distinct from 0 order by id"
            )
    if not rows:
        return 0
    groups = dict((journal.data.get("sleeptime") or {}).get("groups", {}), **dict(rows))
    journal.save(sleeptime={"schema": schema, "groups": groups, "off": True})
    _set(server, schema, [(group, _OFF, frequency) for group, frequency in rows])
    return len(groups)


def resume(server, journal):
    """Put back what :func:`pause` changed, in the server's default database; a group that was changed since stays as it is.

    :returns: number of groups put back, 0 when there is nothing to put back.
    """
    known = journal.data.get("sleeptime") or {}
    if not known.get("off"):
        return 0
    done = _set(server, known["schema"], [(group, frequency, _OFF) for group, frequency in sorted(known["groups"].items())])
    journal.save(sleeptime=dict(known, off=False))
    return done


def _set(server, schema, changes):
    """Give groups a frequency, in one transaction: [(id, new, the one it must have)]; returns how many had it."""
    statement = sql.SQL(
        "update {}.groups set sleeptime_agent_frequency = %s where id = %s and sleeptime_agent_frequency is not distinct from %s"
    ).format(sql.Identifier(schema))
    done = 0
    with closing(connect(server, application_name="letta_ops sleeptime", autocommit=False)) as conn, conn.cursor() as cursor:
        for group, new, old in changes:
            cursor.execute(statement, (new, group, old))
            done += cursor.rowcount
        conn.commit()
    return done


def checks(journal):
    """Return the findings on it, as plain data."""
    known = journal.data.get("sleeptime") or {}
    if not known:
        return []
    state = "off until the restore ends" if known["off"] else "on again as before, they were off while the system settled"
    detail = "background turns of %d sleeptime groups are %s" % (len(known["groups"]), state)
    return [Finding("reconcile.sleeptime", PASS, detail, 0, sorted(known["groups"])).as_dict()]
