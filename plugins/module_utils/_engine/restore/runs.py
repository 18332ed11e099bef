# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A full restore as a run: begun under a lock or taken up again, then finished or failed."""
from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

from .. import processes
from ..backup import catalogue
from ..backup import manifest as manifests
from ..errors import LIVE_UNTOUCHED, RecoveryError
from ..findings import FAIL
from ..postgres import sidedb
from ..postgres.archive import open_archive, refused_entries
from ..progress import Progress
from . import journal as journals
from . import lock, recovery, stage
from .plan import make_plan
from .prove import prove_database
from .target import inspect_target, loss_window

RUNS = ".runs"
HISTORY = 5


@dataclass
class RunOptions:
    """What a run is asked to do; see module ``restore_run`` for each meaning."""

    root: str
    host: str
    database: str
    owner: str = ""
    backup_id: str = "latest"
    max_age: str = ""
    phases: tuple = ()
    mode: str = "swap"
    letta_version: str = ""
    encryption_key: str = field(default="", repr=False)
    keep_previous_seconds: int = 7 * 86400
    service_manager: str = "none"
    stops: tuple = ()
    bin_dir: str = ""
    force: bool = False
    controller: dict = field(default_factory=dict)
    proven_dead: str = ""
    check: bool = False


def target_key(server, target, database):
    """Return the name of a target for locks and journals: the cluster's own identity where it can be read."""
    return "%s/%s" % (target.get("system_identifier") or "%s:%s" % (server.host, server.port), database)


@dataclass
class _Context:
    """What the steps of beginning a run share."""

    server: object
    options: RunOptions
    target: dict
    key: str
    runs_root: str
    run_id: str
    progress: object
    started: float = field(default_factory=time.monotonic)

    @property
    def check(self):
        return self.options.check

    def look_again(self):
        self.target = inspect_target(self.server, self.options.database, self.options.owner)


def begin(server, options, progress=None):
    """Lock the target, put right what an earlier run left, choose and check a set, make the plan, open the journal.

    :param server: admin :class:`Server`. In check mode nothing is written or locked.
    :returns: plain data: run_id, run_dir, plan, phases (still to do), staged, swapped, names, set_dir, backup, target.
    :raises RecoveryError: with live untouched.
    """
    target = inspect_target(server, options.database, options.owner)
    key = target_key(server, target, options.database)
    context = _Context(
        server, options, target, key, os.path.join(options.root, RUNS), journals.new_run_id(), progress or Progress(None)
    )
    catalogue.store.check_root(options.root)
    if context.check:
        holder = lock.read_lock(context.runs_root, key)
        if holder and processes.state_of(holder.get("controller")) == processes.ALIVE:
            raise lock.locked_error(holder, key)
        return _begin_locked(context)
    lock.acquire(context.runs_root, key, context.run_id, options.controller, "restore-full.yml", options.proven_dead)
    try:
        return _begin_locked(context)
    except BaseException:
        lock.release(context.runs_root, key, context.run_id)
        raise


def _begin_locked(context):
    options = context.options
    earlier, outcome = _earlier_run(context)
    if earlier is not None and not context.check:
        context.look_again()  # recovering may have opened the live database again
    if outcome == recovery.SWAPPED:
        return _take_up(context, earlier, outcome)
    info, manifest, rejected = _choose(context, earlier)
    if outcome == recovery.STAGED and earlier.data["set_id"] == info.id:
        return _take_up(context, earlier, outcome)
    if earlier is not None and not context.check:
        _close(context.server, earlier, outcome)
    if "cutover" in options.phases and "stage" not in options.phases:
        raise RecoveryError(
            "usage",
            "there is no prepared side database of %s to cut over to" % options.database,
            next_step="prepare one: ansible-playbook playbooks/restore-full.yml --tags stage,migrate,validate,reconcile",
        )
    plan = _plan(context, info, manifest, rejected)
    return _open_journal(context, info, manifest, plan)


