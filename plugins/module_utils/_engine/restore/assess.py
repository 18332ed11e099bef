# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phase assess: which set, is it whole, what would a restore of it do here.

Functions take the context of :mod:`restore.runs`: server, options, target, key, runs_root, run_id, progress.
"""
from __future__ import annotations

from ..backup import choosing, rehearsals, screening, sealed, signature, stores, workplace
from ..backup import manifest as manifests
from ..backup.trust import ANYBODY
from ..errors import RecoveryError
from ..findings import FAIL, WARN
from ..letta import ciphers, releases
from ..letta import secrets as letta_secrets
from ..postgres.archive import open_archive
from ..progress import human_bytes
from . import journal as journals
from . import keycheck, losses, recovery, release, replicas, stage, volumenotes
from .plan import make_plan, undo_command
from .prove import prove_database
from .target import loss_window

HISTORY = 5
# Database-level settings that make every session load libraries, or look for them in another place.
CODE_SETTINGS = frozenset(
    ("session_preload_libraries", "local_preload_libraries", "dynamic_library_path", "extension_control_path", "jit_provider")
)


def choose_set(context, earlier):
    """Choose a set and check it: checksums of every file, table of contents.

    :param earlier: journal of a prepared run whose set is to be used, or None.
    :returns: (SetInfo, manifest, rejected). In check mode, and when live holds it already, a set of a remote store is not fetched:
        it is then not ``at_hand``, and only its manifest was looked at.
    :raises RecoveryError: ``no_usable_backup``, ``backup_corrupt``, or ``preflight`` when no store answers.
    """
    options, wanted, fallback = context.options, context.options.backup_id, context.options.fallback
    signature.check_ready(options.trust)
    if not context.check:
        workplace.reap(options.trust.scratch_dir)
    if earlier is not None and "stage" not in options.phases and "cutover" in options.phases:
        wanted, fallback = earlier.data["set_id"], choosing.LATEST  # the side database is of this set and no other
    found = {}
    with stores.opened(
        options.stores or (options.root,), options.root, options.rclone_config, options.store_timeout, options.trust
    ) as places:
        request = choosing.Request(
            wanted, options.max_age or None, fallback, cluster=context.target["system_identifier"], database=options.database,
            progress=context.progress,
            check=lambda item: _reason_against(item, context.progress, found, options.trust),
            enough=lambda item: context.check or _is_unchanged(context, manifests.load(item.path, options.trust)),
            loss=lambda passed, taken: losses.cost(context, passed, taken),
        )
        choice = choosing.search(places, request)
        info, manifest = choice.info, manifests.load(choice.info.path, options.trust)
    context.warnings = choice.warnings + [item.detail for item in found.get(info.path, []) if item.status == WARN]
    if info.at_hand:
        _refuse_foreign_objects(context, info, manifest)
    elif context.check:
        size = human_bytes(info.size_bytes)
        context.warnings.append("%s is in %s: a restore fetches its %s first, and checks every file then" % (info.id, info.store, size))
    return info, manifest, choice.rejected


def _refuse_foreign_objects(context, info, manifest):
    context.tools = stage.tools_for(manifest, context.options.bin_dir)
    context.plain = context.open.enter_context(sealed.opened(info.path, manifest, context.options.trust, context.progress))
    context.archive = _readable_archive(context, manifest)
    refused = screening.refused(context.archive) + _refused_facts(manifest["database"])
    if refused:
        raise RecoveryError(
            "backup_corrupt",
            "%s holds objects no Letta database has: %s" % (info.id, ", ".join("%s %s" % tuple(item[:2]) for item in refused[:5])),
            next_step="restore it by hand if you trust it; this collection runs no code that came in a dump",
            details={"refused": [list(item) for item in refused[:20]]},
        )


def _readable_archive(context, manifest):
    """Open the archive. Of an encrypted one in a folder, only the table of contents and the tables with secrets are decrypted."""
    path = stage.archive_path(context.plain.folder, manifest)
    folder = manifest["database"]["archive"]["path"] + "/"
    if manifest["database"]["archive"]["format"] != "directory":
        context.plain.fetch(lambda name: (name + "/").startswith(folder))
        return open_archive(path, context.tools)
    context.plain.fetch(lambda name: name == folder + "toc.dat")
    archive = open_archive(path, context.tools)
    members = tuple(folder + entry.file for entry in archive.data_entries() if entry.name in ciphers.COLUMNS)
    context.plain.fetch(lambda name: name.startswith(members))  # compressed members have a suffix
    return archive


def _refused_facts(facts):
    """Return [(kind, name)] of what a manifest wants set up and no Letta database has: extensions, settings that load code."""
    names = [item["name"] for item in facts.get("extensions") or []]
    refused = [("EXTENSION", name) for name in names if name not in screening.ALLOWED_EXTENSIONS]
    return refused + [("SETTING", item["name"]) for item in facts.get("settings") or [] if item["name"].lower() in CODE_SETTINGS]


def _reason_against(info, progress, found, trust=ANYBODY):
    """Return what stands against the copy of a set at ``info.path``, or None. A file that cannot be read says nothing about the set."""
    findings = found[info.path] = manifests.verify_files(info.path, manifests.load(info.path, trust), progress)
    bad = [item for item in findings if item.status == FAIL]
    if not bad:
        return None
    damaged = any(item.id != manifests.UNREADABLE for item in bad)
    return choosing.Against("; ".join(item.detail for item in bad[:3]), damaged)


def _is_unchanged(context, manifest):
    """Tell whether live is this very set already: made by our last run, and proven equal again now."""
    if manifest["checksum"] not in context.unchanged:
        context.unchanged[manifest["checksum"]] = _prove_unchanged(context, manifest)
    return context.unchanged[manifest["checksum"]]


def _prove_unchanged(context, manifest):
    live = context.target["live"]
    done = _succeeded(context)
    if context.options.force or not live or live["fenced"] or not done:
        return False
    last = done[-1]
    if last["set_id"] != manifest["id"] or (last.get("side") or {}).get("oid") != live["oid"]:
        return False
    if not _same_new_key(context.options.new_encryption_key, last["plan"].get("rekey")):
        return False
    # After a migration the content to find is what the accounting of its rows ended with.
    saved = dict(manifest, **recovery.last_proof(last["steps"]).get("content", {}))
    tables, findings = prove_database(context.server.database(context.options.database), saved)
    return all(row["digest"] == "equal" for row in tables) and not any(item.status == FAIL for item in findings)


def _same_new_key(key, known):
    return letta_secrets.matches(key, known) if key and known else not key and not known


def _succeeded(context):
    """Return the journals' data of earlier runs on this target that ended well, oldest first."""
    found = [item.data for item in journals.list_runs(context.runs_root)[0]]
    return [data for data in found if data["target"] == context.key and data["status"] == journals.SUCCEEDED]


