# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A partial restore as a run, its beginning: a set is chosen, the slice cut, the plan made, all under the target's lock."""
from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field, replace
from typing import Any

from .. import durable
from ..backup import store
from ..errors import RecoveryError
from ..letta import closure, releases
from ..letta.linking import rules_for
from ..postgres import clock
from ..postgres.pieces import Saved
from ..postgres.sidedb import side_name
from ..progress import Progress
from ..restore import assess, lock, runs
from ..restore import journal as journals
from ..restore.migrate import MigrateOptions
from ..restore.plan import schema_verdict, undo_command
from ..restore.target import inspect_target
from . import difference, ending, links, out_of_live, replaced, scratch, secretcheck, selection, sharing, slices, unread, why, workbench
from .ending import SLICE
from .plan import Policies, work_out
from .supply import Supply


@dataclass
class PartialOptions:
    """What a run is asked to do; see module ``agent_restore`` for each meaning.

    :param base: :class:`~..restore.runs.RunOptions`: set, stores, target, controller, trust.
    :param links: kinds of links to repair (:data:`..letta.linking.KINDS`), all when empty.
    :param live: repair them out of live itself, without a backup; ``links`` are of :data:`.mend.KINDS` then.
    :param imported: {id of an agent of the backup: id of the copy that an agent file was imported as}; the copies give way.
    :param embed: function (texts, model, dimensions) -> vectors for files without passages; None: they are only told.
    :param upgrade: function ``(scratch :class:`Server`, revision)`` that returns the ``upgrade`` of :class:`MigrateOptions`; None without
        a command.
    :param last: function (cursor, :class:`Server`), called when everything is proven and nothing committed yet; None: nothing to do.
    """

    base: runs.RunOptions
    selection: selection.Selection = field(default_factory=selection.Selection)
    policies: Policies = field(default_factory=Policies)
    traces: bool = False
    links: tuple = ()
    live: bool = False
    imported: dict = field(default_factory=dict)
    embed: Any = None
    jobs: int = 2
    busy_seconds: int = 900
    busy_wait: int = 60
    patience: int = 30
    upgrade: object = None
    last: Any = None
    why: tuple = ()  # rows ("<table> <key>") whose way into the closure the plan tells


@dataclass
class _Run:
    """What the steps of planning share."""

    server: Any
    options: PartialOptions
    target: dict
    key: str
    run_id: str
    folder: str  # private to this run
    progress: Progress
    live: dict = field(default_factory=dict)

    @property
    def database(self):
        """Where the live database is."""
        return self.server.database(self.options.base.database)


def plan(server, options, progress=None):
    """Lock the target, choose and check a set, cut the slice, work out what would change; open the journal.

    :param server: :class:`Server` of who may write Letta's tables and, for older backups, create a database.
    :returns: plain data: run_id, run_dir (empty in check mode, and when nothing would change), plan, diff, backup, target.
    :raises RecoveryError: with live untouched.
    """
    base = options.base
    target = inspect_target(server, base.database, base.owner)
    key = runs.target_key(server, target, base.database)
    runs_root = os.path.join(base.root, runs.RUNS)
    run_id = journals.new_run_id()
    if base.check:
        lock.check_free(runs_root, key)
        with tempfile.TemporaryDirectory(prefix="letta-slice-") as folder:
            return _planned(_Run(server, options, target, key, run_id, folder, progress or Progress(None)))[0]
    store.check_root(base.root, create=bool(base.stores))
    lock.acquire(runs_root, key, run_id, base.controller, journals.PARTIAL, base.proven_dead)
    folder = os.path.join(runs_root, run_id)
    try:
        ending.settle(server, runs_root, key)
        ending.sweep(runs_root, key, clock.clocks(server)[0])
        durable.make_private_dir(folder)
        begun, facts = _planned(_Run(server, options, target, key, run_id, folder, progress or Progress(None)))
        return _opened(begun, facts, options, runs_root, key)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release(runs_root, key, run_id)
        raise


def _opened(begun, facts, options, runs_root, key):
    """Open the journal of a plan that changes something; give the lock back when there is nothing to do."""
    if begun["plan"]["kind"] == "unchanged":
        shutil.rmtree(os.path.join(runs_root, begun["run_id"]), ignore_errors=True)
        lock.release(runs_root, key, begun["run_id"])
        return begun
    journal = journals.Journal.create(
        runs_root, begun["run_id"], operation=journals.PARTIAL, target=key, controller=options.base.controller, plan=begun["plan"],
        facts=dict(facts, backup=begun["backup"], target=begun["target"]), set_id=begun["backup"]["id"],
        keep_previous_seconds=options.base.keep_previous_seconds,
        phases=[{"name": "assess", "status": "ok", "seconds": begun["plan"]["seconds"], "detail": begun["plan"]["why"],
                 "noted_at": journals.utc_now()}],
    )  # fmt: skip
    lock.check_begun(runs_root, journal, journals.FAILED)
    return dict(begun, run_dir=journal.run_dir)


def _planned(run):
    return out_of_live.plan(run, _live(run)) if run.options.live else _plan(run)


