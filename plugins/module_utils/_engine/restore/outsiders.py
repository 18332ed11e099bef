# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody is in the live database although every server is stopped: who it is, in words, and why nothing is exchanged."""
from __future__ import annotations

import socket

from ..errors import RecoveryError
from ..postgres import swap

GIVEN_UP = "the cutover was given up before anything was renamed: %s is open and is the database it was"
LOG_THEM = "; ALTER SYSTEM SET log_connections = on writes addresses to the server's log"
KEPT = "the proven side database is kept: the next run starts at the cutover"


def stays(live, left, servers=None):
    """Return the error on sessions that do not leave.

    :param left: of :func:`swap.sessions`. :param servers: {inventory host of a Letta server: its address or name}.
    """
    known = _ours(left, servers)
    return RecoveryError(
        "swap_rolled_back",
        "%d session(s) do not leave %s: %s%s" % (len(left), live, swap.describe_sessions(left), _told(known)),
        now=GIVEN_UP % live,
        next_step="%s, or -e letta_foreign_sessions=terminate; %s" % (_stop_them(known), KEPT),
        details={"sessions": left, "servers": sorted(set(known.values()))},
    )


def keeps_coming(live, found, servers=None):
    """Return the error on clients that connected while no server of ours ran.

    :param found: of :meth:`watch.Watch.found`.
    """
    known = _ours(found["seen"], servers)
    return RecoveryError(
        "swap_rolled_back",
        "somebody keeps connecting to %s while every known server is stopped: %s%s" % (live, describe(found), _told(known)),
        now=GIVEN_UP % live,
        next_step="%s, or -e letta_foreign_sessions=terminate%s; %s" % (_stop_them(known), "" if found["seen"] else LOG_THEM, KEPT),
        details={"sessions": found["seen"], "count": found["count"], "servers": sorted(set(known.values()))},
    )


def describe(found):
    """Return what a watch found: ``12 sessions within 0.5 s, letta from 10.0.0.7 (no name, active)``."""
    text = "%d session%s within %s s" % (found["count"], "" if found["count"] == 1 else "s", found["seconds"])
    by_client = {(item["user"], item["address"], item["application"]): item for item in found["seen"]}
    if not by_client:
        return text + " from an address that was too quick to see"
    return "%s, %s" % (text, swap.describe_sessions(list(by_client.values())))


def _ours(sessions, servers):
    """Return {address: inventory host} of those among the addresses that belong to servers of the inventory."""
    wanted, found = {item["address"] for item in sessions}, {}
    for name, address in sorted((servers or {}).items()):
        for own in _addresses(address or name) & wanted:
            found[own] = "%s, %s" % (found[own], name) if own in found else name
    return found


def _addresses(name):
    try:
        return {item[4][0] for item in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)} | {name}
    except (OSError, UnicodeError):  # a name that only the controller knows
        return {name}


def _told(known):
    if not known:
        return ""
    names = ", ".join("%s is %s of the inventory" % item for item in sorted(known.items()))
    return "; %s, which was stopped and runs again" % names


def _stop_them(known):
    if known:
        return "find out who starts Letta on %s (a person, a supervisor) and keep it down" % ", ".join(sorted(set(known.values())))
    return "stop these clients (every Letta server must be in group letta_servers)"
