# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a full restore back: the old database becomes the live one again, the restored one is kept."""
from __future__ import annotations

import os
import time
from contextlib import closing

from .. import durable
from ..errors import RecoveryError
from ..postgres import sidedb
from ..postgres.connection import connect, psycopg2, sql
from . import cutover, endings, lock, recovery, redisnotes, volumenotes
from . import journal as journals
from .runs import RUNS, services_stopped, target_key
from .target import inspect_target, tell_of_changes

_BACK = "stop Redis for all that use it, put back what it held before, start it"


def begin(server, options, restore_id="latest"):
    """Find the run to take back, lock the target, and tell what would be lost.

    :param options: :class:`runs.RunOptions` (root, host, database, controller, check).
    :param restore_id: a run id, or ``latest``: the last restore that is live.
    :returns: plain data: run_id, run_dir, plan {kind: rollback, window, …}, names, backup, target.
    :raises RecoveryError: ``usage`` when there is no such run, ``preflight`` when it cannot be taken back any more; ``locked`` when
        what a killed run has left behind exchanged the databases meanwhile.
    """
    target = inspect_target(server, options.database, options.owner)
    try:
        return _begin(server, options, restore_id, target)
    except RecoveryError as error:
        if error.failure_class in ("usage", "preflight"):
            tell_of_changes(server, options.database, target["live"], error)
        raise


def _begin(server, options, restore_id, target):
    key = target_key(server, target, options.database)
    runs_root = os.path.join(options.root, RUNS)
    journal = _find(server, runs_root, key, options.database, restore_id)
    if not options.check:
        durable.make_private_dir(runs_root)
        lock.acquire(runs_root, key, journal.run_id, options.controller, "rollback.yml", options.proven_dead)
        try:
            recovery.recover(server, journal)
            if not journal.data.get("rolling_back"):
                journal.forget("rollback.drain", "rollback.exchange", "services.stop", "services.start", "cutover.fence")
                # What was done in it belonged to the restore.
                journal.save(redis=None, redis_placed=journal.data.get("redis_placed") or redisnotes.is_placed(journal))
            journal.save(controller=options.controller, rolling_back=True, status=journals.OPEN)
        except BaseException:
            lock.release(runs_root, key, journal.run_id)
            raise
    facts = dict(journal.data["facts"], run_id=journal.run_id, run_dir=journal.run_dir)
    facts.update(swapped_back=recovery.went_back(server, journal), services_stopped=services_stopped(journal))
    facts["redis_aligned"] = redisnotes.is_aligned(journal)
    placed = journal.data.get("redis_placed") or redisnotes.is_placed(journal)
    facts["redis_files"] = journal.data["plan"].get("redis_files") if placed else {}
    facts["plan"] = _plan(server, options, journal, facts["redis_files"])
    if not options.check:
        journal.save(rollback_plan=facts["plan"])
    return facts


def _find(server, runs_root, key, database, restore_id):
    mine = [item for item in journals.list_runs(runs_root)[0] if item.data["target"] == key]
    if restore_id != "latest":
        mine = [item for item in mine if item.run_id == restore_id]
    half_way = [item for item in mine if item.data["status"] == journals.OPEN and recovery.went_back(server, item)]
    if half_way:
        return half_way[-1]
    live = [item for item in mine if recovery.assess_run(server, item) == recovery.SWAPPED]
    if live:
        return _can_go_back(server, live[-1])
    if mine and restore_id != "latest":
        raise RecoveryError(
            "preflight",
            "run %s is not what is live in %s: it was %s" % (restore_id, database, mine[-1].data["status"].replace("_", " ")),
            next_step="look at the runs in %s, or restore a set: ansible-playbook playbooks/catalog.yml" % runs_root,
        )
    raise RecoveryError(
        "usage",
        "there is no restore of %s to take back%s" % (database, "" if restore_id == "latest" else " with the id " + restore_id),
        next_step="ansible-playbook playbooks/catalog.yml shows the sets you can restore instead",
    )


def _can_go_back(server, journal):
    previous = journal.data.get("previous")
    if previous is None:
        step = "restore another set"
        if journal.data.get("safety_set"):
            step = endings.undo_by_set(journal.data["safety_set"])
        raise RecoveryError("preflight", "run %s kept no old database to go back to" % journal.run_id, next_step=step)
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        if sidedb.database_oid(cursor, previous["name"]) != previous["oid"]:
            raise RecoveryError(
                "preflight",
                "the old database %s is not there any more (it was kept until %s)" % (previous["name"], journal.data.get("valid_until")),
                next_step="restore an earlier set: ansible-playbook playbooks/catalog.yml",
            )
    return journal