def _earlier_run(context):
    """Return (newest unfinished journal worth taking up, how far it came); every other unfinished one is closed."""
    unfinished, errors = recovery.unfinished_runs(context.runs_root, context.key)
    if errors and not context.check:
        raise errors[0]
    kept = (None, recovery.CLEAN)
    for journal in unfinished:
        look = recovery.assess_run if context.check else recovery.recover
        outcome = look(context.server, journal)
        other_set = context.options.backup_id not in ("latest", journal.data["set_id"])
        going_on = outcome != recovery.CLEAN and not other_set and not journal.data.get("rolling_back")
        if kept[0] is None and going_on:
            kept = (journal, outcome)
        elif not context.check:
            _close(context.server, journal, outcome)
    return kept


def _close(server, journal, outcome):
    """End a run nobody takes up: one that is live stays live, a waiting side database is dropped."""
    if recovery.went_back(server, journal):
        recovery.finish_rollback(journal)
        return
    if outcome == recovery.SWAPPED:
        journal.finish(journals.SUCCEEDED, verified=False, valid_until=journals.utc_now())
        return
    recovery.drop_side(server, journal)
    journal.finish(journals.CLOSED)


def _take_up(context, journal, outcome):
    """Go on with an earlier run under its own id; the lock changes over to it."""
    if not context.check:
        lock.release(context.runs_root, context.key, context.run_id)
        lock.acquire(context.runs_root, context.key, journal.run_id, context.options.controller, "restore-full.yml")
        journal.save(status=journals.OPEN, controller=context.options.controller)
    done = ("stage",) if outcome == recovery.STAGED else ("stage", "migrate", "validate", "reconcile", "cutover")
    why = "prepared by" if journal.data.get("prepared") else "interrupted:"
    plan = dict(journal.data["plan"], kind="resume", why="%s run %s goes on where it stopped" % (why, journal.run_id))
    return dict(
        journal.data["facts"],
        plan=plan,
        run_id=journal.run_id,
        run_dir=journal.run_dir,
        staged=True,
        swapped=outcome == recovery.SWAPPED,
        resumed=True,
        phases=[name for name in context.options.phases if name not in done],
        services_stopped=services_stopped(journal),
    )


def _choose(context, earlier):
    options, wanted = context.options, context.options.backup_id
    if earlier is not None and "stage" not in options.phases and "cutover" in options.phases:
        wanted = earlier.data["set_id"]
    info, rejected = catalogue.choose(
        options.root, wanted, options.max_age or None, check=lambda item: _reason_against(item, context.progress)
    )
    manifest = manifests.load(info.path)
    tools = stage.tools_for(manifest, options.bin_dir)
    refused = refused_entries(open_archive(stage.archive_path(info.path, manifest), tools))
    if refused:
        raise RecoveryError(
            "backup_corrupt",
            "%s holds objects no Letta database has: %s" % (info.id, ", ".join("%s %s" % tuple(item[:2]) for item in refused[:5])),
            next_step="restore it by hand if you trust it; this collection runs no code that came in a dump",
            details={"refused": [list(item) for item in refused[:20]]},
        )
    return info, manifest, rejected


def _reason_against(info, progress):
    findings = manifests.verify_files(info.path, manifests.load(info.path), progress)
    bad = [item.detail for item in findings if item.status == FAIL]
    return "; ".join(bad[:3]) if bad else None


def _is_unchanged(context, manifest):
    """Tell whether live is this very set already: made by our last run, and proven equal again now."""
    live = context.target["live"]
    done = _succeeded(context)
    if context.options.force or not live or live["fenced"] or not done:
        return False
    last = done[-1]
    if last["set_id"] != manifest["id"] or (last.get("side") or {}).get("oid") != live["oid"]:
        return False
    tables, findings = prove_database(context.server.database(context.options.database), manifest)
    return all(row["digest"] == "equal" for row in tables) and not any(item.status == FAIL for item in findings)


def _succeeded(context):
    """Return the journals' data of earlier runs on this target that ended well, oldest first."""
    found = [item.data for item in journals.list_runs(context.runs_root)[0]]
    return [data for data in found if data["target"] == context.key and data["status"] == journals.SUCCEEDED]


