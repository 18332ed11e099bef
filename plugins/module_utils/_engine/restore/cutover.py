# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phase cutover: see everybody out, exchange the databases, read back; and the way back."""
from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from ..backup import versions
from ..errors import RecoveryError
from ..letta import releases
from ..postgres import sidedb, swap
from ..postgres.connection import connect, psycopg2, sql
from ..postgres.watch import Watch
from . import outsiders
from .journal import utc_now

FENCED_DRAIN_SECONDS = 5.0


@dataclass(frozen=True)
class Guests:
    """How those are met who are in the live database at a cutover and are none of the servers that were stopped.

    :param session_timeout: seconds to wait for sessions to leave before the cutover is given up.
    :param terminate: end the sessions that do not leave, and go on although somebody keeps connecting.
    :param watch_seconds: how long to watch for clients that connect for an instant; it is downtime.
    :param servers: {inventory host of a Letta server: its address}, to name one that runs again.
    """

    session_timeout: float = 15.0
    terminate: bool = False
    watch_seconds: float = 0.0
    servers: Mapping[str, str] = field(default_factory=dict)


NOBODY = Guests()


def swap_in(server, journal, names, guests=NOBODY):
    """Make the side database the live one.

    :param server: admin :class:`Server`; :param journal: :class:`Journal` (its ``side`` names the oid that was proven).
    :param names: {"live", "side", "previous"}.
    :param guests: :class:`Guests`.
    :returns: {"fenced_seconds", "previous": {"name", "oid"} or None, "live_oid"}
    :raises RecoveryError: ``swap_rolled_back``; live is open and is what it was.
    """
    live_oid = check_names(server, journal, names)
    side_oid = (journal.data.get("side") or {}).get("oid")
    with journal.step("cutover.drain"):
        see_out(server, names, live_oid, guests)
    with fenced(server, journal, names["live"], live_oid, guests) as fence, journal.step(
        "cutover.exchange", live_oid=live_oid, side_oid=side_oid
    ) as facts:
        swap.exchange(server, names["live"], names["side"], names["previous"], generation(journal))
        fence["seconds"] = round(time.monotonic() - fence["start"], 3)
        facts.update(fenced_seconds=fence["seconds"])
    previous = {"name": names["previous"], "oid": live_oid} if live_oid is not None else None
    journal.save(previous=previous)
    return {"fenced_seconds": fence["seconds"], "previous": previous, "live_oid": side_oid}


def swap_back(server, journal, names, guests=NOBODY):
    """Make the kept database the live one again and keep the one it replaces, under ``names["undone"]``.

    :param names: {"live", "previous", "undone"}; ``previous`` None means there was none: live is only renamed away.
    :raises RecoveryError: ``manual_help_needed`` when the old database is gone, ``swap_rolled_back`` when people would not leave.
    """
    live_oid = check_way_back(server, journal, names)
    with journal.step("rollback.drain"):
        see_out(server, names, live_oid, guests)
    with fenced(server, journal, names["live"], live_oid, guests) as fence, journal.step("rollback.exchange") as facts:
        if names["previous"]:
            swap.exchange(server, names["live"], names["previous"], names["undone"], generation(journal, "taken back "))
        else:
            _rename(server, names["live"], names["undone"])
        fence["seconds"] = round(time.monotonic() - fence["start"], 3)
        facts.update(fenced_seconds=fence["seconds"])
    return {"fenced_seconds": fence["seconds"], "undone": {"name": names["undone"], "oid": live_oid}}


def _rename(server, name, new_name):
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new_name)))


def oid_of(server, name):
    """Return a database's oid, or None when it does not exist."""
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        return sidedb.database_oid(cursor, name)


def exchange_is_gone(name, now):
    """Return the error of a run whose exchange PostgreSQL does not know of any more, ``swap_rolled_back``.

    :param name: of the live database. :param now: sentence on which database it is.
    """
    return RecoveryError(
        "swap_rolled_back",
        "%s is not the database that this run made live: its exchange is gone from PostgreSQL, as after a failover to a standby that had"
        " not received it" % name,
        now=now,
        next_step="see that the new primary is the one to keep, then run the same command again",
    )


def check_names(server, journal, names):
    """Return the live database's oid (None without one).

    :raises RecoveryError: ``manual_help_needed`` when the proven side database is not there.
    """
    side_oid = (journal.data.get("side") or {}).get("oid")
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        found = sidedb.database_oid(cursor, names["side"])
        if found is None or (side_oid is not None and found != side_oid):
            raise RecoveryError(
                "manual_help_needed",
                "the proven side database %s is not there any more" % names["side"],
                now="live database untouched",
                next_step="run restore-full.yml again: it stages a new one",
            )
        return sidedb.database_oid(cursor, names["live"])


