# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A partial restore as a run, its end: kept with its undo, closed, or found again after a kill."""
from __future__ import annotations

import os
import shutil
import time
from contextlib import closing, suppress

from .. import durable
from ..backup import fetch
from ..errors import RecoveryError
from ..postgres.connection import connect, psycopg2
from ..restore import journal as journals
from ..restore import lock, runs
from ..restore.plan import undo_command

SLICE, BEFORE = "slice", "before"
APPLY = "apply"
_NOT_KNOWN = "the rows are in the live database whole, or not at all, and PostgreSQL cannot tell which"
_LOCKED = "live database untouched; rows of these agents may stay locked for minutes"
APPLIED = "the rows are in the live database, and were proven there; what came after that failed"
# Another one since a step means that a standby took over, which may not have received what was committed; whoever may connect may ask.
TIMELINE = "left(pg_walfile_name(pg_current_wal_lsn()), 8)"
COMMIT_GRACE = 15  # seconds for the server to end the transaction of a process that was killed, or that it cannot reach any more


def settle(server, runs_root, key):
    """Close the runs that were cut short: PostgreSQL knows whether their one transaction was committed.

    :returns: ids of the runs that turned out to be done.
    """
    done = []
    for journal in journals.list_runs(runs_root, journals.PARTIAL)[0]:
        if journal.data["target"] != key or journal.data["status"] not in journals.UNFINISHED:
            continue
        durable.sweep(journal.run_dir)
        if _applied(server, journal):
            _keep(journal)
            done.append(journal.run_id)
        else:
            journal.finish(journals.FAILED)
            _forget(journal)
    return done


def _applied(server, journal):
    """Tell whether the one transaction of a run was committed; ends the session that a killed one, or one whose line died, left open.

    Such a session keeps rows of live locked until the server finds out by itself, minutes later; and a COMMIT on its way could still
    come to it after this was asked.
    """
    entry = journal.entry(APPLY)
    deadline = time.monotonic() + COMMIT_GRACE
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        if entry and entry["state"] == "done" and not _taken_over(cursor, entry):
            return True
        while _left_open(cursor, journal.run_id):
            if time.monotonic() > deadline:
                raise RecoveryError(
                    "locked", "a session of run %s in PostgreSQL does not end, and with it whether its rows are live" % journal.run_id,
                    now="live is as before that run or as after it, whole",
                    next_step="run the same command again in a moment; to see it: SELECT * FROM pg_stat_activity"
                    " WHERE application_name = '%s'" % session_name(journal.run_id),
                )  # fmt: skip
            time.sleep(0.2)
        return bool(entry) and _committed(cursor, entry["xid"])


def session_name(run_id):
    """Return what ``pg_stat_activity`` shows of the session in which a run writes."""
    return "letta_ops partial %s" % run_id


def _left_open(cursor, run_id):
    cursor.execute("select pid from pg_stat_activity where application_name = %s", (session_name(run_id),))
    found = cursor.fetchall()
    for pid in found:
        with suppress(psycopg2.errors.InsufficientPrivilege):  # of a role that may not be told to end: it is waited for
            cursor.execute("select pg_terminate_backend(%s)", pid)
    return bool(found)


def _committed(cursor, xid):
    try:
        cursor.execute("select pg_xact_status(%s::xid8)", (xid,))
        return cursor.fetchone()[0] == "committed"
    except psycopg2.errors.InvalidParameterValue:
        return False  # of another cluster, or from after a crash that lost it


def _keep(journal):
    until = journals.stamp(time.time() + journal.data["keep_previous_seconds"])
    undo = {"command": undo_command(journal.run_id), "valid_until": until}
    shutil.rmtree(os.path.join(journal.run_dir, SLICE), ignore_errors=True)
    journal.finish(journals.SUCCEEDED, undo=undo, valid_until=until)
    if journal.data.get("undoes"):
        taken_back = journals.Journal.load(os.path.join(os.path.dirname(journal.run_dir), journal.data["undoes"]))
        taken_back.finish(journals.ROLLED_BACK)
        _forget(taken_back)


