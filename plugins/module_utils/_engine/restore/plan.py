# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a full restore: one pure function decides, check mode and the real run both show it."""
from __future__ import annotations

from ..errors import RecoveryError
from ..letta import releases
from ..letta.row_changes import DECLARED_SINCE
from ..letta.traps import TREATED
from . import obstacles, redisnotes


def make_plan(manifest, target, options, window=None, history=(), unchanged=False):
    """Decide what a restore would do, or refuse with the reason.

    :param manifest: of the chosen set. :param target: of :func:`restore.target.inspect_target`.
    :param options: host, database, mode (``swap``|``in_place``), runs (of :func:`restore.release.settle`), encryption_key,
        keep_previous_seconds,
        stops [names], service_manager, run_id, verified_at, why, rejected.
    :param window: of :func:`restore.target.loss_window`; :param history: seconds per phase of earlier runs.
    :param unchanged: True when live was proven equal to the set already.
    :returns: the plan, plain data (docs/architecture.md).
    :raises RecoveryError: ``preflight``, ``schema`` or ``key_mismatch``.
    """
    live = target["live"]
    obstacles.check_key(manifest, options)
    wanted = _wanted_revision(manifest, target, options)
    schema = schema_verdict(manifest["id"], manifest["letta"]["alembic_revisions"], wanted, options.get("migrates"))
    obstacles.check_role(target, options)
    obstacles.check_server(manifest, target)
    disk = obstacles.check_disk(manifest, target, options)
    kind = "unchanged" if unchanged else ("replace" if live else "fresh")
    expected = _expected(history)
    plan = {
        "run_id": options.get("run_id", ""),
        "set_id": manifest["id"],
        "taken_at": manifest["taken_at"],
        "verified_at": options.get("verified_at"),
        "why": options.get("why", ""),
        "rejected": options.get("rejected", []),
        "host": options["host"],
        "database": options["database"],
        "kind": kind,
        "mode": options["mode"],
        "window": _window(window),
        "schema": schema,
        "disk": disk,
        "stops": options.get("stops", []) if options.get("service_manager") != "none" else [],
        "service_manager": options.get("service_manager"),
        "expected_seconds": expected.get("total"),
        "expected_downtime_seconds": expected.get("downtime"),
        "keep_previous_seconds": options.get("keep_previous_seconds"),
        "undo": _undo(kind, options),
        "rows": sum(table["rows"] for table in manifest["tables"].values()),
        "tables": len(manifest["tables"]),
        "rekey": options.get("rekey"),
        "reconcile": options.get("reconcile", "apply"),
        "runs": options["runs"],
        "warnings": [],
    }
    plan["redis_files"], of_files = redisnotes.files_to_place(options.get("redis") if kind != "unchanged" else {}, manifest.get("redis"))
    in_redis, of_redis = redisnotes.planned(options.get("redis"), plan["redis_files"]) if kind != "unchanged" else (None, [])
    plan["steps"] = _steps(plan, expected, in_redis)
    plan["warnings"] = _warnings(plan, manifest, options.get("store_hosts")) + of_files + of_redis
    return plan


def undo_command(run_id):
    """Return the line that takes a run back."""
    return "ansible-playbook playbooks/rollback.yml -e letta_restore_id=%s" % run_id


def _undo(kind, options):
    if kind != "replace":
        return ""
    return options.get("undo", "") if options["mode"] == "swap" else "restoring the safety set that is taken first; the recap names it"


def _wanted_revision(manifest, target, options):
    revisions, live, version = manifest["letta"]["alembic_revisions"], target["live"], options["runs"]["version"]
    if version:
        return releases.head_of(version)
    return live["revisions"][0] if live and len(live["revisions"]) == 1 else (revisions[0] if revisions else None)


def schema_verdict(set_id, revisions, wanted, migrates):
    """Compare the schema of a set with the one that will be used.

    :param revisions: of the set. :param wanted: revision to reach. :param migrates: a command for Letta's migrations is known.
    :returns: ``schema`` part of a plan: verdict (equal, older), revisions, releases, migrations, hazards.
    :raises RecoveryError: ``schema`` for everything that cannot be used.
    """
    comparison = releases.compare(revisions, wanted)
    schema = {
        "verdict": comparison.verdict,
        "from_revision": ", ".join(revisions or []) or None,
        "from_release": releases.release_range_of(comparison.revision) if comparison.revision else None,
        "to_revision": wanted,
        "to_release": releases.release_range_of(wanted) if wanted else None,
        "migrations": len(comparison.between),
    }
    if schema["verdict"] == releases.OLDER:
        _describe_way(schema, comparison.between)
        if releases.position(comparison.revision) < releases.position(DECLARED_SINCE):
            raise _schema_error(set_id, dict(schema, verdict="too_old"))
        if migrates:
            return schema
    if schema["verdict"] != releases.EQUAL:
        raise _schema_error(set_id, schema)
    return schema


def _describe_way(schema, between):
    """Add what the migrations between do, for whoever reads the plan."""
    steps = [releases.revision_info(revision) for revision in between]
    schema.update(
        changes_data=sum(1 for step in steps if step.changes_data),
        needs_key=sum(1 for step in steps if step.needs_encryption_key),
        hazards=[
            {"revision": step.revision, "release": step.release, "hazard": TREATED.get(step.revision, step.hazard)}
            for step in steps
            if step.hazard
        ],
    )