def plan_restore(context, info, manifest, rejected):
    """Return the plan of restoring a set (see :func:`restore.plan.make_plan`), with ``secrets`` of :func:`keycheck.check_key`.

    :raises RecoveryError: what either of them refuses.
    """
    options, live, window = context.options, context.target["live"], None
    if live and not live["fenced"]:
        window = loss_window(context.server, options.database, live["schema"], manifest["taken_at"])
    runs, doubts = release.settle(options.letta_version, options.image, options.running)
    facts = {
        "run_id": context.run_id,
        "host": options.host,
        "database": options.database,
        "mode": options.mode,
        "runs": runs,
        "encryption_key": options.encryption_key,
        "rekey": letta_secrets.fingerprint(options.new_encryption_key) if options.new_encryption_key else None,
        "migrates": options.check_heads is not None,
        "keep_previous_seconds": options.keep_previous_seconds,
        "stops": list(options.stops),
        "store_hosts": [] if options.stores else list(options.store_hosts),
        "service_manager": options.service_manager,
        "verified_at": info.verified_at,
        "why": _why(options, info),
        "rejected": rejected,
        "undo": undo_command(context.run_id),
        "redis": options.redis,
        "reconcile": options.reconcile,
    }
    rehearsed, damaged = rehearsals.read(options.root)
    times = _history(context) or _rehearsed_times(options, manifest, rehearsed)
    plan = make_plan(manifest, context.target, facts, window, times, _is_unchanged(context, manifest))
    plan["rehearsal"] = rehearsals.expected(rehearsed, **_likeness(options, manifest), revision_to=plan["schema"]["to_revision"])
    if damaged:
        doubts.append("%d lines of the history of rehearsals cannot be read and were passed over" % damaged)
    if options.mode == "in_place" and options.seal.recipients:
        sealed.check_pair(options.seal, options.trust)  # the safety set must come back without anybody looking for a key
    if plan["schema"]["verdict"] == releases.OLDER and plan["kind"] != "unchanged":
        options.check_heads(plan["schema"]["to_revision"])
    if plan["kind"] != "unchanged" and info.at_hand:  # else the run that made it has tried the key, or the one that fetches it will
        plan["secrets"], of_key = _try_key(context, manifest)
        doubts += of_key
        _check_rekey(options, info.id, plan["secrets"])
    tools = context.tools or stage.tools_for(manifest, options.bin_dir)
    plan["tools"] = {"pg_restore": tools.version_text, "bin_dir": tools.bin_dir, "floor": tools.below_floor()}
    plan["replication"], plan["generation"] = context.target["replication"], live["generation"] if live else ""
    plan["warnings"] += doubts + context.warnings + _below_floor(tools)
    plan["warnings"] += replicas.warnings(plan["replication"], options.database) if plan["kind"] != "unchanged" else []
    volumenotes.add_to_plan(plan, manifest, options.volumes, options.host)
    return plan


