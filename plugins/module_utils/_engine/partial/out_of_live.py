# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that repairs links out of live itself, its plan: the same as of a partial restore, with a slice that live fills."""
from __future__ import annotations

import os
import time

from ..letta import closure
from ..restore.plan import schema_verdict, undo_command
from . import difference, embed, mend, workbench
from .ending import SLICE
from .plan import work_out
from .slices import Slice


def plan(run, live):
    """Find what is to be mended.

    :param run: of :func:`begin.plan`. :param live: facts of the live database.
    :returns: (what :func:`begin.plan` returns, facts for the journal).
    """
    began, base = time.monotonic(), run.options.base
    cut = Slice(os.path.join(run.folder, SLICE), {})
    os.mkdir(cut.folder, 0o700)
    with workbench.opened(run.database, run.options.patience) as bench:
        cut.roots, names = mend.resolve(bench, run.options.selection, run.options.links)
        cut.tables = mend.tables(bench, cut.roots[closure.MENDED_KINDS])
        cut.save()
        worked, diff, saved = _worked(bench, cut, run)
        bare = [item["id"] for item in worked["mended"] if item["reason"] == "file_passages"]
        embedded = bool(bare and run.options.embed and not base.check) and embed.passages(bench, cut, bare, run.options.embed)
    if embedded:
        with workbench.opened(run.database, run.options.patience) as bench:
            worked, diff, saved = _worked(bench, cut, run)
    nothing, revision = not any(worked["rows"].values()), live["revisions"][0]
    made = dict(
        worked,
        kind="unchanged" if nothing else "partial",
        run_id=run.run_id, host=base.host, database=base.database, set_id="", taken_at=None, verified_at=None,
        scopes=list(run.options.selection.scopes), names=names, rejected=[], warnings=[], why="out of live itself, without a backup",
        policies={"shared": run.options.policies.shared, "messages": run.options.policies.messages},
        schema=schema_verdict("live", [revision], revision, False), undo="" if nothing else undo_command(run.run_id),
        seconds=round(time.monotonic() - began, 3),
    )  # fmt: skip
    begun = {
        "run_id": run.run_id, "run_dir": "", "plan": made, "diff": diff,
        "backup": {"id": "", "taken_at": None, "letta_version": None, "alembic_revision": revision, "rejected": []},
        "target": {"host": base.host, "database": base.database, "alembic_revision": revision},
    }  # fmt: skip
    return begun, {"slice": cut.folder, "saved": saved, "checks": [], "live_oid": live["oid"]}


def _worked(bench, cut, run):
    """Return (what :func:`work_out` returns, its lines, rows to come by table)."""
    worked = work_out(bench, cut, run.options.policies)
    rows = {table: bench.rows("select count(*) from %s" % bench.saved(table))[0][0] for table in bench.present}
    return worked, difference.lines(bench), rows
