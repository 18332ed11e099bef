# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run says about volumes: in its plan, its journal and its checks; and what it does when nobody takes it up again.

``items`` are what ``letta_volumes`` names: {"name", "path", "host"}, host being the inventory host that the folder is on.
"""
from __future__ import annotations

import os

from ..backup import volumes as archives
from ..findings import PASS, WARN, Finding
from ..progress import human_bytes
from . import memory, volume_stage
from .volumes import ABSENT, ROLLED_BACK, STAGED, SWAPPED, Volume

NONE_HELD = "the set holds no volumes: nothing is done about them"


def of_inventory(items, host):
    """Return items with full paths of the folders of this host; what ``~`` means on another is for that one to say."""
    return tuple(dict(item, path=os.path.expanduser(item["path"])) if item["host"] == host else item for item in items)


def add_to_plan(plan, manifest, items, host):
    """Add the step, the numbers and the warnings on volumes to a plan; the folders on this host are looked at.

    :param items: None when they are left out on purpose. :param host: inventory host that this is.
    :raises RecoveryError: ``usage`` or ``preflight`` when a volume cannot be restored where it is to go.
    """
    held = {volume["name"]: volume for volume in manifest.get("volumes") or []}
    if plan["kind"] == "unchanged" or not (items or held):
        return
    if items is None:
        _insert(plan["steps"], {"name": "volumes", "detail": "left out (--skip-tags volumes)", "expected_seconds": None})
        return
    archives.check_apart(items)
    told, plan["volumes"] = [], []
    for item in items:
        if item["name"] not in held:
            text = "volume %s: %s holds none of this name, %s stays as it is" % (item["name"], plan["set_id"], item["path"])
            plan["warnings"].append(text)
            continue
        entry = held[item["name"]]
        far = [] if item["host"] == host else [_as_noted(one) for one in memory.findings(_noted(entry))]
        plan["volumes"].append(dict(item, files=entry["files"], bytes=entry["bytes"], memory=far))
        told.append(_told(item, entry, host, plan["warnings"]))
    others = sorted(set(held) - {item["name"] for item in items})
    if others:
        plan["warnings"].append("%s also holds volume %s, which letta_volumes does not name" % (plan["set_id"], ", ".join(others)))
    detail = "; ".join(told) or (NONE_HELD if not held else "none of those in the set is named by letta_volumes")
    _insert(plan["steps"], {"name": "volumes", "detail": detail, "expected_seconds": None})


def _noted(entry):
    return {agent: dict(one, detail="") for agent, one in ((entry.get("memory") or {}).get("agents") or {}).items()}


def _as_noted(finding):
    """The rows are on this host, the folder is not: what the backup found stands, since both are proven to be what they were then."""
    return dict(finding.as_dict(), detail=finding.detail + " (as found when the backup was taken)")


def _insert(steps, step):
    """Volumes change places when the servers have stopped: before Redis is aligned."""
    place = next((number for number, known in enumerate(steps) if known["name"] in ("redis", "verify")), len(steps))
    steps.insert(place, step)


def _told(item, entry, host, warnings):
    size = "%d files, %s" % (entry["files"], human_bytes(entry["bytes"]))
    where = item["path"] if item["host"] == host else "%s on %s" % (item["path"], item["host"])
    if entry.get("skipped_count"):
        text = "volume %s: the backup left out %d links, sockets and the like: they will not be there"
        warnings.append(text % (item["name"], entry["skipped_count"]))
    if item["host"] == host:
        place = volume_stage.check_place(item["name"], item["path"])
        volume_stage.check_room(item["name"], place, entry)
        where = place["path"] if not place["link"] else "%s, where %s leads to" % (place["path"], item["path"])
        if place["inside"]:
            where += " (a mount: what is in it changes places)"
    return "%s (%s) -> %s" % (item["name"], size, where)


def of_rollback(journal, host):
    """Return (step of a rollback's plan, or None when the run exchanged no volume; warnings on folders of this host)."""
    known = {name: item for name, item in _results(journal).items() if item.get("status") in (SWAPPED, ROLLED_BACK)}
    if not known:
        return None, []
    here = {item["name"] for item in (journal.data.get("volumes") or {}).get("items") or () if item["host"] == host}
    lost = [name for name in sorted(here & set(known)) if Volume(name, known[name]["path"], journal.run_id).status == ABSENT]
    text = "volume %s: the folder of before is not kept any more, %s stays as it was restored"
    paths = ", ".join(item["path"] for name, item in sorted(known.items()) if name not in lost)
    step = {"name": "volumes", "detail": "the folders of before come back: %s" % paths}
    return step if paths else None, [text % (name, known[name]["path"]) for name in lost]


def note(journal, results, of_memory=()):
    """Keep in the journal what module ``letta_volume`` returned for each volume, and the checks of ``memory_info``."""
    known = dict(journal.data.get("volumes") or {})
    if results:
        known["results"] = dict(_results(journal), **{item["name"]: item for item in results})
    if of_memory:
        known["memory"] = list(of_memory)
    if results or of_memory:
        journal.save(volumes=known)


def _results(journal):
    return (journal.data.get("volumes") or {}).get("results") or {}


def of_report(journal):
    """Return what became of each volume, for the report: {"name", "path", "status", "files", "bytes", "proof", "others"}."""
    keys = ("name", "path", "status", "files", "bytes", "proof", "others")
    return [{key: item.get(key) for key in keys} for _name, item in sorted(_results(journal).items())]


def checks(journal):
    """Return the findings on volumes, as plain data."""
    plan, results = journal.data.get("plan") or {}, _results(journal)
    found = [_finding(item) for _name, item in sorted(results.items())]
    for item in plan.get("volumes") or []:
        if item["name"] not in results:
            text = "%s was not restored: the run ended before" % item["path"]
            found.append(Finding("volumes.%s" % item["name"], WARN, text, 1))
    noted = [check for item in plan.get("volumes") or [] for check in item.get("memory") or []]
    return [item.as_dict() for item in found] + list((journal.data.get("volumes") or {}).get("memory") or ()) + noted


def _finding(item):
    name, path = "volumes.%s" % item["name"], item["path"]
    if item["status"] == STAGED:
        return Finding(name, PASS, "proven beside %s, not exchanged yet" % path)
    if item["status"] == ROLLED_BACK:
        kept = "; the restored one is kept as %s" % item["kept"] if item.get("kept") else ""
        return Finding(name, PASS, "%s is the folder of before again%s" % (path, kept))
    if item["status"] != SWAPPED:
        return Finding(name, WARN, "%s is as it was: %s" % (path, item.get("why") or "nothing of this run is there"), 1)
    told = "%s holds what was saved: %d files, %s, %s" % (path, item["files"], human_bytes(item["bytes"]), _proof(item))
    if item.get("kept"):
        told += "; the folder of before is kept as %s" % item["kept"]
    if item.get("others"):
        return Finding(name, WARN, "%s; %d of them belong to another owner than then: only root gives files away" % (told, item["others"]),
                       item["others"])
    return Finding(name, PASS, told)


def _proof(item):
    return "tree digest equal" if item["proof"] == "equal" else "counts equal (a set of before tree digests)"


def let_go(journal, host):
    """Put back, on this host, what a run that nobody takes up left of its volumes: staged folders go, exchanged ones go back."""
    for item in (journal.data.get("volumes") or {}).get("items") or ():
        if item["host"] == host:
            Volume(item["name"], item["path"], journal.run_id).roll_back()
