# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether each of Letta's servers really uses Redis.

A server that cannot reach Redis when it first needs it goes on without, until it is started again, and says so only in its log.
Letta 0.16.8 needs it while it starts, before it is healthy, and keeps that connection: Redis' own list of clients shows it.
"""
from __future__ import annotations

from collections import Counter

from . import redis as aligning
from .reach import source_of

LETTAS_LIBRARY = "redis-py"  # as it names itself; older servers of Redis do not list it


def uses(server, sources, since=0):
    """Tell which of Letta's servers have connections to Redis. Reads only.

    :param server: a :class:`~..redisserver.RedisServer`.
    :param sources: {Letta's server: what :func:`source_of` told there, or None}.
    :param since: id of a connection that is older than the start of the servers; 0 counts every connection.
    :returns: {"address", "clients" {address: connections}, "servers" [{"server", "proven", "detail"}]}
    :raises RecoveryError: ``preflight``.
    """
    with aligning.opened(server) as client:
        own = client.client_id()
        rows = [row for row in client.client_list() if int(row["id"]) != own and int(row["id"]) > since]
    rows = [row for row in rows if row.get("lib-name") in (None, "", LETTAS_LIBRARY)]
    places = Counter(row["addr"].rpartition(":")[0].strip("[]") for row in rows if int(row["db"]) == server.database)
    here = source_of(server.host, server.port)
    return {"address": server.address, "clients": dict(places), "servers": judge(sources, places, here, since)}


def judge(sources, places, here, since=0):
    """Say for each server whether it is proven to use Redis. Pure.

    :param sources: as for :func:`uses`. :param places: {address: connections}. :param here: :func:`source_of` where Redis is asked.
    :param since: as for :func:`uses`, for the words.
    :returns: as ``servers`` of :func:`uses`.
    """
    shared = Counter((source or {}).get("address") for source in sources.values())
    verdicts = []
    for name, source in sorted(sources.items()):
        address = (source or {}).get("address")
        seen = places.get(address, 0)
        if not address:
            proven, detail = False, "where it reaches Redis from is not known"
        elif _is_loopback(address) and (source["machine"], True) != (here["machine"], _is_loopback(here["address"])):
            proven, detail = False, "it reaches this address of Redis on its own machine, which is not the one that was asked"
        elif not seen:
            proven, detail = False, "Redis has no connection from %s" % address + (" since it was stopped" if since else "")
        elif shared[address] > 1:
            proven, detail = False, "%s from %s, which other servers use too" % (_connections(seen), address)
        else:
            proven, detail = True, "%s from %s" % (_connections(seen), address)
        verdicts.append({"server": name, "proven": proven, "detail": detail})
    return verdicts


def _connections(count):
    return "%d connection%s" % (count, "" if count == 1 else "s")


def _is_loopback(address):
    return address == "::1" or address.startswith("127.")
