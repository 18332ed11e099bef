# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of a rehearsal, told from everybody else's by name and label, and the images they are made of."""
from __future__ import annotations

import re
import time

from ..errors import RecoveryError
from ..runtime.drivers import compose
from ..runtime.drivers.base import said
from ..runtime.drivers.docker_engine import Engine
from . import folder

LABEL, MADE = "letta_ops.rehearsal", "letta_ops.rehearsal.made"
_BY_DIGEST = re.compile(r"([^\s@]+@)?sha256:[0-9a-f]{64}")
_BY_TAG = re.compile(r"(?!sha256:)[^\s@]+:([\w][\w.-]{0,127})")
_TAG = re.compile(r":[\w][\w.-]*$")
# The database's files may be many, and go with its container.
ENGINE_SECONDS = 300
LOG_LINES = 20
NOTHING_STARTED = "nothing was started"


def engine_of(address):
    """Return the :class:`Engine`. :raises RecoveryError: ``preflight`` when there is none or it does not answer."""
    try:
        return Engine(address, ENGINE_SECONDS)
    except RecoveryError as error:
        raise error.with_now(
            "nothing was started, and nothing is known against the backup",
            error.next_step.replace("letta_service_docker_host", "letta_rehearse_docker_host"),
        ) from None


def image_of(engine, name, variable):
    """Return an image, inspected, pulled where it is not there.

    :param variable: that named it, for the message.
    :raises RecoveryError: ``usage`` for a name that may be another image tomorrow; ``preflight`` when it cannot be had.
    """
    tagged = _BY_TAG.fullmatch(name)
    if not _BY_DIGEST.fullmatch(name) and (not tagged or tagged.group(1) == "latest"):
        raise RecoveryError(
            "usage", "%s: %r names no certain image: it may be another release tomorrow" % (variable, name), now=NOTHING_STARTED,
            next_step="name it by digest (…@sha256:…), by id, or by the tag of one release",
        )  # fmt: skip
    there = engine.image(name)
    if there is None and not name.startswith("sha256:"):
        why = _pull(engine, name)
        there = None if why else engine.image(name)
    else:
        why = "an id names only what is there already"
    if there is None:
        raise RecoveryError(
            "preflight", "Docker's engine at %s has no image %s (%s), and it cannot be pulled: %s" % (engine.address, name, variable, why),
            now=NOTHING_STARTED, next_step="docker pull %s on that host, or docker save, copy and docker load it" % name,
        )  # fmt: skip
    return there


def _pull(engine, name):
    """Pull it; returns why that was not possible, or an empty text."""
    repository, at, digest = name.partition("@")
    # A tag beside a digest is for people.
    repository, tag = (_TAG.sub("", repository), digest) if at else name.rsplit(":", 1)
    try:
        with engine.told("pull it"):
            for line in engine.api.pull(repository, tag=tag, stream=True, decode=True):
                if "error" in line:
                    return str(line["error"])
    except RecoveryError as error:
        return error.message
    return ""


def named(system, part):
    """Return the name of one of the containers of a system."""
    return "%s%s_%s" % (folder.PREFIX, system, part)


def labels(system):
    """Return the labels that everything of a system carries."""
    return {LABEL: system, MADE: "%d" % time.time()}


def owner(name, marks):
    """Return ``(system, when it was made)`` of a container or network that is a rehearsal's by label and by name; else None."""
    system = folder.name_in(marks.get(LABEL, ""))
    made = marks.get(MADE, "")
    ours = system and made.isdigit() and (name == folder.PREFIX + system or name.startswith(folder.PREFIX + system + "_"))
    return (system, int(made)) if ours else None


def found(engine):
    """Return ``({system: when it was made}, {system: [ids of containers]}, {system: [ids of networks]})`` of all rehearsals."""
    made, containers, networks = {}, {}, {}
    with engine.told("list what rehearsals left"):
        listed = [(entry["Names"][0].lstrip("/"), entry, containers) for entry in engine.api.containers(all=True, filters={"label": LABEL})
                  if entry["Names"]]  # fmt: skip
        listed += [(entry["Name"], entry, networks) for entry in engine.api.networks(filters={"label": LABEL})]
    for name, entry, kind in listed:
        whose = owner(name, entry.get("Labels") or {})
        if whose:
            made[whose[0]] = min(whose[1], made.get(whose[0], whose[1]))
            kind.setdefault(whose[0], []).append(entry["Id"])
    return made, containers, networks


def remove(engine, system):
    """Remove the containers of a system with their volumes, and its network; returns how many containers there were."""
    _made, containers, networks = found(engine)
    for container in containers.get(system, ()):
        engine.remove(container)
    for network in networks.get(system, ()):
        engine.remove_network(network)
    return len(containers.get(system, ()))


def not_started(engine, container, why, next_step="see above; what was made goes with the rehearsal"):
    """Return the error of a container that did not come up."""
    log = engine.log(container, 1, LOG_LINES).strip() if container else ""
    name = compose.name_of(container) if container else "a container"
    return RecoveryError("preflight", "%s of the rehearsal: %s%s" % (name, why, said(log)),
                         now="nothing but the rehearsal's own containers was made", next_step=next_step)  # fmt: skip
