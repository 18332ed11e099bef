# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said when no set is chosen: the table of reasons, the set to take instead, what it costs, the line to type."""
from __future__ import annotations

from ..errors import RecoveryError
from . import manifest as manifests

ACCEPT = "ansible-playbook playbooks/restore-full.yml -e letta_backup_id=%s"
MAKE_ONE = "take a backup (backup.yml) or adopt a dump (adopt.yml) first"


def offer(info, loss=None, origin=""):
    """Return the next step that names one set (None: there is none), what is known of it, where it comes from and what it costs."""
    if info is None:
        return MAKE_ONE
    facts = ["taken %s" % manifests.stamp(info.taken_at), "verified %s" % info.verified_at if info.verified_at else "not verified yet"]
    if origin:
        facts.append(origin)
    if loss:
        facts.append("loses %s" % loss["text"])
    return "%s     (%s)" % (ACCEPT % info.id, ", ".join(facts))


def unknown_id(wanted, places, infos, troubles):
    """Return the error for an id that no store has."""
    good = [info for info in infos if info.good and info.kind != "safety"]
    silent = "".join("; %s does not answer: %s" % pair for pair in sorted(troubles.items()))
    return RecoveryError(
        "preflight" if troubles else "no_usable_backup",
        "there is no backup set %s in %s%s" % (wanted, _named(places, troubles), silent),
        next_step=offer(good[0] if good else None),
        details={"wanted": wanted, "known": [info.id for info in infos][:20], "rejected": [], "troubles": troubles},
    )


def no_store_answers(troubles, rest=""):
    """Return the error for stores that could not be looked into; ``rest`` tells about those that could."""
    return RecoveryError(
        "preflight",
        "%d store(s) cannot be read: %s%s" % (len(troubles), "; ".join("%s: %s" % pair for pair in troubles.items()), rest),
        next_step="bring one of them back, or name another in letta_stores; nothing is known against the sets in them",
        details={"rejected": [], "troubles": troubles},
    )


def refusal(request, places, rejected, troubles, sound, instead):
    """Return the error for a search that ended without a set.

    :param rejected: [{id, reason}]. :param troubles: {store: why it was left out}.
    :param sound: nothing but silence of stores stands against the sets.
    :param instead: (SetInfo to take instead or None, what that costs (see :mod:`backup.loss`), the line of :func:`offer`).
    """
    offered, loss, step = instead
    details = {"rejected": rejected, "troubles": troubles}
    if not rejected and troubles:
        return no_store_answers(troubles, "; %s holds no backup set" % _named(places, troubles))
    if not rejected:
        return RecoveryError("no_usable_backup", "%s holds no backup set" % _named(places, troubles), next_step=MAKE_ONE, details=details)
    only = rejected[0]
    if len(rejected) == 1 and (request.wanted != "latest" or request.fallback == "never") and "letta_backup_max_age" not in only["reason"]:
        why = "" if request.wanted != "latest" else " (it is the newest, and letta_backup_fallback is never)"
        word = "read" if sound else "used"
        return RecoveryError(
            "preflight" if sound else "backup_corrupt",
            "%s cannot be %s%s: %s" % (only["id"], word, why, only["reason"]),
            next_step=step,
            details=dict(details, id=only["id"], reason=only["reason"]),
        )
    if offered is None:
        step = "catalog.yml --tags verify shows every set; " + MAKE_ONE
    table = ["%(id)s: %(reason)s" % entry for entry in rejected] + ["store %s: %s" % pair for pair in sorted(troubles.items())]
    return RecoveryError(
        "preflight" if sound and not any("letta_backup_max_age" in entry["reason"] for entry in rejected) else "no_usable_backup",
        "no set of %d in %s can be used: %s" % (len(rejected), _named(places, {}), "; ".join(table)),
        next_step=step,
        details=dict(details, offered=offered.id if offered else None, loss=loss),
    )


def _named(places, troubles):
    return ", ".join(place.name for place in places if place.name not in troubles)
