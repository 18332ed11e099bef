# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Letta will run after the restore, pinned: a server that starts brings the schema to its own release, and nothing takes it back."""
from __future__ import annotations

import re

from ..errors import RecoveryError
from ..letta import releases

_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")


def settle(version, image, running):
    """Decide which release the plan is for.

    :param version: ``letta_version``, or empty. :param image: ``letta_image``, or empty.
    :param running: {server: the release it says it runs, or empty when it did not answer}.
    :returns: ({"version" (or None), "image" (or None), "running"}, warnings)
    :raises RecoveryError: ``usage`` for an image that names nothing certain or a release nobody knows, ``preflight`` when servers of
        different schemas run and nobody said which one is meant.
    """
    if image and not _DIGEST.fullmatch(image):
        raise RecoveryError(
            "usage",
            "letta_image %s names no certain image: a tag may be another release tomorrow, and a server that starts migrates the database"
            % image,
            next_step="name it by digest, letta/letta@sha256:…: docker image inspect --format '{{index .RepoDigests 0}}' %s" % image,
        )
    told = {name: found for name, found in running.items() if found}
    version = version or _of_servers(told)
    if version and releases.head_of(version) is None:
        raise RecoveryError("usage", "Letta %s is not a release this collection knows" % version, next_step="check letta_version")
    pinned = {"version": version or None, "image": image or None, "running": running}
    return pinned, _doubts(version, told) if version else []


def _of_servers(told):
    heads = {releases.head_of(found) or found for found in told.values()}
    if len(heads) > 1:
        raise RecoveryError(
            "preflight",
            "servers of different schemas run on this database: %s" % _list(told),
            next_step="-e letta_version=<the release that will run on all of them after the restore>",
        )
    return max(told.values(), key=_order) if told else ""


def _order(version):
    return [int(part) for part in re.findall(r"\d+", version)]


def _doubts(version, told):
    others = {name: found for name, found in told.items() if releases.head_of(found) != releases.head_of(version)}
    if not others:
        return []
    text = "now %s, the plan is for %s: start them with that release, any other brings the schema to its own and is refused after the start"
    return [text % (_list(others), version)]


def _list(told):
    return ", ".join("%s runs Letta %s" % item for item in sorted(told.items()))