def _forget(journal):
    """Remove the rows a run kept; the journal stays as its record."""
    for name in (SLICE, BEFORE):
        shutil.rmtree(os.path.join(journal.run_dir, name), ignore_errors=True)


def sweep(runs_root, key, now):
    """Remove the undo of runs whose time is over. :param now: epoch seconds."""
    for journal in journals.list_runs(runs_root, journals.PARTIAL)[0]:
        until = journal.data.get("valid_until")
        if journal.data["target"] == key and until and journals.parse_time(until) < now:
            _forget(journal)


def note(journal, checks, redis):
    """Record what was found afterwards.

    :param checks: findings as plain data. :param redis: what ``redis_align`` returned, or nothing.
    """
    journal.save(checks=list(checks), redis={key: redis.get(key) for key in ("dropped", "kept")})


def _taken_over(cursor, entry):
    """Tell whether another server answers than the one that committed."""
    cursor.execute("select %s" % TIMELINE)
    return entry.get("timeline") not in (None, cursor.fetchone()[0])


def check_live(server, journal):
    """See that the server which answers is the one that committed the rows.

    :raises RecoveryError: ``manual_help_needed`` when a standby has taken over: whether it had received them, its transaction numbers,
        which are given again, do not tell.
    """
    entry = journal.entry(APPLY)
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        if entry and _taken_over(cursor, entry):
            raise RecoveryError(
                "manual_help_needed",
                "a standby of PostgreSQL has taken over since the rows were written, and may not have received them",
                now=_NOT_KNOWN,
                next_step="run the same command again: it compares every row with the set, and writes what is missing",
            )  # fmt: skip


def finish(server, root, journal):
    """End a run well.

    :returns: {"status", "undo", "phases"}. :raises RecoveryError: as :func:`check_live`.
    """
    check_live(server, journal)
    _keep(journal)
    if journal.data["set_id"]:
        fetch.clear(root, journal.data["set_id"])
    lock.release(os.path.join(root, runs.RUNS), journal.data["target"], journal.run_id)
    status = "rolled_back" if journal.data.get("undoes") else "succeeded"
    return {"status": status, "undo": journal.data["undo"], "phases": journal.data["phases"]}


def fail(server, root, journal, failure):
    """End a run that failed. What is live is told from the transaction, not from the step that failed.

    :returns: {"status", "failure_class", "now", "next_step", "undo", "phases"}.
    """
    try:
        check_live(server, journal)
        applied = _applied(server, journal)
    except RecoveryError as error:
        return _not_told(journal, error)
    if applied:
        _keep(journal)
    else:
        journal.finish(journals.FAILED)
        _forget(journal)
    lock.release(os.path.join(root, runs.RUNS), journal.data["target"], journal.run_id)
    return {
        "status": "failed",
        "failure_class": failure.get("failure_class") or "manual_help_needed",
        "now": APPLIED if applied else failure.get("now", ""),
        "next_step": failure.get("next_step", "") if not applied else "look at it; to take it back: %s" % undo_command(journal.run_id),
        "undo": journal.data.get("undo") or {},
        "phases": journal.data["phases"],
    }


def _not_told(journal, error):
    """Return the ending of a run of which PostgreSQL cannot be asked. Its journal and lock stay: the next run asks."""
    begun = journal.entry(APPLY) is not None
    return {
        "status": "failed",
        "failure_class": "manual_help_needed" if begun else "preflight",
        "now": "%s (%s); its journal is %s" % (_NOT_KNOWN if begun else _LOCKED, error.message, journal.path),
        "next_step": "mend that, then run the same command again: it compares every row with the set, and goes on from there",
        "undo": {},
        "phases": journal.data["phases"],
    }
