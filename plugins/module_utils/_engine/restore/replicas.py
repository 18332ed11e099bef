# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows the live database elsewhere, in plain words for plan and report. Pure.

``replication`` is what :mod:`..postgres.replication` found: of the server, and of the live database where there is one.
"""
from __future__ import annotations

import re

from ..errors import RecoveryError
from ..findings import WARN, Finding

KEPT = re.compile(r"__(before|undone|restore)_r-[0-9a-f]{8}$")


def refuse_standby(target):
    """Refuse a server that only follows another one.

    :param target: of :func:`.target.inspect_target`. :raises RecoveryError: ``preflight``, naming the primary where it is known.
    """
    if not target["standby"]:
        return
    primary = (target.get("replication") or {}).get("primary")
    raise RecoveryError(
        "preflight",
        "the server is a read replica (in recovery)%s" % (" of %s" % primary if primary else ""),
        next_step="point letta_db_host at the primary%s" % (", %s" % primary if primary else ""),
    )


def findings(replication, database):
    """Return the findings on standbys, slots, publications and subscriptions; none when nothing follows.

    :param database: name of the live database.
    """
    replication = replication or {}
    found = [
        _standbys(replication.get("standbys") or []),
        _slots([item for item in replication.get("slots") or [] if item["type"] == "logical" and item["database"] == database], database),
        _of_kept([item for item in replication.get("slots") or [] if KEPT.search(item["database"])]),
        _idle([item for item in replication.get("slots") or [] if item["type"] == "physical" and not item["active"]]),
        _publications(replication.get("publications") or [], database),
        _subscriptions(replication.get("subscriptions") or [], database),
    ]
    return [item for item in found if item]


def warnings(replication, database):
    """Return the same as sentences for the plan."""
    return [item.detail for item in findings(replication, database)]


def checks(plan):
    """Return the findings of a plan for the report, as plain data."""
    plan = plan or {}
    return [item.as_dict() for item in findings(plan.get("replication"), plan.get("database"))]


def _standbys(standbys):
    if not standbys:
        return None
    told = ", ".join("%s at %s (%s)" % (item["name"] or "no name", item["address"], item["sync"]) for item in standbys)
    return Finding(
        "replication.standbys", WARN,
        "%d standby server(s) follow this one: %s; they replay load and exchange by themselves, but whoever is connected to one stays in"
        " the old database until he connects again: end such sessions there after the cutover" % (len(standbys), told),
        len(standbys), [item["name"] for item in standbys],
    )  # fmt: skip


def _slots(slots, database):
    if not slots:
        return None
    told = ", ".join("%s (%s)" % (item["name"], "in use" if item["active"] else "not in use") for item in slots)
    return Finding(
        "replication.slots", WARN,
        "logical replication slot(s) belong to %s: %s; they go with the old database, who follows them learns nothing of the new one;"
        " one in use is a session and stops the cutover; the old database keeps all WAL for them until it is dropped, and they with it"
        % (database, told),
        len(slots), [item["name"] for item in slots],
    )  # fmt: skip


def _of_kept(slots):
    if not slots:
        return None
    told = ", ".join("%s (%s)" % (item["name"], item["database"]) for item in slots)
    return Finding(
        "replication.kept", WARN,
        "logical replication slot(s) of old databases keep all WAL until the disk is full: %s; pg_drop_replication_slot ends it" % told,
        len(slots), [item["name"] for item in slots],
    )  # fmt: skip


def _idle(slots):
    if not slots:
        return None
    told = ", ".join(item["name"] for item in slots)
    return Finding(
        "replication.idle", WARN,
        "replication slot(s) that nobody reads keep all WAL, that of the load too, until the disk is full: %s" % told,
        len(slots), [item["name"] for item in slots],
    )  # fmt: skip


def _publications(publications, database):
    if not publications:
        return None
    return Finding(
        "replication.publications", WARN,
        "%s publishes %s; the restored database will not: create them anew there, and the slots of their subscribers"
        % (database, ", ".join(publications)),
        len(publications), publications,
    )  # fmt: skip


def _subscriptions(subscriptions, database):
    if not subscriptions:
        return None
    told = ", ".join("%s (%s)" % (item["name"], "enabled" if item["enabled"] else "disabled") for item in subscriptions)
    return Finding(
        "replication.subscriptions", WARN,
        "%s subscribes to other servers: %s; the worker of an enabled one is a session, stops the cutover (ALTER SUBSCRIPTION … DISABLE),"
        " and the restored database has none" % (database, told),
        len(subscriptions), [item["name"] for item in subscriptions],
    )  # fmt: skip