def check_way_back(server, journal, names):
    """Return the live database's oid.

    :raises RecoveryError: ``manual_help_needed`` when the old database is not there.
    """
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        live_oid = sidedb.database_oid(cursor, names["live"])
        previous_oid = sidedb.database_oid(cursor, names["previous"]) if names["previous"] else None
    wanted = (journal.data.get("previous") or {}).get("oid")
    if names["previous"] and (previous_oid is None or (wanted is not None and previous_oid != wanted)):
        raise RecoveryError(
            "manual_help_needed",
            "the old database %s is not there any more" % names["previous"],
            now="the restored database stays live as %s" % names["live"],
            next_step="restore an earlier set: ansible-playbook playbooks/catalog.yml",
        )
    return live_oid


def generation(journal, how=""):
    """Return what is written on a database when it becomes the live one: which run made it so, and when."""
    return "%s %s%s" % (journal.data["run_id"] or "by hand", how, utc_now())


def see_out(server, names, live_oid, guests):
    """Wait for sessions to leave while the database is still open: nobody is shut out for a cutover that cannot be."""
    left = [] if live_oid is None else swap.drain(server, names["live"], guests.session_timeout, terminate=guests.terminate)
    left += swap.drain(server, names["side"], guests.session_timeout) if names.get("side") else []
    if left:
        raise outsiders.stays(names["live"], left, guests.servers)


@contextmanager
def fenced(server, journal, live, live_oid, guests):
    """Keep a database closed for the time of a block; it is opened again whenever the exchange did not happen.

    Whoever is seen in it between :func:`see_out` and the fence is no server of ours, however short a time he stays.
    """
    fence = {"start": time.monotonic(), "seconds": 0.0}
    if live_oid is None:
        yield fence
        return
    with Watch(server, live) as watch:
        found = watch.look(0.0 if guests.terminate else guests.watch_seconds)
        if found["count"] and not guests.terminate:
            raise outsiders.keeps_coming(live, found, guests.servers)
        journal.begin("cutover.fence", database=live, oid=live_oid)
        fence["start"] = time.monotonic()
        try:
            swap.fence(server, live)
            left = swap.drain(server, live, FENCED_DRAIN_SECONDS, terminate=True)
            if left:
                raise outsiders.stays(live, left, guests.servers)
            found = watch.found()
            if found["count"] and not guests.terminate:
                raise outsiders.keeps_coming(live, found, guests.servers)
            yield fence
        except BaseException:
            unfence_by_oid(server, live_oid)
            journal.forget("cutover.fence")
            raise
    journal.done("cutover.fence", outsiders=outsiders.describe(found) if found["count"] else "")


def unfence_by_oid(server, oid):
    """Open the database with this oid again, whatever its name is now. Returns its name, or None when it is gone."""
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE oid = %s", (oid,))
        row = cursor.fetchone()
    if row is None:
        return None
    swap.unfence(server, row[0])
    return row[0]


def check_revision(server, journal):
    """Refuse servers that brought the live database to another revision than planned when they started.

    :raises RecoveryError: ``verify_failed``; ``details.stop_servers`` says that nothing must be started on the old database either.
    """
    database, planned = journal.data["names"]["live"], journal.data["plan"]["schema"]["to_revision"]
    with closing(connect(server.database(database))) as conn, conn.cursor() as cursor:
        found = versions.revisions(cursor, journal.data["facts"]["schema"]) or []
    if found != [planned]:
        raise RecoveryError(
            "verify_failed",
            "Letta's servers are of another release than planned: after their start the schema of %s is at %s instead of %s"
            % (database, ", ".join(releases.describe(item) for item in found) or "no revision", releases.describe(planned)),
            next_step="install the release of the plan (package by version, image by digest) on every server, then run the restore again",
            details={"stop_servers": True, "revisions": found, "planned": planned},
        )


def read_back(server, database, manifest, expected_oid, schema, revision):
    """Look at the live database by its public name, right after the exchange; constant time.

    :param revision: the one planned: the manifest's own, or what the migrations led to.
    :returns: {"agents", "revision"}; :raises RecoveryError: ``verify_failed`` when it is not the one that was proven.
    """
    try:
        with closing(connect(server.database(database))) as conn, conn.cursor() as cursor:
            cursor.execute("SELECT oid::bigint FROM pg_database WHERE datname = current_database()")
            oid = cursor.fetchone()[0]
            revisions = versions.revisions(cursor, schema) or []
            cursor.execute(sql.SQL("SELECT count(*) FROM {}.agents").format(sql.Identifier(schema)))
            agents = cursor.fetchone()[0]
    except psycopg2.Error as exc:
        raise RecoveryError("verify_failed", "the restored %s cannot be read: %s" % (database, sidedb.first_line(exc))) from None
    saved = (manifest["tables"].get("%s.agents" % schema) or {}).get("rows")
    if oid != expected_oid or revisions != [revision] or agents != saved:
        raise RecoveryError(
            "verify_failed",
            "%s is not the database that was proven (oid %s, revision %s, %s agents)" % (database, oid, ", ".join(revisions), agents),
        )
    return {"agents": agents, "revision": ", ".join(revisions)}
