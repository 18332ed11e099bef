# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Letta of the pinned release, started on what was restored."""
from __future__ import annotations

import glob
import os
import time

from ..errors import RecoveryError
from ..runtime.api import Api
from . import stand

# What Letta must never learn in a rehearsal: everything of ours that it could call somebody with.
FAKE_KEY = "fake-key-of-a-rehearsal"


def environment(path, ports, password, redis=True, key="", more=None):
    """Return the whole environment of the Letta process: nothing of ours gets in.

    :param path: folder of the system. :param ports: as in :data:`.stand.PORTS`. :param password: of the role ``letta``.
    :param redis: whether there is one. :param key: LETTA_ENCRYPTION_KEY. :param more: settings of the operator's, which win.
    """
    model = model_url(ports)
    found = {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.path.join(path, "home"), "LANG": "C.UTF-8", "TOOL_EXEC_DIR": "~/tool_execution",
        "LETTA_PG_URI": "postgresql://%s:%s@%s:%d/%s" % (stand.ROLE, password, stand.LOOPBACK, ports["postgres"], stand.DATABASE),
        "OPENAI_API_KEY": FAKE_KEY, "OPENAI_BASE_URL": model, "OPENAI_API_BASE": model,
    }  # fmt: skip
    if redis:
        found.update(LETTA_REDIS_HOST=stand.LOOPBACK, LETTA_REDIS_PORT=str(ports["redis"]))
    if key:
        found["LETTA_ENCRYPTION_KEY"] = key
    return {**found, **{name: str(value) for name, value in (more or {}).items()}}


def model_url(ports):
    """Return the address of the fake model service."""
    return "http://%s:%d/v1" % (stand.LOOPBACK, ports["model"])


def offline_data(command):
    """Return the settings by which a Letta out of a virtual environment finds word lists that it would else download.

    :param command: how it is started; its first word lies in the environment's ``bin``.
    """
    above = os.path.dirname(os.path.dirname(command[0]))
    static = glob.glob(os.path.join(glob.escape(above), "lib", "python3*", "site-packages", "llama_index", "core", "_static"))
    if not static:
        return {}
    return {"TIKTOKEN_CACHE_DIR": os.path.join(static[0], "tiktoken_cache"), "NLTK_DATA": os.path.join(static[0], "nltk_cache")}


def serve(path, command, env, port, timeout=180, version=""):
    """Start Letta and wait until it is healthy and reads an agent.

    :param command: argument list; ``--host`` and ``--port`` are added. :param env: of :func:`environment`.
    :param version: the release that it must say it is; empty for any.
    :returns: dict: ``url``, ``version``, ``seconds``.
    :raises RecoveryError: ``verify_failed`` when it does not come up on this data; ``preflight`` when it is another release.
    """
    os.makedirs(env["HOME"], 0o700, exist_ok=True)
    began, url = time.monotonic(), "http://%s:%d" % (stand.LOOPBACK, port)
    try:
        process = stand.spawn(path, "letta", [*command, "--host", stand.LOOPBACK, "--port", str(port)], {**offline_data(command), **env})
    except OSError as exc:
        raise _wrong("Letta cannot be started: %s: %s" % (command[0], exc.strerror)) from None
    api, health = Api(url, timeout=20), None
    while process.poll() is None and time.monotonic() < began + timeout:
        health = api.health()
        if health.ok:
            _check_version(health.version, version)
            return {"url": url, "version": health.version, "seconds": round(time.monotonic() - began, 1)}
        time.sleep(0.25)
    ended = "it ended with status %s" % process.poll() if process.poll() is not None else "not ready after %d s" % timeout
    said = stand.tail(path, "letta").replace(env["LETTA_PG_URI"], "***")
    raise RecoveryError(
        "verify_failed",
        "Letta does not serve what was restored (%s; %s): %s" % (ended, health.detail if health else "never asked", said),
        now="the database was restored and is complete; only the rehearsal's own system was written",
        next_step="start that release on a copy by hand, see the log above",
    )  # fmt: skip


def _check_version(found, wanted):
    if wanted and found and found != wanted:
        raise _wrong("the Letta that was started says it is %s; the rehearsal is for %s" % (found, wanted))


def _wrong(text):
    return RecoveryError(
        "preflight", text, now="nothing is known against the backup",
        next_step="let letta_rehearse_server start the release that runs in production (letta_version)",
    )  # fmt: skip
