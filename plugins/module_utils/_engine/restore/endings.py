# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run ends: noted phase by phase, finished, or failed and put back."""
from __future__ import annotations

import os

from ..backup import fetch
from ..errors import RecoveryError
from ..postgres import clock, swap
from . import cutover, lock, recovery, servers
from . import journal as journals
from .journal import stamp
from .plan import undo_command
from .reconcile import sleeptime
from .runs import RUNS, live_untouched, services_stopped


def note_services(journal, stopped, results=()):
    """Record that Letta's servers are about to be stopped, or are up again.

    :param results: what ``letta_service`` returned for each server when it stopped and when it started it, with the server as ``item``.
    """
    if stopped:
        if not services_stopped(journal):  # after a failure they ran again: the downtime counts from now
            journal.forget("services.stop", "services.start")
            journal.begin("services.stop")
        return
    journal.done("services.stop")
    times = {"away": servers.times_away(results), "outage": servers.outage(results), "late": servers.started_early(results)}
    journal.done("services.start", **times)


def downtime(journal):
    """Return the downtime in seconds: how long no server served, or the time of the fence where no service was managed.

    Where that is not known by one clock, it is the longest time that one server was away. A run that went on after an interruption
    knows only when servers were about to stop and when they were up.
    """
    stop, start = journal.entry("services.stop"), journal.entry("services.start")
    if stop and start and start["state"] == "done":
        if len(start.get("away") or {}) > 1 and start.get("outage") is not None:
            return start["outage"]
        if start.get("away"):
            return max(item["seconds"] for item in start["away"].values())
        return round(journals.parse_time(start["done_at"]) - journals.parse_time(stop["begun_at"]), 3)
    exchange = journal.entry("cutover.exchange") or {}
    return exchange.get("fenced_seconds")


def finish(server, root, journal, phases):
    """End a run well: final status, undo line and its date, lock given back, expired databases dropped.

    :param phases: the phases this invocation did; without ``cutover`` the run stays prepared for a later one.
    :returns: {"status", "downtime_seconds", "undo", "dropped", "phases"}
    :raises RecoveryError: ``swap_rolled_back`` when PostgreSQL does not know of the exchange any more; the run is as open as before.
    """
    data = journal.data
    runs_root = os.path.join(root, RUNS)
    if "verify" not in phases:
        journal.save(status=journals.PREPARED, prepared=True)
        lock.release(runs_root, data["target"], journal.run_id)
        now = "live database untouched; side database %s is proven and waits for its cutover" % data["names"]["side"]
        return {
            "status": "prepared",
            "downtime_seconds": None,
            "undo": {},
            "dropped": [],
            "phases": data["phases"],
            "now": now,
            "next_step": "ansible-playbook playbooks/restore-full.yml --tags cutover,verify",
        }
    if recovery.assess_run(server, journal) != recovery.SWAPPED:
        raise cutover.exchange_is_gone(data["names"]["live"], "the live database is the one of before the restore")
    sleeptime.resume(server.database(data["names"]["live"]), journal)
    earlier, later = clock.clocks(server)
    until = later + data["keep_previous_seconds"]
    undo = {}
    if data.get("previous"):
        undo = {"command": undo_command(journal.run_id), "valid_until": stamp(until)}
    elif data.get("safety_set"):
        undo = {"command": undo_by_set(data["safety_set"]), "valid_until": stamp(until)}
    seconds = downtime(journal)
    journal.finish(journals.SUCCEEDED, downtime_seconds=seconds, undo=undo, valid_until=stamp(until))
    dropped = recovery.sweep(server, runs_root, data["target"], earlier)
    fetch.clear(root, data["set_id"])
    lock.release(runs_root, data["target"], journal.run_id)
    return {"status": "succeeded", "downtime_seconds": seconds, "undo": undo, "dropped": dropped, "phases": data["phases"]}


def undo_by_set(set_id):
    """Return the line that takes an in-place restore back: restoring its safety set."""
    return "ansible-playbook playbooks/restore-full.yml -e letta_restore_mode=in_place -e letta_backup_id=%s" % set_id


