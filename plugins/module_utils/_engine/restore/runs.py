# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A full restore as a run: begun under a lock or taken up again, then finished or failed."""
from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from ..backup import fetch, store
from ..backup.trust import ANYBODY, OPEN, Seal, Trust
from ..errors import LIVE_UNTOUCHED, RecoveryError
from ..postgres import clock, sidedb
from ..progress import Progress
from . import assess, lock, recovery, redisnotes, volumenotes
from . import journal as journals
from .phases import PHASES
from .reconcile import sleeptime
from .target import inspect_target, tell_of_changes

RUNS = ".runs"


@dataclass
class RunOptions:
    """What a run is asked to do; see module ``restore_run`` for each meaning."""

    root: str
    host: str
    database: str
    owner: str = ""
    backup_id: str = "latest"
    max_age: str = ""
    fallback: str = "latest"
    stores: tuple = ()  # where sets are looked for, in order; empty: root alone
    rclone_config: str = ""
    store_timeout: int = 300
    phases: tuple = ()
    mode: str = "swap"
    letta_version: str = ""
    image: str = ""
    running: dict = field(default_factory=dict)  # {server: release it says it runs}
    encryption_key: str = field(default="", repr=False)
    new_encryption_key: str = field(default="", repr=False)
    keep_previous_seconds: int = 7 * 86400
    service_manager: str = "none"
    stops: tuple = ()
    store_hosts: tuple = ()
    bin_dir: str = ""
    force: bool = False
    controller: dict = field(default_factory=dict)
    proven_dead: str = ""
    check: bool = False
    trust: Trust = ANYBODY
    seal: Seal = OPEN  # of a safety set
    redis: dict = field(default_factory=dict)  # see restore/redisnotes.py
    volumes: Any = ()  # see restore/volumenotes.py; None: left out on purpose
    reconcile: str = "apply"  # what phase reconcile does, for the plan
    check_heads: object = None  # function (revision): refuses migrations of another release; None: there is no command for them


def target_key(server, target, database):
    """Return the name of a target for locks and journals: the cluster's own identity where it can be read."""
    return "%s/%s" % (target.get("system_identifier") or "%s:%s" % (server.host, server.port), database)


@dataclass
class Context:
    """What the steps of beginning a run share."""

    server: object
    options: RunOptions
    target: dict
    key: str
    runs_root: str
    run_id: str
    progress: object
    started: float = field(default_factory=time.monotonic)
    carried: dict = field(default_factory=dict)  # what an interrupted run in place dropped, and the set that holds it
    services_stopped: bool = False  # an interrupted run stopped them and nobody started them since
    warnings: list = field(default_factory=list)  # on the chosen set, for the plan
    open: ExitStack = field(default_factory=ExitStack)  # plain copies of an encrypted set, for as long as the run begins
    plain: Any = None
    archive: object = None  # of the chosen set, and the tools that read it
    tools: object = None
    unchanged: dict = field(default_factory=dict)  # {manifest checksum: live was proven to be that set}

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
    if options.mode == "in_place" and "stage" in options.phases and "cutover" not in options.phases:
        raise RecoveryError(
            "usage",
            "a restore in place cannot be prepared ahead: it drops the live database before it loads",
            next_step="leave --tags out, or prepare with -e letta_restore_mode=swap",
        )
    context = Context(
        server, options, target, key, os.path.join(options.root, RUNS), journals.new_run_id(), progress or Progress(None)
    )
    if not (options.stores and options.check):
        store.check_root(options.root, create=bool(options.stores))  # with stores elsewhere it is only the place of runs
    if context.check:
        lock.check_free(context.runs_root, key)
        with context.open:
            return _begin_locked(context)
    lock.acquire(context.runs_root, key, context.run_id, options.controller, "restore-full.yml", options.proven_dead)
    try:
        with context.open:
            return _begin_locked(context)
    except BaseException as exc:
        lock.release(context.runs_root, key, context.run_id)
        if isinstance(exc, RecoveryError) and exc.failure_class == "preflight":
            tell_of_changes(server, options.database, context.target["live"], exc)
        raise


