# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applying the plan of a run: one transaction that locks, works the plan out again, saves what was, writes, proves and commits."""
from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace

from ..errors import LIVE_UNTOUCHED, RecoveryError
from ..restore import phasenotes
from . import apply, slices, touched, unread, workbench
from .ending import APPLY, BEFORE, TIMELINE, session_name
from .plan import Policies, work_out

_WORDS = (("add", "rows added"), ("change", "changed"), ("remove", "removed"))


def carry_out(server, database, journal, options):
    """Apply the plan of a run: lock the agents, work the plan out again, write the undo, write, prove, commit.

    :param journal: of the run. :param options: :class:`~.begin.PartialOptions`.
    :returns: {"changed", "tables", "findings", "seconds", "replanned"}
    :raises RecoveryError: ``locked`` when an agent is at work for longer than ``busy_wait``; ``preflight`` when live moved since the
        plan so that more would be lost; ``verify_failed`` when what was written is not what was to come. Live is untouched then.
    """
    began = time.monotonic()
    undoes = journal.data.get("undoes")
    options = replace(options, policies=Policies(undo=True) if undoes else options.policies.of_set(journal.data["set_id"]))
    cut = slices.Slice.load(journal.data["facts"]["slice"])
    deadline = began + options.busy_wait
    while True:
        try:
            return _carry_out(server.database(database), journal, options, cut, began)
        except RecoveryError as exc:
            if "busy" not in exc.details or time.monotonic() > deadline:
                raise
        time.sleep(1)


def _carry_out(server, journal, options, cut, began):
    folder = os.path.join(journal.run_dir, BEFORE)
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder, 0o700)
    with workbench.opened(server, options.patience, session_name(journal.run_id)) as bench:
        notes, held_from = [], []

        def hold(loaded):  # as late as can be: nobody waits while the slice is read
            notes.extend(apply.lock(loaded, cut, options.busy_seconds))
            held_from.append(time.monotonic())
            apply.lock_things(loaded)

        made = work_out(bench, cut, options.policies, hold)
        replanned = made["hash"] != journal.data["plan"]["hash"]
        if replanned:
            _accept(journal.data["plan"], made)
        apply.save_before(bench, folder)
        ((xid, timeline),) = bench.rows("select pg_current_xact_id()::text, %s" % TIMELINE)
        journal.begin(APPLY, xid=xid, timeline=timeline, replanned=replanned)
        apply.write(bench)
        rows = apply.prove(bench, made, journal.data["facts"]["saved"]) + unread.report_rows(cut.unread)
        bad = [row for row in rows if row["digest"] == "differs"]
        if bad:
            raise _not_equal(bad)
        bench.run("set constraints all immediate")
        done_to = touched.gather(bench, made)
        made["notes"] = notes + made["notes"] + apply.waiting(bench)
        if options.last:
            options.last(bench.cursor, server)
        bench.cursor.connection.commit()
    held = round(time.monotonic() - held_from[0], 3)
    told = {key: made[key] for key in ("rows", "shared", "mapped", "notes")}
    journal.done(APPLY, tables=rows, touched=done_to, made=told, held_seconds=held)
    rows_told = ", ".join("%d %s" % (made["rows"][key], word) for key, word in _WORDS if made["rows"][key])
    detail = "%s; new work of these agents waited for %.1f s" % (rows_told, held)
    phasenotes.note_phase(journal, "apply", "ok", round(time.monotonic() - began, 3), detail)
    return {
        "changed": True, "tables": rows, "findings": made["notes"], "seconds": round(time.monotonic() - began, 3),
        "held_seconds": held, "replanned": replanned,
    }  # fmt: skip


def _accept(planned, made):
    """Accept a plan that had to be made again, unless live would lose more by it than was agreed to.

    :raises RecoveryError: ``preflight``.
    """
    worse = {
        kind: item["count"] for kind, item in made["loses"].items() if item["count"] > planned["loses"].get(kind, {"count": 0})["count"]
    }
    kept = {(item["table"], item["id"]) for item in planned["shared"]}
    shared = [item for item in made["shared"] if (item["table"], item["id"]) not in kept and item["decision"] != "kept"]
    if not worse and not shared:
        return
    told = ["%d %s" % (count, kind) for kind, count in sorted(worse.items())] + ["%s %s" % (item["table"], item["name"]) for item in shared]
    raise RecoveryError(
        "preflight",
        "the live database moved since the plan was shown: it would lose or change more now (%s)" % ", ".join(told),
        now=LIVE_UNTOUCHED,
        next_step="run the same command again: it plans anew and shows it",
    )


def _not_equal(bad):
    return RecoveryError(
        "verify_failed",
        "what was written is not what was to come: %s" % "; ".join("%s (%s)" % (row["name"], row["explanation"]) for row in bad[:5]),
        now=LIVE_UNTOUCHED + ": everything was taken back with the transaction",
        next_step="run the same command again; if it stays so, report it with letta_report_dir/latest/report.json",
        details={"tables": bad},
    )
