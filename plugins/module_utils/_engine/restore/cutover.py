# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phase cutover: see everybody out, exchange the databases, read back; and the way back."""
from __future__ import annotations

import time
from contextlib import closing, contextmanager

from ..backup import versions
from ..errors import RecoveryError
from ..letta import releases
from ..postgres import sidedb, swap
from ..postgres.connection import connect, psycopg2, sql

FENCED_DRAIN_SECONDS = 5.0


def swap_in(server, journal, names, session_timeout=15.0, terminate=False):
    """Make the side database the live one.

    :param server: admin :class:`Server`; :param journal: :class:`Journal` (its ``side`` names the oid that was proven).
    :param names: {"live", "side", "previous"}.
    :param session_timeout: seconds to wait for sessions to leave before the cutover is given up.
    :param terminate: end the sessions that do not leave.
    :returns: {"fenced_seconds", "previous": {"name", "oid"} or None, "live_oid"}
    :raises RecoveryError: ``swap_rolled_back``; live is open and is what it was.
    """
    live_oid = check_names(server, journal, names)
    side_oid = (journal.data.get("side") or {}).get("oid")
    with journal.step("cutover.drain"):
        see_out(server, names, live_oid, session_timeout, terminate)
    with _fenced(server, journal, names, live_oid) as fence, journal.step(
        "cutover.exchange", live_oid=live_oid, side_oid=side_oid
    ) as facts:
        swap.exchange(server, names["live"], names["side"], names["previous"])
        fence["seconds"] = round(time.monotonic() - fence["start"], 3)
        facts.update(fenced_seconds=fence["seconds"])
    previous = {"name": names["previous"], "oid": live_oid} if live_oid is not None else None
    journal.save(previous=previous)
    return {"fenced_seconds": fence["seconds"], "previous": previous, "live_oid": side_oid}


def swap_back(server, journal, names, session_timeout=15.0, terminate=False):
    """Make the kept database the live one again and keep the one it replaces, under ``names["undone"]``.

    :param names: {"live", "previous", "undone"}; ``previous`` None means there was none: live is only renamed away.
    :raises RecoveryError: ``manual_help_needed`` when the old database is gone, ``swap_rolled_back`` when people would not leave.
    """
    live_oid = check_way_back(server, journal, names)
    with journal.step("rollback.drain"):
        see_out(server, names, live_oid, session_timeout, terminate)
    with _fenced(server, journal, names, live_oid) as fence, journal.step("rollback.exchange") as facts:
        if names["previous"]:
            swap.exchange(server, names["live"], names["previous"], names["undone"])
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


def see_out(server, names, live_oid, session_timeout, terminate):
    """Wait for sessions to leave while the database is still open: nobody is shut out for a cutover that cannot be."""
    left = [] if live_oid is None else swap.drain(server, names["live"], session_timeout, terminate=terminate)
    left += swap.drain(server, names["side"], session_timeout) if names.get("side") else []
    if left:
        raise somebody_stays(names["live"], left)


def somebody_stays(live, left):
    """Return the error that names who is still connected."""
    return RecoveryError(
        "swap_rolled_back",
        "%d session(s) do not leave %s: %s" % (len(left), live, swap.describe_sessions(left)),
        now="the cutover was given up before anything was renamed: %s is open and is the database it was" % live,
        next_step="stop these clients (every Letta server must be in group letta_servers), or -e letta_foreign_sessions=terminate;"
        " the proven side database is kept: the next run starts at the cutover",
        details={"sessions": left},
    )


@contextmanager
def _fenced(server, journal, names, live_oid):
    """Keep a database closed for the time of a block; it is opened again whenever the exchange did not happen."""
    fence = {"start": time.monotonic(), "seconds": 0.0}
    live = names["live"]
    if live_oid is None:
        yield fence
        return
    journal.begin("cutover.fence", database=live, oid=live_oid)
    fence["start"] = time.monotonic()
    try:
        swap.fence(server, live)
        left = swap.drain(server, live, FENCED_DRAIN_SECONDS, terminate=True)
        if left:
            raise somebody_stays(live, left)
        yield fence
    except BaseException:
        unfence_by_oid(server, live_oid)
        journal.forget("cutover.fence")
        raise
    journal.done("cutover.fence")


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
