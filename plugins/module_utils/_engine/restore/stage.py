# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phase stage: a side database beside the live one, loaded, analysed and proven equal to the set."""
from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import dataclass

from ..errors import LIVE_UNTOUCHED, RecoveryError
from ..findings import FAIL
from ..postgres import load as loading
from ..postgres import packing, rowsums, segments, sidedb
from ..postgres.archive import open_archive
from ..postgres.connection import connect, losses_told
from ..postgres.digest import Digesting
from ..postgres.pieces import Saved
from ..postgres.tools import find_tools
from ..progress import Progress
from . import obstacles, prove


@dataclass
class StageOptions:
    """What :func:`stage_set` needs: paths on this host, names on the server."""

    set_dir: str
    database: str
    owner: str
    jobs: int = 2
    bin_dir: str = ""


def tools_for(manifest, bin_dir=""):
    """Return client tools that can read the archive of a set (version and compression).

    :raises RecoveryError: ``preflight``, also when nothing here reads its tables in binary form.
    """
    if manifest["database"].get("segments"):
        packing.require(manifest["database"]["segments"]["compression"], manifest["id"])
    archive = manifest["database"]["archive"]
    compression = (archive.get("compression") or "gzip").partition(":")[0]
    major = int(str(manifest["postgresql"].get("dump_version") or "0").partition(".")[0] or 0)
    return find_tools(bin_dir or None, min_major=major, compression=None if compression == "none" else compression, need=("pg_restore",))


def archive_path(set_dir, manifest):
    """Return the path of the archive inside a set; that it is inside was checked when the manifest was read."""
    return os.path.join(set_dir, manifest["database"]["archive"]["path"])


def stage_set(server, manifest, options, journal, progress=None):
    """Create, load, analyse and prove a side database; every step is in the journal.

    :param server: admin :class:`Server`. :param options: :class:`StageOptions`. :param journal: :class:`Journal`.
    :returns: {"database", "oid", "seconds": {...}, "tables": [...], "findings": [Finding], "warnings"}
    :raises RecoveryError: ``load_failed`` (the side database is dropped again) or ``verify_failed`` (it is kept for study).
    """
    progress = progress or Progress(None)
    seconds = {}
    tools = tools_for(manifest, options.bin_dir)
    archive = open_archive(archive_path(options.set_dir, manifest), tools)
    oid = None
    side = server.database(options.database)
    digesting = Digesting(side, options.jobs, rowsums.form_of(manifest["tables"]))
    try:
        with journal.step("stage.create", database=options.database) as facts, _timed(seconds, "create"), losses_told(server):
            oid, warnings = sidedb.create_side_database(server, options.database, options.owner, manifest["database"])
            facts.update(oid=oid)
        journal.save(side={"name": options.database, "oid": oid})
        with journal.step("stage.load"), _timed(seconds, "load"), losses_told(side):
            size = manifest["database"].get("size_bytes") or 0
            saved = Saved.of(manifest, options.set_dir)
            _check_server(side, manifest, saved)
            # Nothing changes a row once it is there, so its digest is taken beside what follows, in gaps that this leaves.
            rows = {name: table["rows"] for name, table in manifest["tables"].items()}
            loading.load_archive(
                server, options.database, archive, tools, options.owner, options.jobs, size, progress, saved, digesting, rows
            )
    except RecoveryError as exc:
        raise _dropped(server, options.database, oid, exc) from None
    with journal.step("stage.prove") as facts:
        with _timed(seconds, "prove"), losses_told(side):
            tables, findings = prove.prove_database(side, manifest, archive, options.jobs, progress, digesting.result(progress))
        bad = [item for item in findings if item.status == FAIL]
        if bad:
            raise _not_equal(options.database, manifest, tables, bad)
        facts.update(tables=tables, findings=[item.as_dict() for item in findings], seconds=seconds, warnings=warnings)
    return {
        "database": options.database,
        "oid": oid,
        "seconds": seconds,
        "tables": tables,
        "findings": findings,
        "warnings": warnings,
    }


def _check_server(side, manifest, saved):
    """Refuse before the load what would only show after it."""
    with closing(connect(side)) as conn, conn.cursor() as cursor:
        rowsums.require(cursor, rowsums.form_of(manifest["tables"]))
        if saved:
            obstacles.check_vectors(manifest, segments.probe(cursor))


def _dropped(server, database, oid, error):
    try:
        dropped = oid is not None and sidedb.drop_database(server, database, oid)
    except RecoveryError as exc:  # what failed first is what a person must know
        return error.with_now("%s; the half-loaded side database stays: %s" % (LIVE_UNTOUCHED, exc.message))
    now = LIVE_UNTOUCHED + (", the half-loaded side database was dropped" if dropped else ", no side database left")
    return error.with_now(now)


def _not_equal(database, manifest, tables, bad):
    differing = [table["name"] for table in tables if table["digest"] == "differs"]
    what = "tables differ: %s" % ", ".join(differing[:8]) if differing else "; ".join(item.detail for item in bad[:3])
    return RecoveryError(
        "verify_failed",
        "what was loaded from %s is not what was saved: %s" % (manifest["id"], what),
        now=LIVE_UNTOUCHED + "; side database %s is kept for study (the next restore drops it)" % database,
        next_step="choose another set: ansible-playbook playbooks/catalog.yml, then -e letta_backup_id=…",
        details={"tables": [table for table in tables if table["digest"] == "differs"], "findings": [item.as_dict() for item in bad]},
    )


class _timed:
    """Adds the seconds a block took to a dict."""

    def __init__(self, seconds, name):
        self._seconds, self._name = seconds, name

    def __enter__(self):
        self._start = time.monotonic()

    def __exit__(self, *exc_info):
        self._seconds[self._name] = round(time.monotonic() - self._start, 3)
