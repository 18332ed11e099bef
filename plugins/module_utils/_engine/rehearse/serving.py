# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Letta process of a rehearsal is given: the way to its own system, and nothing of ours that it could call somebody with."""
from __future__ import annotations

from . import stand

FAKE_KEY = "fake-key-of-a-rehearsal"


def environment(ports, letta):
    """Return the settings that lead Letta to its throw-away system.

    :param ports: as in :data:`.stand.PORTS`. :param letta: :class:`~.stand.Letta`.
    """
    model = "http://%s:%d/v1" % (stand.LOOPBACK, ports["model"])
    found = {
        "LETTA_PG_URI": "postgresql://%s:%s@%s:%d/%s" % (stand.ROLE, letta.password, stand.LOOPBACK, ports["postgres"], stand.DATABASE),
        "OPENAI_API_KEY": FAKE_KEY, "OPENAI_BASE_URL": model, "OPENAI_API_BASE": model,
    }  # fmt: skip
    if letta.token:
        found.update(LETTA_SERVER_SECURE="true", LETTA_SERVER_PASSWORD=letta.token)
    if letta.redis:
        found.update(LETTA_REDIS_HOST=stand.LOOPBACK, LETTA_REDIS_PORT=str(ports["redis"]))
    if letta.key:
        found["LETTA_ENCRYPTION_KEY"] = letta.key
    return {**found, **plain(letta.more)}


def plain(settings):
    """Return settings as the texts of an environment."""
    return {name: str(value) for name, value in settings.items()}


def without_secrets(text, env, letta):
    """Return what Letta said without what it was given in confidence."""
    for secret in (env["LETTA_PG_URI"], letta.password, letta.token, letta.key):
        text = text.replace(secret, "***") if secret else text
    return text
