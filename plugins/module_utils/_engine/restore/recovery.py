# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run that did not end left behind, found in its journal and in the catalog, and put right."""
from __future__ import annotations

import os
import signal
import time
from contextlib import closing

from .. import durable, processes
from ..postgres import sidedb
from ..postgres.connection import connect
from . import cutover
from . import journal as journals

SWAPPED, STAGED, CLEAN = "swapped", "staged", "clean"
PROVE_STEP, MIGRATE_STEP, REKEY_STEP, RECONCILE_STEP = "stage.prove", "migrate.run", "migrate.rekey", "reconcile.apply"
STAGE_STEPS = ("stage.create", "stage.load", PROVE_STEP, MIGRATE_STEP, REKEY_STEP, RECONCILE_STEP)
CUTOVER_STEPS = ("cutover.drain", "cutover.fence", "cutover.exchange")
WORKER_GRACE_SECONDS = 15


def assess_run(server, journal):
    """Tell how far an unfinished run came, from the catalog rather than from the journal alone. Changes nothing.

    :returns: ``swapped`` (its database is live), ``staged`` (proven, waiting), or ``clean`` (nothing of use).
    """
    side = journal.data.get("side") or {}
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        live = sidedb.database_oid(cursor, journal.data["names"]["live"])
        waiting = sidedb.database_oid(cursor, journal.data["names"]["side"])
        # Closed by an exchange back: it was live for a while, and servers may have written to it.
        was_live = waiting is not None and not sidedb.is_open(cursor, journal.data["names"]["side"])
    if side.get("oid") and live == side["oid"]:
        return SWAPPED
    # A change that was cut short may have been committed: only a fresh side database is one whose content is known.
    changes = [journal.state(step) for step in (MIGRATE_STEP, REKEY_STEP, RECONCILE_STEP)]
    known = journal.state(PROVE_STEP) == "done" and "begun" not in changes and not was_live
    return STAGED if side.get("oid") and waiting == side["oid"] and known else CLEAN


def last_proof(steps):
    """Return ``tables`` (report rows) and, after a change of content, ``content`` (in a manifest's words) of the last step that proved it.

    :param steps: a journal's. :returns: dict, empty when nothing was proven yet.
    """
    done = {item["name"]: item for item in steps if item["state"] == "done"}
    return next((done[name] for name in (RECONCILE_STEP, REKEY_STEP, MIGRATE_STEP, PROVE_STEP) if name in done), {})


def brought_forward(journal):
    """Tell whether phase migrate had something to do and did all of it."""
    plan = journal.data["plan"]
    wanted = [MIGRATE_STEP] if plan["schema"].get("migrations") else []
    wanted += [REKEY_STEP] if plan.get("rekey") else []
    return bool(wanted) and all(journal.state(step) == "done" for step in wanted)


def recover(server, journal, keep_side=False):
    """Put right what an unfinished run left half-way: its workers, its fence, its half-loaded database.

    :param keep_side: leave a loaded database that was not proven where it is, for study.
    :returns: as :func:`assess_run`; afterwards live is open, old-whole or new-whole.
    """
    stop_workers(journal)
    durable.sweep(journal.run_dir)
    sidedb.end_orders(server, [name for name in journal.data["names"].values() if name])
    outcome = assess_run(server, journal)
    fence = journal.entry("cutover.fence")
    if fence and fence["oid"] == cutover.oid_of(server, journal.data["names"]["live"]):
        cutover.unfence_by_oid(server, fence["oid"])  # closed for an exchange that did not happen
    replaced = fence["oid"] if fence else (journal.entry("cutover.exchange") or {}).get("live_oid")
    if outcome == SWAPPED and not journal.data.get("previous") and replaced is not None:
        journal.save(previous={"name": journal.data["names"]["previous"], "oid": replaced})
    if outcome != SWAPPED:
        journal.forget(*CUTOVER_STEPS)
    if outcome == CLEAN and not keep_side:
        drop_side(server, journal)
        journal.forget(*STAGE_STEPS)
    return outcome


def went_back(server, journal):
    """Tell whether a rollback's exchange happened: the old database is live again, the restored one put aside."""
    previous = (journal.data.get("previous") or {}).get("oid")
    live = cutover.oid_of(server, journal.data["names"]["live"])
    return bool(journal.data.get("rolling_back")) and previous is not None and previous == live


def finish_rollback(journal):
    """Close the journal of a run that was taken back; the restored database is kept as the undone one."""
    undone = {"name": journal.data["names"]["undone"], "oid": journal.data["side"]["oid"]}
    journal.finish(journals.ROLLED_BACK, undone=undone, previous=None)


def drop_side(server, journal):
    """Drop a run's side database if it is still that database and not the live one. Returns its name or None."""
    name = journal.data["names"]["side"]
    oid = (journal.data.get("side") or {}).get("oid")
    # Without a recorded oid the create was cut short: the name holds this run's id, nobody else made it.
    return name if sidedb.drop_database(server, name, oid) else None


def stop_workers(journal):
    """End module processes of a run that outlived their controller (a detached load, for example), and learn what they wrote last.

    Those of steps that are done too: a module does more than its steps, and writes the journal for it.
    """
    for worker in [journal.data.get("worker"), *(entry.get("worker") for entry in journal.data["steps"])]:
        if not worker or worker.get("pid") in (os.getpid(), os.getppid()):
            continue
        if processes.state_of(worker) != processes.ALIVE:
            continue
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(worker["pid"], number)
            except (ProcessLookupError, PermissionError):
                break
            if _gone(worker):
                break
    journal.look_again()


def _gone(worker):
    deadline = time.monotonic() + WORKER_GRACE_SECONDS
    while time.monotonic() < deadline:
        if processes.state_of(worker) != processes.ALIVE:
            return True
        time.sleep(0.1)
    return False


def unfinished_runs(runs_root, target):
    """Return the journals of unfinished runs on a target, newest first, and the errors of unreadable ones."""
    found, errors = journals.list_runs(runs_root)
    mine = [item for item in found if item.data["target"] == target and item.data["status"] in journals.UNFINISHED]
    return mine[::-1], errors


def sweep(server, runs_root, target, now):
    """Drop what earlier runs kept for a time that is over: old databases, failed side databases.

    :param now: epoch seconds. :returns: names of dropped databases.
    """
    dropped = []
    for journal in journals.list_runs(runs_root)[0]:
        data = journal.data
        if data["target"] != target or data["status"] in journals.UNFINISHED:
            continue
        for key in ("previous", "undone"):
            kept = data.get(key) or {}
            until = data.get("valid_until")
            if kept.get("oid") and until and journals.parse_time(until) < now and sidedb.drop_database(server, kept["name"], kept["oid"]):
                dropped.append(kept["name"])
                journal.save(**{key: dict(kept, dropped_at=journals.utc_now())})
        if data.get("side"):  # under its own name only when it never went live, or was put back
            name = drop_side(server, journal)
            dropped += [name] if name else []
    return dropped
