# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sets that a rehearsal takes: looked at where they lie, chosen by policy, described for what follows."""
from __future__ import annotations

from datetime import datetime, timezone

from ..backup import manifest as manifests
from ..backup import stores
from ..backup import volumes as archives
from ..backup.trust import ANYBODY
from ..errors import RecoveryError
from ..progress import Progress
from . import policy


def choose(places, policies, seed, agents=3, trust=ANYBODY, now=None):
    """Choose sets out of stores.

    :param places: arguments of :func:`~..backup.stores.opened`: (names, root, config, patience).
    :param policies: see :func:`.policy.pick`. :param seed: of random choices. :param agents: how many to restore one by one per set.
    :returns: (chosen sets as dicts, newest first; {store: why it could not be read}).
    :raises RecoveryError: ``no_usable_backup`` when there is not one set; ``preflight`` when no store answers.
    """
    now = now or datetime.now(timezone.utc)
    names, root, config, patience = places
    with stores.opened(names, root, config, patience, trust) as opened:
        infos, silent = _listed(opened, now)
        found = {info.id: info for info in reversed(infos)}
        chosen = [_described(name, found.get(name), why, seed, agents, trust) for name, why in policy.pick(infos, policies, seed)]
    if not chosen and silent:
        raise RecoveryError(
            "preflight", "no store of backup sets answers: %s" % "; ".join("%s: %s" % pair for pair in sorted(silent.items())),
            now="nothing was rehearsed, and nothing is known against the backups", next_step="check the lines to the stores",
        )  # fmt: skip
    if not chosen:
        raise RecoveryError(
            "no_usable_backup", "there is not one backup set in %s" % ", ".join(places[0] or [places[1]]), now="nothing was rehearsed",
            next_step="take one with backup.yml, or name the place of the sets (letta_backup_root, letta_stores)",
        )  # fmt: skip
    return chosen, silent


def fetch(places, name, trust=ANYBODY):
    """Copy one set here, out of the first store that has it; returns its folder.

    :param places: as for :func:`choose`; sets are copied to ``<root>/.fetched``.
    :raises RecoveryError: ``preflight`` when no store that answers has it.
    """
    names, root, config, patience = places
    with stores.opened(names, root, config, patience, trust) as opened:
        for place in opened:
            infos, _silent = _listed([place], datetime.now(timezone.utc))
            for info in infos:
                if info.id == name:
                    return place.bring(info, Progress(None)).path
    raise RecoveryError("preflight", "no store that answers has the set %s any more" % name, now="nothing was copied")


def _listed(places, now):
    infos, silent, seen = [], {}, set()
    for place in places:
        try:
            listed = place.list(now)
        except RecoveryError as error:
            if "store" not in (error.details or {}):
                raise
            silent[place.name] = error.message
            continue
        # The first place that has a set is where it is taken from.
        infos += [info for info in listed if info.id not in seen]
        seen |= {info.id for info in listed}
    return sorted(infos, key=lambda info: info.order, reverse=True), silent


def _described(name, info, why, seed, agents, trust):
    if info is None:
        problem = {"failure_class": "usage", "message": "no store has a set %r" % name}
        return {"id": name, "policies": why, "problem": problem, "path": "", "at_hand": False, "agents": []}
    described = {
        "id": name, "policies": why, "path": info.path, "at_hand": info.at_hand, "store": info.store, "size_bytes": info.size_bytes,
        "taken_at": manifests.stamp(info.taken_at), "letta_version": info.letta_version or info.release_range,
        "alembic_revision": ", ".join(info.alembic_revisions), "problem": None, "agents": [], "baseline": None,
    }  # fmt: skip
    if not info.usable:
        # What keeps it from being read may be the line to it; that says nothing of the set.
        known = "preflight" if info.problem == "unreachable" else "backup_corrupt"
        return dict(described, problem={"failure_class": known, "message": "%s: %s" % (name, info.reason)})
    manifest = manifests.load(info.path, trust)
    volumes = [volume["name"] for volume in manifest.get("volumes") or []]
    # They become names of folders.
    if len(set(volumes)) < len(volumes) or not all(archives.NAME.fullmatch(str(one)) for one in volumes):
        told = "%s: its volumes have names that no backup gives" % name
        return dict(described, problem={"failure_class": "backup_corrupt", "message": told})
    return dict(described, needs_key=bool(manifest.get("encryption_key")), agents=policy.sample(manifest["agents"], agents, seed),
                baseline=manifest.get("figures"), volumes=volumes, database_bytes=manifest["database"].get("size_bytes"))  # fmt: skip
