# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a container that exists is not as it is wanted: pure, of what the engine tells of it."""
from __future__ import annotations

ANYWHERE = "0.0.0.0"  # noqa: S104 (what the engine calls all addresses of a host; nothing is bound to it unless told)


def differences(found, options, image):
    """Return what of an existing container (inspected) is not as ``options`` of :class:`_Maker` has it, in words."""
    if image is None:
        return ["its image is %s, and the wanted one is not even here" % found["Image"][:19]]
    host, config = found["HostConfig"], found["Config"]
    environment = dict(entry.split("=", 1) for entry in config.get("Env") or [] if "=" in entry)
    bound = {
        port: [(one.get("HostIp") or ANYWHERE, int(one["HostPort"])) for one in places or []]
        for port, places in (host.get("PortBindings") or {}).items()
    }
    mounted = ["%s:%s" % (mount.get("Name") or mount.get("Source"), mount["Destination"]) for mount in found.get("Mounts") or []]
    network = {"bridge": "default"}.get(host.get("NetworkMode"), host.get("NetworkMode"))
    pairs = [
        ("image", found["Image"], options["Image"]),
        ("command", config.get("Cmd"), options["Cmd"]),
        ("network", network, options["Network"]),
        ("published ports", bound, {port: [place] for port, place in options["Ports"].items()}),
        ("restart policy", (host.get("RestartPolicy") or {}).get("Name"), options["Restart"]),
    ]
    pairs += [(name, environment.get(name), options["Env"][name]) for name in ("POSTGRES_USER", "POSTGRES_DB")]
    told = ["%s is %s, wanted %s" % pair for pair in pairs if pair[1] != pair[2]]
    if options["Bind"] not in mounted:
        told.append("data is at %s, wanted %s" % (", ".join(mounted) or "no volume", options["Bind"]))
    return told
