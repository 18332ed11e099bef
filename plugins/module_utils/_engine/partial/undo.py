# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a partial restore back: what live had before is a slice like any other, and is planned, shown and applied as one."""
from __future__ import annotations

import os

from ..errors import RecoveryError
from ..restore import journal as journals
from ..restore import lock, runs
from ..restore.plan import undo_command
from ..restore.target import inspect_target
from . import difference, ending, slices, workbench
from .plan import Policies, work_out

POLICIES = Policies(undo=True)


def find(root, restore_id):
    """Return the journal of a partial restore by its id, or None: then it is a full one's, or nobody's."""
    found = journals.list_runs(os.path.join(root, runs.RUNS), journals.PARTIAL)[0] if os.path.isdir(root) else []
    return next((item for item in found if item.run_id == restore_id), None)


def begin(server, options, restore_id):
    """Lock the target and plan the way back.

    :param options: :class:`~.begin.PartialOptions`. :param restore_id: of a partial restore that succeeded.
    :returns: as :func:`begin.plan`; what was written since and would be lost is in ``plan.loses``.
    :raises RecoveryError: ``usage`` without such a run, ``preflight`` when it cannot be taken back any more.
    """
    base = options.base
    journal = find(base.root, restore_id)
    if journal is None:
        text = "there is no partial restore %s in %s" % (restore_id, base.root)
        raise RecoveryError("usage", text, now="nothing was changed", next_step="look at the ids of runs in its folder .runs")
    target = inspect_target(server, base.database, base.owner)
    key, runs_root = runs.target_key(server, target, base.database), os.path.join(base.root, runs.RUNS)
    run_id = journals.new_run_id()
    if not base.check:
        lock.acquire(runs_root, key, run_id, base.controller, "rollback.yml", base.proven_dead)
    try:
        if not base.check:
            ending.settle(server, runs_root, key)
            journal = journals.Journal.load(journal.run_dir)
        _check(journal, target, key)
        begun = _plan(server, options, journal, run_id)
        if base.check or begun["plan"]["kind"] == "unchanged":
            if not base.check:
                lock.release(runs_root, key, run_id)
            return begun
        opened = journals.Journal.create(
            runs_root, run_id, operation=journals.PARTIAL, target=key, controller=base.controller, plan=begun["plan"], undoes=restore_id,
            facts=dict(_facts(journal, target), backup=begun["backup"], target=begun["target"]), set_id=journal.data["set_id"],
            keep_previous_seconds=base.keep_previous_seconds, phases=[],
        )  # fmt: skip
        lock.check_begun(runs_root, opened, journals.FAILED)
        return dict(begun, run_dir=opened.run_dir)
    except BaseException:
        if not base.check:
            lock.release(runs_root, key, run_id)
        raise


def _check(journal, target, key):
    live = target["live"]
    before = os.path.join(journal.run_dir, ending.BEFORE, slices.FACTS)
    problem = ""
    if journal.data["target"] != key:
        problem = "was of another database (%s)" % journal.data["target"]
    elif journal.data["status"] != journals.SUCCEEDED:
        problem = "is not what is live: it was %s" % journal.data["status"].replace("_", " ")
    elif not live or live["oid"] != journal.data["facts"]["live_oid"]:
        problem = "was of a database that has been exchanged since by a full restore"
    elif not os.path.exists(before):
        problem = "kept nothing to go back to any more (it was kept until %s)" % journal.data.get("valid_until")
    if problem:
        raise RecoveryError(
            "preflight", "run %s %s" % (journal.run_id, problem), now="nothing was changed",
            next_step="restore the agents from another set: ansible-playbook playbooks/catalog.yml",
        )  # fmt: skip


def _facts(journal, target):
    cut = slices.Slice.load(os.path.join(journal.run_dir, ending.BEFORE))
    saved = {name: item["rows"] for name, item in cut.tables.items()}
    return {"slice": cut.folder, "saved": saved, "checks": [], "live_oid": target["live"]["oid"]}


def _plan(server, options, journal, run_id):
    base, data = options.base, journal.data
    cut = slices.Slice.load(os.path.join(journal.run_dir, ending.BEFORE))
    with workbench.opened(server.database(base.database), options.patience) as bench:
        worked = work_out(bench, cut, POLICIES)
        diff = difference.lines(bench)
    nothing = not any(worked["rows"].values())
    plan = dict(
        worked, kind="unchanged" if nothing else "partial_rollback", run_id=run_id, host=base.host, database=base.database,
        set_id=data["set_id"], taken_at=data["plan"]["taken_at"], scopes=data["plan"]["scopes"], names=data["plan"]["names"], rejected=[],
        warnings=[], why="takes run %s back" % journal.run_id, policies=data["plan"]["policies"], schema=data["plan"]["schema"],
        undoes=journal.run_id, undo="" if nothing else undo_command(run_id), seconds=0,
    )  # fmt: skip
    facts = {key: data["facts"][key] for key in ("backup", "target")}
    return dict(facts, run_id=run_id, run_dir="", plan=plan, diff=diff)
