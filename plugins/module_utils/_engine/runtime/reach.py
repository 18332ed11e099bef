# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where this machine reaches another from."""
from __future__ import annotations

import os
import socket

from .. import processes


def source_of(host, port):
    """Return where this machine reaches a host from, as the routing table has it; nothing is sent.

    :returns: {"address", "machine"}; address is empty when the host has no address here.
    """
    # Containers of one machine have a loopback each.
    machine = "%s %s" % (processes.identity()["boot"], _network_namespace())
    try:
        family, kind, _protocol, _name, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(place)
            return {"address": probe.getsockname()[0], "machine": machine}
    except OSError:
        return {"address": "", "machine": machine}


def _network_namespace():
    try:
        return os.readlink("/proc/self/ns/net")
    except OSError:
        return ""
