# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who follows a PostgreSQL server, and what in one database is tied to other servers."""
from __future__ import annotations

from contextlib import closing

from .connection import connect, psycopg2

_SLOTS = "SELECT slot_name, slot_type, coalesce(database, ''), active FROM pg_replication_slots ORDER BY 1"


def of_server(cursor):
    """Return {"standbys": [{name, address, sync}], "slots": [{name, type, database, active}], "primary": "host:port" or ""}.

    Logical subscribers are told by their slots. ``primary`` is what a standby follows, as far as this role may know.
    """
    cursor.execute("SELECT slot_name, active_pid FROM pg_replication_slots WHERE slot_type = 'logical' AND active_pid IS NOT NULL")
    logical = [pid for _name, pid in cursor.fetchall()]
    cursor.execute(
        "SELECT coalesce(application_name, ''), coalesce(host(client_addr), 'an address that pg_read_all_stats would show'),"
        " coalesce(sync_state, 'hidden') FROM pg_stat_replication WHERE pid <> ALL(%s) ORDER BY 1, 2",
        (logical,),
    )
    standbys = [dict(zip(("name", "address", "sync"), row)) for row in cursor.fetchall()]
    cursor.execute(_SLOTS)
    slots = [dict(zip(("name", "type", "database", "active"), row)) for row in cursor.fetchall()]
    cursor.execute("SELECT coalesce(sender_host, '') || ':' || coalesce(sender_port::text, '') FROM pg_stat_wal_receiver")
    row = cursor.fetchone()
    return {"standbys": standbys, "slots": slots, "primary": row[0] if row and row[0] not in (None, ":") else ""}


def of_database(server):
    """Return {"publications": [names], "subscriptions": [{name, enabled}]} of the server's default database.

    :returns: empty lists where this role may not read them.
    """
    found = {"publications": [], "subscriptions": []}
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT pubname FROM pg_publication ORDER BY 1")
        found["publications"] = [name for (name,) in cursor.fetchall()]
        try:
            cursor.execute(
                "SELECT subname, subenabled FROM pg_subscription"
                " WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1"
            )
            found["subscriptions"] = [{"name": name, "enabled": enabled} for name, enabled in cursor.fetchall()]
        except psycopg2.errors.InsufficientPrivilege:
            pass  # its columns are not all for everybody
    return found
