"""One backup or one restore by the engine alone, in a process of its own, so that its peak memory is its own.

Reads a job as JSON from standard input (the password never shows in arguments), prints the outcome as JSON.
"""
from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import cutover, endings, phasenotes, phases, runs, stage
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal, NoJournal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate import validate_database
from tests.bench.choices import undo


def backup(server, job):
    """Take a set; returns its id and the seconds."""
    began = time.perf_counter()
    options = take.BackupOptions(
        server=server.database(job["database"]), root=job["root"], jobs=job["jobs"], compression=job["compression"], bin_dir=job["bin_dir"],
        vectors=job["vectors"],
    )  # fmt: skip
    manifest = take.take_backup(options)
    return {"id": manifest["id"], "seconds": {"backup": time.perf_counter() - began, "backup.dump": manifest["seconds"]["dump"]}}


def restore(server, job):
    """Restore the newest set over the live database, step by step as the playbook does; returns the seconds of each step."""
    seconds = {}
    with _timed(seconds, "procedure"):
        with _timed(seconds, "assess"):
            options = runs.RunOptions(
                root=job["root"], host="bench", database=job["database"], owner=job["owner"], phases=phases.PHASES,
                bin_dir=job["bin_dir"], force=True, controller=processes.identity(),
            )
            begun = runs.begin(server, options)
        journal = Journal.load(begun["run_dir"])
        manifest = manifests.load(begun["set_dir"])
        with _timed(seconds, "stage"):
            wanted = stage.StageOptions(begun["set_dir"], begun["names"]["side"], job["owner"], job["jobs"], job["bin_dir"])
            staged = stage.stage_set(server, manifest, wanted, journal)
        seconds.update({"stage.%s" % part: value for part, value in staged["seconds"].items()})
        phasenotes.note_phase(journal, "stage", "ok", seconds["stage"])
        with _timed(seconds, "validate"):
            findings = validate_database(server.database(begun["names"]["side"]), role=job["owner"])
        with _timed(seconds, "swap"):
            names = dict(journal.data["names"], live=job["database"])
            swapped = cutover.swap_in(server, journal, names)
            (revision,) = manifest["letta"]["alembic_revisions"]
            cutover.read_back(server, job["database"], manifest, swapped["live_oid"], manifest["database"]["schema"], revision)
        with _timed(seconds, "finish"):
            endings.finish(server, job["root"], journal, phases.PHASES)
    unequal = [table["name"] for table in staged["tables"] if table["digest"] != "equal"]
    return {"seconds": seconds, "unequal": unequal, "failed_checks": [item.id for item in findings if item.status == "fail"]}


def staged(server, job):
    """Stage the newest set beside the live database and no more; returns the seconds."""
    (set_dir,) = [entry.path for entry in os.scandir(job["root"]) if entry.name.startswith("lb-")]
    wanted = stage.StageOptions(set_dir, job["database"] + "__staged", job["owner"], job["jobs"], job["bin_dir"])
    seconds = {}
    with _timed(seconds, "stage"):
        done = stage.stage_set(server, manifests.load(set_dir), wanted, NoJournal())
    seconds.update({"stage.%s" % part: value for part, value in done["seconds"].items()})
    return {"seconds": seconds, "unequal": [table["name"] for table in done["tables"] if table["digest"] != "equal"]}


@contextmanager
def _timed(seconds, name):
    began = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - began


def main():
    """Do the job on standard input."""
    job = json.load(sys.stdin)
    os.umask(0o077)
    if job["undone"]:
        undo(job["undone"])
    outcome = {"backup": backup, "restore": restore, "stage": staged}[job["do"]](Server(**job["server"]), job)
    print(json.dumps(dict(outcome, peak_memory_bytes=processes.peak_memory())))


if __name__ == "__main__":
    main()