def _plan(server, options, journal, redis_files):
    """Return the plan, with what was written since the cutover: going back loses it (it is kept beside)."""
    names = journal.data["names"]
    exchange = journal.entry("cutover.exchange") or {}
    in_redis, warnings = redisnotes.planned(options.redis)
    of_volumes, lost = volumenotes.of_rollback(journal, options.host)
    return {
        "run_id": journal.run_id,
        "set_id": journal.data["set_id"],
        "kind": "rollback",
        "mode": "swap",
        "host": options.host,
        "database": options.database,
        "window": _written_since(server, options.database, journal.data["facts"]["schema"], exchange.get("done_at")),
        "stops": list(options.stops) if options.service_manager != "none" else [],
        "service_manager": options.service_manager,
        "steps": [
            {"name": "cutover", "detail": "rename %s away and %s in, in one transaction" % (names["live"], names["previous"])},
            *([of_volumes] if of_volumes else []),
            *([{"name": "redis", "detail": _BACK}] if redis_files else []),
            *([in_redis] if in_redis else []),
            {"name": "verify", "detail": "read back"},
        ],
        "undo": "the restored database is kept as %s until %s" % (names["undone"], journal.data.get("valid_until") or "the next restore"),
        "warnings": warnings + lost,
    }


def _written_since(server, database, schema, moment):
    window: dict[str, object] = {"seconds": None, "messages": None, "agents": [], "agents_count": None}
    if moment is None:
        return window
    window["seconds"] = max(0.0, time.time() - journals.parse_time(moment))
    place = sql.Identifier(schema)
    try:
        with closing(connect(server.database(database))) as conn, conn.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT count(*) FROM {}.messages WHERE created_at > %s").format(place), (moment,))
            window["messages"] = cursor.fetchone()[0]
            cursor.execute(sql.SQL("SELECT name FROM {}.agents WHERE created_at > %s ORDER BY created_at").format(place), (moment,))
            names = [row[0] or "(no name)" for row in cursor.fetchall()]
            window.update(agents=names[:10], agents_count=len(names))
    except psycopg2.errors.UndefinedTable:
        return window
    return window


def finish(server, root, journal):
    """End a rollback well.

    :returns: {"status", "downtime_seconds", "undo", "phases"}.
    :raises RecoveryError: ``swap_rolled_back`` when PostgreSQL does not know of the exchange any more.
    """
    if not recovery.went_back(server, journal):
        raise cutover.exchange_is_gone(journal.data["names"]["live"], "the live database is the restored one")
    recovery.finish_rollback(journal)
    lock.release(os.path.join(root, RUNS), journal.data["target"], journal.run_id)
    start = journal.entry("rollback.exchange") or {}
    return {
        "status": "rolled_back",
        "downtime_seconds": endings.downtime(journal) if journal.entry("services.start") else start.get("fenced_seconds"),
        "undo": {},
        "phases": [],
        "now": "%s is the database of before the restore; the restored one is kept as %s"
        % (journal.data["names"]["live"], journal.data["names"]["undone"]),
    }


def fail(server, root, journal, failure):
    """End a rollback that failed: whatever is live is open; the journal says which of the two it is.

    :returns: as :func:`endings.fail`.
    """
    recovery.recover(server, journal)
    names = journal.data["names"]
    back = recovery.went_back(server, journal)
    if back:
        now = "%s is the database of before the restore again; the restored one is kept as %s" % (names["live"], names["undone"])
    else:
        now = "%s is still the restored database, open; the old one is kept as %s" % (names["live"], names["previous"])
    if back:
        recovery.finish_rollback(journal)
    else:
        journal.finish(journals.SUCCEEDED, rolling_back=False)
    lock.release(os.path.join(root, RUNS), journal.data["target"], journal.run_id)
    return {
        "status": "failed",
        "failure_class": failure["failure_class"],
        "now": now,
        "went_back": back,
        "next_step": failure.get("next_step", ""),
        "services_stopped": services_stopped(journal),
        "downtime_seconds": endings.downtime(journal),
        "phases": [],
    }