def _plan(context, info, manifest, rejected):
    options, live, window = context.options, context.target["live"], None
    if live and not live["fenced"]:
        window = loss_window(context.server, options.database, live["schema"], manifest["taken_at"])
    facts = {
        "run_id": context.run_id,
        "host": options.host,
        "database": options.database,
        "mode": options.mode,
        "letta_version": options.letta_version,
        "encryption_key": options.encryption_key,
        "keep_previous_seconds": options.keep_previous_seconds,
        "stops": list(options.stops),
        "service_manager": options.service_manager,
        "verified_at": info.verified_at,
        "why": "asked for by id" if options.backup_id != "latest" else "the newest set that can be used",
        "rejected": rejected,
        "undo": undo_command(context.run_id),
    }
    return make_plan(manifest, context.target, facts, window, _history(context), _is_unchanged(context, manifest))


def undo_command(run_id):
    """Return the line that takes a run back."""
    return "ansible-playbook playbooks/rollback.yml -e letta_restore_id=%s" % run_id


def _history(context):
    """Return seconds per phase of the last like runs, oldest first."""
    history = []
    for data in _succeeded(context)[-HISTORY:]:
        seconds = {phase["name"]: phase["seconds"] for phase in data.get("phases", []) if phase.get("seconds") is not None}
        seconds["downtime"] = data.get("downtime_seconds")
        seconds["total"] = sum(value for value in seconds.values() if value)
        history.append(seconds)
    return history


def _open_journal(context, info, manifest, plan):
    """Return the facts of a new run; outside check mode, and when there is something to do, with a journal on disk."""
    live, run_id = context.options.database, context.run_id
    facts = {
        "set_dir": info.path,
        "owner": context.target["owner"],
        "schema": manifest["database"].get("schema") or "public",
        "names": {
            "live": live,
            "side": sidedb.side_name(live, "restore", run_id),
            "previous": sidedb.side_name(live, "before", run_id),
            "undone": sidedb.side_name(live, "undone", run_id),
        },
        "backup": {
            "id": info.id,
            "taken_at": manifest["taken_at"],
            "letta_version": manifest["letta"].get("version"),
            "alembic_revision": plan["schema"]["from_revision"],
            "rejected": plan["rejected"],
        },
        "target": {"host": context.options.host, "database": live, "alembic_revision": plan["schema"]["to_revision"]},
    }
    begun = dict(facts, plan=plan, run_id=run_id, run_dir="", phases=list(context.options.phases))
    begun.update(staged=False, swapped=False, resumed=False, services_stopped=False)
    if context.check or context.options.phases == ("assess",):
        lock.release(context.runs_root, context.key, run_id)
        return begun
    if plan["kind"] == "unchanged":
        lock.release(context.runs_root, context.key, run_id)
        return begun
    recovery.sweep(context.server, context.runs_root, context.key, time.time())
    journal = journals.Journal.create(
        context.runs_root,
        run_id,
        operation="restore-full.yml",
        target=context.key,
        set_id=info.id,
        mode=context.options.mode,
        names=facts["names"],
        facts=facts,
        plan=plan,
        controller=context.options.controller,
        keep_previous_seconds=context.options.keep_previous_seconds,
        phases=[_assessed(context, plan)],
    )
    return dict(begun, run_dir=journal.run_dir)


def _assessed(context, plan):
    seconds = round(time.monotonic() - context.started, 3)
    return {"name": "assess", "status": "ok", "seconds": seconds, "detail": plan["why"], "noted_at": journals.utc_now()}


def services_stopped(journal):
    """Tell from the journal whether Letta's servers were stopped and not started again since."""
    return journal.state("services.stop") is not None and journal.state("services.start") != "done"


def live_untouched(journal):
    """Return the sentence on the live database that fits how far the run came."""
    return LIVE_UNTOUCHED if journal.state("services.stop") is None else "live database untouched"