def fail(server, root, journal, failure, restore_safety=None):
    """End a run that failed: put the old database back if it was exchanged, open it, tell what is true now.

    :param failure: {"failure_class", "message", "next_step"} of the step that failed.
    :param restore_safety: function that brings the safety set back (in-place mode only).
    :returns: {"status", "failure_class", "now", "next_step", "services_stopped", "downtime_seconds", "phases"}
    """
    data = journal.data
    failure_class = failure.get("failure_class") or "manual_help_needed"
    status, next_step = journals.FAILED, failure.get("next_step", "")
    worth_a_look = failure_class == "verify_failed" or journal.state(recovery.MIGRATE_STEP) == "begun"
    outcome = recovery.recover(server, journal, keep_side=worth_a_look and not data.get("removed"))
    if outcome == recovery.SWAPPED:
        now, failure_class = _put_back(server, journal)
        if data.get("removed") and failure_class == "swap_rolled_back":
            now, failure_class = _from_safety(server, journal, restore_safety)
        status = journals.ROLLED_BACK if failure_class == "swap_rolled_back" else journals.FAILED
    elif data.get("removed"):
        now, failure_class = restore_safety(journal) if restore_safety else (_no_live(journal), "manual_help_needed")
        status = journals.ROLLED_BACK if failure_class == "swap_rolled_back" else journals.FAILED
    elif outcome == recovery.STAGED and failure_class in ("swap_rolled_back", "preflight", "cancelled"):
        status = journals.PREPARED
        kept = "side database %s is proven and kept: the next run starts at the cutover" % data["names"]["side"]
        now = "%s; %s" % (live_untouched(journal), kept)
    else:
        now = _not_exchanged(server, journal, failure.get("now") or "")
    journal.finish(status, failure=dict(failure, failure_class=failure_class, now=now))
    lock.release(os.path.join(root, RUNS), data["target"], journal.run_id)
    return {
        "status": "rolled_back" if status == journals.ROLLED_BACK else "failed",
        "failure_class": failure_class,
        "now": now,
        "next_step": next_step,
        "services_stopped": services_stopped(journal),
        "downtime_seconds": downtime(journal),
        "phases": data["phases"],
    }


def not_put_right(journal, error):
    """Return the ending of a failed run that could not even be put right, because the server is gone for example.

    The journal stays open and its lock with it: the next run proves this one dead and goes on, or undoes.
    """
    stopped = "; Letta's servers are stopped" if services_stopped(journal) else ""
    return {
        "status": "failed",
        "failure_class": "manual_help_needed",
        "now": "not known: what was begun could not be put right (%s); its journal %s holds the last step%s"
        % (error.message, journal.path, stopped),
        "next_step": "mend that, then run the same command again: it goes on, or undoes what was begun",
        "services_stopped": False,
        "downtime_seconds": None,
        "phases": journal.data.get("phases", []),
    }


def _not_exchanged(server, journal, told):
    """Return what is true when no name has changed; a side database that stays is always named.

    :param told: what the step that failed said; used where it speaks of the live database.
    """
    side = journal.data["names"]["side"]
    if cutover.oid_of(server, side) is not None:
        return "%s; side database %s is kept for study (the next restore drops it)" % (live_untouched(journal), side)
    return told if told.startswith("live database") else live_untouched(journal)


def _put_back(server, journal):
    """Exchange the databases back after a cutover that did not hold. Returns (what is true now, failure class)."""
    names = journal.data["names"]
    previous = journal.data.get("previous")
    back = {"live": names["live"], "previous": names["previous"] if previous else None, "undone": names["side"]}
    try:
        cutover.swap_back(server, journal, back, cutover.Guests(session_timeout=5, terminate=True))
    except RecoveryError as exc:
        return "%s; putting the old database back failed: %s" % (exc.now, exc.message), "manual_help_needed"
    if not previous:
        return "there was no live database before: the restored one is kept as %s" % names["side"], "swap_rolled_back"
    return "swapped back: %s is the old database again, the restored one is kept as %s" % (names["live"], names["side"]), "swap_rolled_back"


def _from_safety(server, journal, restore_safety):
    """Bring the old content back after an in-place cutover that did not hold; where that fails the restored database stays live."""
    now, failure_class = restore_safety(journal) if restore_safety else (_no_live(journal), "manual_help_needed")
    names = journal.data["names"]
    if cutover.oid_of(server, names["live"]) is None:
        swap.exchange(server, names["live"], names["side"], names["previous"])
        sleeptime.resume(server.database(names["live"]), journal)
        now = "%s; the restored database is live as %s" % (now, names["live"])
    return now, failure_class


def _no_live(journal):
    return "the live database was dropped for an in-place restore; its content is in set %s" % journal.data.get("safety_set")