def _begin_locked(context):
    options = context.options
    earlier, outcome = _earlier_run(context)
    if outcome == recovery.SWAPPED:
        return _take_up(context, earlier, outcome)
    info, manifest, rejected = assess.choose_set(context, earlier)
    if not context.check:
        lock.check_held(context.runs_root, context.key, context.run_id)  # fetching may take hours
    if outcome == recovery.STAGED and earlier.data["set_id"] == info.id:
        return _take_up(context, earlier, outcome)
    if earlier is not None and not context.check:
        _close(context, earlier, outcome)
    if "cutover" in options.phases and "stage" not in options.phases:
        raise RecoveryError(
            "usage",
            "there is no prepared side database of %s to cut over to" % options.database,
            next_step="prepare one: ansible-playbook playbooks/restore-full.yml --tags stage,migrate,validate,reconcile",
        )
    plan = assess.plan_restore(context, info, manifest, rejected)
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
        context.services_stopped = context.services_stopped or services_stopped(journal)
        if journal.data.get("removed") and not context.carried:
            context.carried = {key: journal.data[key] for key in ("removed", "safety_set")}
        other_set = context.options.backup_id not in ("latest", journal.data["set_id"])
        going_on = outcome != recovery.CLEAN and not other_set and not journal.data.get("rolling_back")
        if kept[0] is None and going_on:
            kept = (journal, outcome)
        elif not context.check:
            _close(context, journal, outcome)
    if unfinished and not context.check:
        context.look_again()  # live may be open again by now, or dropped by what a killed run had left at work
    return kept


def _close(context, journal, outcome):
    """End a run nobody takes up: one that is live stays live, a waiting side database is dropped."""
    server, back = context.server, recovery.went_back(context.server, journal)
    if back or outcome != recovery.SWAPPED:
        volumenotes.let_go(journal, context.options.host)
    if back:
        recovery.finish_rollback(journal)
        return
    if outcome == recovery.SWAPPED:
        sleeptime.resume(server.database(journal.data["names"]["live"]), journal)
        kept_until = journals.stamp(clock.clocks(server)[1] + journal.data["keep_previous_seconds"])
        journal.finish(journals.SUCCEEDED, verified=False, valid_until=journal.data.get("valid_until") or kept_until, rolling_back=False)
        return
    recovery.drop_side(server, journal)
    journal.finish(journals.CLOSED)


def _take_up(context, journal, outcome):
    """Go on with an earlier run under its own id; the lock changes over to it."""
    if not context.check:
        lock.release(context.runs_root, context.key, context.run_id)
        lock.acquire(context.runs_root, context.key, journal.run_id, context.options.controller, "restore-full.yml")
        journal.save(status=journals.OPEN, controller=context.options.controller)
    migrated = ("migrate",) if recovery.brought_forward(journal) else ()
    done = ("stage",) + migrated if outcome == recovery.STAGED else ("stage", "migrate", "validate", "reconcile", "cutover")
    if "cutover" in context.options.phases and not any(item["name"] == "reconcile" for item in journal.data.get("phases", [])):
        todo = ("reconcile", *context.options.phases)  # prepared without it: nothing goes live with work that nobody does
    else:
        todo = context.options.phases
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
        phases=[name for name in PHASES if name in todo and name not in done],
        services_stopped=services_stopped(journal),
        redis_aligned=redisnotes.is_aligned(journal),
    )


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
    begun.update(staged=False, swapped=False, resumed=False, services_stopped=context.services_stopped, redis_aligned=False)
    if context.check or context.options.phases == ("assess",):
        lock.release(context.runs_root, context.key, run_id)
        return begun
    if plan["kind"] == "unchanged":
        lock.release(context.runs_root, context.key, run_id)
        return begun
    recovery.sweep(context.server, context.runs_root, context.key, clock.clocks(context.server)[0])
    fetch.sweep(context.options.root, set(store.sets_in_use(context.options.root)) | {info.id})
    journal = journals.Journal.create(
        context.runs_root,
        run_id,
        operation=journals.FULL,
        target=context.key,
        set_id=info.id,
        mode=context.options.mode,
        names=facts["names"],
        facts=facts,
        plan=plan,
        controller=context.options.controller,
        keep_previous_seconds=context.options.keep_previous_seconds,
        phases=[_assessed(context, plan)],
        volumes={"items": list(context.options.volumes or ())},
        **({} if context.target["live"] else context.carried),
    )
    lock.check_begun(context.runs_root, journal, journals.CLOSED)
    if context.services_stopped:
        journal.begin("services.stop")  # so that whatever ends this run starts them
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
