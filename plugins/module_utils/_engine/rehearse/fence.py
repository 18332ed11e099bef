# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Closes the network of a rehearsal's containers from inside: they answer the host, and begin nothing.

An internal network of Docker's still leads to the host itself, where production may listen; and an engine that writes no rules of the
firewall gives it a way out on top. So routing rules are set in the containers' own network namespace: what comes from the port of one of
its services may go to the network, everything else is unreachable. Loopback, over which the containers talk to each other, is not asked.

A program of its own, run in a container that may administer that namespace, which the others may not:
``python fence.py 172.18.0.0/16 5432,6379,8283 8399 172.18.0.1:9,…``; it imports nothing but the standard library, and prints JSON.
"""
from __future__ import annotations

import errno
import json
import os
import socket
import struct
import sys
import time

# <linux/rtnetlink.h>, <linux/fib_rules.h>
_NEW_RULE = 32
_ASKED = 0x1 | 0x4 | 0x200 | 0x400  # NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE
_TO_TABLE, _UNREACHABLE, _MAIN = 1, 7, 254
_DESTINATION, _PRIORITY, _PROTOCOL, _SOURCE_PORTS = 1, 6, 22, 23
# After the table of loopback and own addresses (0), before all others.
_FIRST, _LAST = 10, 20
LISTEN_SECONDS = 30


def message(family, action, priority, subnet="", port=0):
    """Return the netlink message that adds a rule.

    :param subnet: only for what goes there (``172.18.0.0/16``). :param port: only for TCP from this port. Without either: for all.
    """
    address, _slash, length = subnet.partition("/")
    table = _MAIN if action == _TO_TABLE else 0
    body = struct.pack("BBBBBBBBI", family, int(length or 0), 0, 0, table, 0, 0, action, 0)
    body += _attribute(_PRIORITY, struct.pack("I", priority))
    if subnet:
        body += _attribute(_DESTINATION, socket.inet_aton(address))
    if port:
        body += _attribute(_PROTOCOL, struct.pack("B", socket.IPPROTO_TCP)) + _attribute(_SOURCE_PORTS, struct.pack("HH", port, port))
    return struct.pack("IHHII", 16 + len(body), _NEW_RULE, _ASKED, 1, 0) + body


def _attribute(kind, data):
    return struct.pack("HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def close(subnet, ports):
    """Set the rules. :raises OSError: when the kernel refuses one."""
    messages = [message(socket.AF_INET, _TO_TABLE, _FIRST, subnet, port) for port in ports]
    messages.append(message(socket.AF_INET, _UNREACHABLE, _LAST))
    if os.path.exists("/proc/net/if_inet6"):
        messages.append(message(socket.AF_INET6, _UNREACHABLE, _LAST))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        for one in messages:
            kernel.send(one)
            code = -struct.unpack_from("i", kernel.recv(65536), 16)[0]
            if code and code != errno.EEXIST:
                raise OSError(code, os.strerror(code))


def reached(addresses):
    """Return those of ``host:port`` that are not unreachable from here, with what connecting to them said."""
    found = []
    for address in addresses:
        host, _colon, port = address.rpartition(":")
        with socket.socket() as way:
            way.settimeout(2)
            code = way.connect_ex((host, int(port)))
        if code not in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            found.append("%s (%s)" % (address, os.strerror(code) if code else "connected"))
    return found


def listens(port, seconds=LISTEN_SECONDS):
    """Wait until something accepts connections at this port of loopback; tells whether."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket() as way:
            if way.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)
    return False


def main(subnet, ports, model, addresses):
    """Close it where a subnet is named, try it, wait for the model service, and print what was found."""
    told = {"problem": "", "reached": [], "model": False}
    try:
        if subnet:
            close(subnet, [int(port) for port in ports.split(",")])
            told["reached"] = reached(addresses.split(","))
        told["model"] = listens(int(model))
    except OSError as exc:
        told["problem"] = exc.strerror or str(exc)
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