def _below_floor(tools):
    if not tools.below_floor():
        return []
    text = "pg_restore %s is older than %s, which closes CVE-2025-8714, CVE-2025-8715 and CVE-2026-18408: update PostgreSQL's client tools"
    return [text % (tools.version_text, tools.below_floor())]


def _why(options, info):
    if options.backup_id == info.id:
        return "asked for by id"
    if options.backup_id != "latest":
        return "the next set that can be used: %s was asked for and cannot" % options.backup_id
    return "the newest set that can be used" + (", from %s" % info.store if options.stores else "")


def _check_rekey(options, set_id, secrets):
    if options.new_encryption_key and secrets["verdict"] == keycheck.UNPROVEN:
        raise RecoveryError(
            "key_mismatch",
            "letta_encryption_new_key is given, but not the key that %d secrets of %s are under" % (secrets["total"]["unchecked"], set_id),
            next_step="give both: letta_encryption_key of the time of the backup, letta_encryption_new_key of the servers that will run",
        )


def _try_key(context, manifest):
    schema = manifest["database"].get("schema") or "public"
    return keycheck.check_key(context.archive, context.tools, schema, manifest["id"], context.options.encryption_key, context.progress)


def _likeness(options, manifest):
    """What a rehearsal must be like to tell anything of this restore: set, size, schema, target."""
    revisions = manifest["letta"]["alembic_revisions"] or [None]
    return {
        "set_id": manifest["id"],
        "size_bytes": manifest["database"].get("size_bytes"),
        "revision_from": revisions[0],
        "target": "%s/%s" % (options.host, options.database),
    }


def _rehearsed_times(options, manifest, records):
    """Where no restore was ever needed, seconds per phase come from rehearsals."""
    return rehearsals.phases(rehearsals.like(records, **_likeness(options, manifest)))


def _history(context):
    """Return seconds per phase of the last like runs, oldest first."""
    history = []
    for data in _succeeded(context)[-HISTORY:]:
        seconds = {phase["name"]: phase["seconds"] for phase in data.get("phases", []) if phase.get("seconds") is not None}
        seconds["downtime"] = data.get("downtime_seconds")
        seconds["total"] = sum(value for value in seconds.values() if value)
        history.append(seconds)
    return history