def _plan(run):
    """Return (what :func:`plan` returns, facts for the journal)."""
    began, base = time.monotonic(), run.options.base
    run.live = _live(run)
    whole = replace(base, force=True)  # what live is as a whole says nothing here
    context = runs.Context(run.server, whole, run.target, run.key, os.path.join(base.root, runs.RUNS), run.run_id, run.progress)
    with context.open:
        info, manifest, rejected = assess.choose_set(context, None)
        if not info.at_hand:
            raise RecoveryError(
                "preflight", "%s is in %s, and the difference cannot be told without its rows" % (info.id, info.store),
                now="nothing was fetched or changed", next_step="run it without --check: the plan comes first, and asks before it goes on",
            )  # fmt: skip
        context.plain.fetch()
        schema = manifest["database"].get("schema") or "public"
        way = _schema(run, manifest)
        found = selection.resolve(context.archive, context.tools, schema, run.options.selection)
        found.roots[closure.REPLACED] = replaced.check(run.options.imported, found)
        found.roots[closure.REVISIONS] = list(manifest["letta"]["alembic_revisions"])
        folder = os.path.join(run.folder, SLICE)
        os.mkdir(folder, 0o700)
        cut = slices.cut(
            Supply(context.archive, context.tools, schema, Saved.of(manifest, context.plain.folder)), found.roots, folder,
            rules_for(found.roots, run.options.traces, run.options.links), run.options.jobs, run.progress, _as_saved(run, manifest, way),
        )  # fmt: skip
        checks = []
        if way["verdict"] == releases.OLDER:
            cut, checks = _brought_forward(run, cut, context, manifest, schema)
        secrets, of_key = secretcheck.check_key(cut, info.id, base.encryption_key, run.progress)
    with workbench.opened(run.database, run.options.patience) as bench:
        worked = work_out(bench, cut, run.options.policies.of_set(info.id))
        diff = difference.lines(bench)
    made = _made(run, info, manifest, rejected, found, worked, way, context.warnings + of_key + _of_git(cut))
    made["secrets"] = secrets
    made["rows_asked"] = [why.told(why.why(cut, *item.split(" ", 1))) for item in run.options.why]
    made["seconds"] = round(time.monotonic() - began, 3)
    begun = {
        "run_id": run.run_id, "run_dir": "", "plan": made, "diff": diff,
        "backup": {"id": info.id, "taken_at": manifest["taken_at"], "letta_version": manifest["letta"].get("version"),
                   "alembic_revision": manifest["letta"]["alembic_revisions"][0], "rejected": rejected},
        "target": {"host": base.host, "database": base.database, "alembic_revision": run.live["revisions"][0]},
    }  # fmt: skip
    facts = {"slice": cut.folder, "saved": {name: item["rows"] for name, item in cut.tables.items()}, "checks":
             [item.as_dict() for item in checks], "live_oid": run.live["oid"]}  # fmt: skip
    return begun, facts


def _as_saved(run, manifest, way):
    """Return the function that tells which passages need not be read; None where every row is needed, or the set says nothing of them."""
    needed = way["verdict"] == releases.OLDER or run.options.policies.shared == sharing.COPY or run.options.why
    if needed or "archives" not in manifest:
        return None

    def as_saved(archives):
        with workbench.opened(run.database, run.options.patience) as bench:
            return unread.as_saved(bench, manifest["archives"], archives)

    return as_saved


def _live(run):
    live = run.target["live"]
    if not live or live["fenced"] or len(live.get("revisions") or []) != 1:
        what = "does not exist" if not live else "is fenced off by a cutover" if live["fenced"] else "holds no Letta at one revision"
        raise RecoveryError(
            "preflight",
            "database %s on %s %s: a partial restore brings things into a running system"
            % (run.options.base.database, run.server.host, what),
            now="nothing was changed",
            next_step="restore the whole set: ansible-playbook playbooks/restore-full.yml",
        )
    return live


def _schema(run, manifest):
    """Return the ``schema`` part of the plan. :raises RecoveryError: ``schema``."""
    target = run.live["revisions"][0]
    schema = schema_verdict(manifest["id"], manifest["letta"]["alembic_revisions"], target, run.options.upgrade is not None)
    if schema["verdict"] == releases.OLDER and run.options.base.check_heads:
        run.options.base.check_heads(target)
    return schema


def _of_git(cut):
    agents = secretcheck.git_backed(cut)
    text = "memory of %s is in a git repository of a volume, which is not brought back here: repository and blocks may differ afterwards"
    return [text % ", ".join(agents[:5])] if agents else []


def _brought_forward(run, cut, context, manifest, schema):
    base = run.options.base
    name = side_name(base.database, scratch.PURPOSE, run.run_id)
    facts = dict(manifest["database"], owner_here=run.target["owner"])
    target = run.live["revisions"][0]
    upgrade = run.options.upgrade(run.server.database(name), target)
    options = MigrateOptions(name, schema, target, upgrade, base.encryption_key, run.options.jobs)
    return scratch.bring_forward(run.server, cut, context.archive, context.tools, facts, options, run.progress)


def _made(run, info, manifest, rejected, found, worked, way, warnings):
    base = run.options.base
    nothing = not any(worked["rows"].values())
    return dict(
        {key: value for key, value in worked.items() if key != "missing"},
        kind="unchanged" if nothing else "partial",
        run_id=run.run_id, host=base.host, database=base.database, set_id=info.id, taken_at=manifest["taken_at"],
        verified_at=info.verified_at, scopes=list(found.scopes), names=found.names, rejected=rejected, warnings=warnings,
        why="asked for by id" if base.backup_id == info.id else "the newest set that can be used",
        policies={"shared": run.options.policies.shared, "messages": run.options.policies.messages},
        schema=way,
        undo="" if nothing else undo_command(run.run_id),
        missing=[dict(item, bring=links.command(item, info.id)) for item in worked["missing"]],
    )  # fmt: skip