def _schema_error(set_id, schema):
    texts = {
        "older": "is older than the release that will run: %d migrations lie between %s and %s, and there is no command to run them"
        % (schema["migrations"], schema["from_revision"], schema["to_revision"]),
        "too_old": "is at %s; what migrations before %s do to rows is not declared here, so they could not be proven%s"
        % (schema["from_revision"], releases.describe(DECLARED_SINCE), _worst_loss(schema)),
        "newer": "is newer (%s) than the release that will run (%s); a schema is never taken back"
        % (schema["from_revision"], schema["to_revision"]),
        "unknown": "has the Alembic revision %s, which no Letta release up to 0.16.8 has" % schema["from_revision"],
        "two_heads": "has more than one Alembic revision: %s" % schema["from_revision"],
        "empty": "has an empty alembic_version table: its schema cannot be told",
        "missing": "has no alembic_version table: it is not a whole Letta database",
    }
    release = (schema["from_release"] or "<its release>").split("–")[-1]
    steps = {
        "older": "set letta_alembic_command to Alembic of release %s, or restore it with -e letta_version=%s"
        % ((schema["to_release"] or "").split("–")[-1], release),
        "too_old": "restore it with -e letta_version=%s, then upgrade that server step by step to 0.8.17%s and take a backup of it"
        % (release, ", its passages saved first" if _worst_loss(schema) else ""),
        "newer": "-e letta_version=%s and install that release, or choose another set" % release,
    }
    return RecoveryError(
        "schema",
        "the schema of %s %s" % (set_id, texts.get(schema["verdict"], schema["verdict"])),
        next_step=steps.get(schema["verdict"], "choose another set: ansible-playbook playbooks/catalog.yml"),
        details={"schema": schema},
    )


def _worst_loss(schema):
    """Name what migrations of very old schemas destroy, for whoever thinks of running them by hand."""
    drops = next((item for item in schema.get("hazards", ()) if item["revision"] == "54dec07619c4"), None)
    return "; and migration 54dec07619c4 (%(release)s) %(hazard)s: every memory of every agent would be lost" % drops if drops else ""


def _window(window):
    if not window:
        return {"seconds": None, "messages": None, "agents": [], "agents_count": None}
    return window


def _expected(history):
    """Return expected seconds from the last five like runs: {"total", "downtime", <phase>}; empty without history."""
    result = {}
    for name in {key for run in history for key in run}:
        values = sorted(run[name] for run in history if run.get(name) is not None)
        if values:
            result[name] = values[len(values) // 2]
    return result


def _steps(plan, expected, in_redis):
    if plan["kind"] == "unchanged":
        return []
    side = "load %d tables, %d rows into a side database, analyse, prove" % (plan["tables"], plan["rows"])
    cut = "rename %s away and the side database in, in one transaction" % plan["database"]
    details = {
        "stage": side,
        "migrate": _migration_text(plan["schema"], plan["rekey"]),
        "validate": "integrity, ids, references, sequences, vectors",
        "reconcile": "close work that was under way" if plan["reconcile"] == "apply" else "count work that was under way",
        "cutover": cut if plan["kind"] == "replace" else "rename the side database to %s" % plan["database"],
        "verify": "read back through the database%s" % (" and the API" if plan["stops"] else ""),
    }
    if plan["mode"] == "in_place" and plan["kind"] == "replace":
        details["stage"] = "stop, take a safety dump, drop %s, then %s" % (plan["database"], side)
        details["cutover"] = "rename the loaded database to %s" % plan["database"]
    steps = [{"name": name, "detail": detail, "expected_seconds": expected.get(name)} for name, detail in details.items()]
    return steps[:-1] + ([in_redis] if in_redis else []) + steps[-1:]


def _migration_text(schema, rekey):
    under = "every secret is brought under letta_encryption_new_key"
    if not schema["migrations"]:
        return under if rekey else "nothing to do: same schema revision"
    text = "%d migrations from %s to %s on the side database, %d change data; every changed row is accounted for"
    text %= (schema["migrations"], schema["from_revision"], schema["to_revision"], schema["changes_data"])
    return "%s; %s" % (text, under) if rekey else text


def _warnings(plan, manifest, store_hosts):
    warnings = ["migration %(revision)s (%(release)s) %(hazard)s" % item for item in plan["schema"].get("hazards", [])]
    if store_hosts and plan["host"] not in store_hosts:
        warnings.append("sets are read on %s itself, letta_store is %s: mount the store there" % (plan["host"], ", ".join(store_hosts)))
    if plan["disk"]["free_bytes"] is None:
        warnings.append("free disk space is unknown: the server's data folder is not visible from here")
    if plan["window"]["seconds"] is not None and plan["window"]["seconds"] < -60:
        warnings.append("the backup is from the future by this server's clock: check the clocks")
    if plan["service_manager"] == "none" and plan["kind"] == "replace":
        warnings.append("letta_service_manager is none: stop Letta's servers yourself, the cutover is refused while they are connected")
    if manifest["kind"] == "adopted":
        warnings.append("the set was adopted: its digests were computed from the dump itself, not from the database it came from")
    return warnings
