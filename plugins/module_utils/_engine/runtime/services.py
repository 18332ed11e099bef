# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping and starting the Letta server on a host, and believing neither before it is proven.

Stopped means: its service manager has no process of it left, and nothing answers at its address any more.
Started means: its manager says it is up, and its health check and a real read of an agent answer 200.
"""
from __future__ import annotations

import time
from dataclasses import dataclass

from ..errors import LIVE_UNTOUCHED, RecoveryError
from .api import Api
from .drivers.base import NotStarted, said
from .drivers.command import CommandDriver
from .drivers.docker import DockerDriver
from .drivers.systemd import SystemdDriver

MANAGERS = ("none", "command", "systemd", "docker")
RUNNING, STOPPED, UNKNOWN = "running", "stopped", "unknown"
STATES = ("started", "stopped", "status")
POLL_SECONDS = 0.2
DOWN_FOR_GOOD_SECONDS = 5
BROUGHT_BACK_TOO_OFTEN = 5


@dataclass(frozen=True)
class ServiceOptions:
    """How one Letta server is stopped, started and looked at.

    :param manager: one of :data:`MANAGERS`; ``none`` never changes anything.
    :param start, stop, status: commands, each a list or a string; needed for ``command``. ``status``
        exits 0 while the service runs, with 1 to 125 when it does not.
    :param unit: for ``systemd``.
    :param container: for ``docker``: name of the one container; or
    :param project, services: a compose project, and those of its services that are Letta's.
    :param docker_host: address of Docker's engine, or empty for what the environment says.
    :param api_url: its own address (not a load balancer's), or empty.
    :param api_token: bearer token, or empty.
    :param start_timeout, stop_timeout: seconds until it must be healthy, or gone.
    :param health_required: ``started`` fails when the server is not healthy; else its health is only reported.
    :param restart_running: ``started`` stops a server first that is found running: whoever started it, it was too early.
    """

    manager: str = "none"
    start: object = None
    stop: object = None
    status: object = None
    unit: str = "letta.service"
    container: str = ""
    project: str = ""
    services: tuple = ()
    docker_host: str = ""
    api_url: str = ""
    api_token: str = ""
    start_timeout: float = 180
    stop_timeout: float = 60
    health_required: bool = True
    validate_certs: bool = True
    restart_running: bool = False


def ensure_service(options, state, check=False):
    """Bring a Letta server into a state, or tell its state.

    :param options: :class:`ServiceOptions`.
    :param state: ``started``, ``stopped`` or ``status``.
    :param check: True to change nothing and tell what would change.
    :returns: ``{"changed": bool, "was", "is": running|stopped|unknown, "seconds": float, "told_at": float, "proven_at": float,
        "started_at": float|None, "detail": str, "health": dict|None, "restarted": bool, "ran_since": float|None}``;
        ``told_at`` and ``proven_at`` are when the stop or start
        command was begun and when the state was proven, ``started_at`` when the serving process began (None when nobody knows), all in
        seconds since the epoch by this host's clock; ``detail`` is what the service manager says, for a person; ``ran_since`` is the
        ``started_at`` of a server that was stopped first because of ``restart_running``. ``docker`` adds
        ``containers`` (names, in the order they start) and ``image`` (id, when all have the same one).
    :raises RecoveryError: ``usage`` for options that do not fit; ``preflight`` when the service does not reach the state.
    """
    if state not in STATES:
        raise RecoveryError("usage", "unknown state of a service: %s" % state, next_step="one of %s" % ", ".join(STATES))
    service = _Service(options)
    try:
        return service.ensure(state, check)
    finally:
        service.close()


def _driver(options):
    """Return the driver of the options' service manager, None for ``none``."""
    if options.manager == "none":
        return None
    secrets = (options.api_token,)
    if options.manager == "command":
        return CommandDriver(options.start, options.stop, options.status, secrets)
    if options.manager == "systemd":
        return SystemdDriver(options.unit, secrets)
    if options.manager == "docker":
        return DockerDriver(options.container, options.project, options.services, options.docker_host, secrets)
    raise RecoveryError("usage", "unknown service manager: %s" % options.manager, next_step="one of %s" % ", ".join(MANAGERS))


class _Service:
    def __init__(self, options):
        self.options = options
        self.driver = _driver(options)
        self.api = Api(options.api_url, options.api_token, options.validate_certs) if options.api_url else None
        self.seen = None
        self.notes = []
        self.restarted = False
        self.ran_since = None
        self.began = time.monotonic()
        self.told_at = time.time()

    def close(self):
        if self.driver:
            self.driver.close()

    def look(self):
        self.seen = self.driver.look() if self.driver else None
        return self.seen

    def ensure(self, state, check):
        was = self.state()
        changed = False
        if self.driver and state == "stopped":
            changed = was != STOPPED
            if changed:
                self.driver.check(stopping=True)
                if not check:
                    self.stop()
        elif state == "started":
            changed = self.is_too_early(check) or self.to_be_started()
            if not check:
                return self.started(was, changed)
        return self.result(changed, was, was if check else self.state())

    def is_too_early(self, check):
        """Stop a server that runs although nobody was to start it."""
        look = self.seen
        if not self.options.restart_running or look is None or not look.alive:
            return False
        self.restarted, self.ran_since = True, look.started_at
        self.driver.check(stopping=True)
        if not check:
            self.stop()
        return True

    def to_be_started(self):
        look = self.seen
        if look is None or look.up:
            return False
        if not look.alive and self.api and self.api.answers():
            raise self.foreign_answer(look)
        self.driver.check(stopping=False)
        return True

    def started(self, was, changed):
        if changed:
            self.start()
        health = self.await_serving()
        proven_at = time.time()
        return self.result(changed, was, self.state(), health, proven_at)

    def result(self, changed, was, now, health=None, proven_at=None):
        proven_at = proven_at or time.time()
        if self.api and health is None:
            health = self.api.health()
        started_at = self.seen.started_at if self.seen else None
        return {
            "changed": changed,
            "was": was,
            "is": now,
            "seconds": round(time.monotonic() - self.began, 2),
            "told_at": round(self.told_at, 3),
            "proven_at": round(proven_at, 3),
            "started_at": None if started_at is None else round(started_at, 3),
            "detail": "; ".join(([self.seen.says] if self.seen else []) + self.notes),
            "health": health.as_dict() if health else None,
            "restarted": self.restarted,
            "ran_since": None if self.ran_since is None else round(self.ran_since, 3),
            **(self.driver.facts() if self.driver else {}),
        }

    def state(self):
        """Running as soon as the service manager or the address says so."""
        look = self.look()
        if look and look.alive:
            return RUNNING
        if self.api:
            return RUNNING if self.api.answers() else STOPPED
        return STOPPED if look else UNKNOWN

    def stop(self):
        deadline = time.monotonic() + self.options.stop_timeout
        self.told_at = time.time()
        told = self.driver.stop(self.options.stop_timeout)
        self.notes += [told.note] if told.note else []
        while True:
            look = self.look()
            answers = self.api is not None and self.api.answers()
            if not look.alive and not answers:
                return
            if time.monotonic() >= deadline:
                raise self.will_not_stop(told, look)
            time.sleep(POLL_SECONDS)

    def will_not_stop(self, told, look):
        reason = look.still if look.alive else "%s, yet something still answers at %s" % (look.says, self.options.api_url)
        return RecoveryError(
            "preflight",
            "the service will not stop: %s, %s s after %s%s" % (reason, _number(self.options.stop_timeout), told.how, said(told.output)),
            now="the service was told to stop and may be shutting down; its data was not changed by this step",
            next_step="stop it by hand, look for a second instance, or raise letta_service_stop_timeout",
            details={"exit_code": told.code, "status_says_running": look.alive},
        )

    def start(self):
        self.told_at = time.time()
        try:
            self.driver.start(self.options.start_timeout)
        except NotStarted as exc:
            raise self.will_not_start(exc.reason, exc.output or self.driver.tail(self.told_at), next_step=exc.next_step) from None

    def foreign_answer(self, look):
        return RecoveryError(
            "preflight",
            "%s, yet something answers at %s" % (look.says, self.options.api_url),
            next_step="look for a second instance at that address, or correct letta_service_* or letta_api_url",
        )

    def await_serving(self):
        deadline = self.began + self.options.start_timeout
        watch = _Watch(self.driver)
        gone = ""
        while True:
            left = deadline - time.monotonic()
            health = self.api.health(timeout=max(1, min(self.api.timeout, left))) if self.api else None
            look = self.look()
            serves = (health is None or health.ok) and (look is None or look.ready)
            gone = "" if serves or look is None or left <= 0 else watch.gone(look)
            if serves or left <= 0 or gone:
                break
            time.sleep(POLL_SECONDS)
        if serves or (health and not self.options.health_required):
            return health
        raise self.not_serving(gone, health, look)

    def not_serving(self, gone, health, look):
        what = gone or "not %s within %s s" % ("healthy" if health else "up", _number(self.options.start_timeout))
        why = [health.detail] if health and not health.ok else []
        why += [] if look is None or look.ready else [look.waiting or look.still]
        output = self.driver.tail(self.told_at) if self.driver else ""
        return self.will_not_start("%s: %s" % (what, "; ".join(why)), output, details=health.as_dict() if health else None)

    def will_not_start(self, reason, output, next_step="", details=None):
        return RecoveryError(
            "preflight",
            "the service is not up: %s%s" % (reason, said(output)),
            now="the service was told to start and is not serving" if self.driver else LIVE_UNTOUCHED,
            next_step=next_step or "read the service's own log; raise letta_service_start_timeout if it is just slow",
            details=details,
        )


class _Watch:
    """Notices a service that came up and went down again; where nothing is known of a supervisor, that gets a moment to bring it back."""

    def __init__(self, driver):
        self.supervised = driver is not None and driver.supervised
        self.seen = False
        self.down_since = None
        self.restarts = None

    def gone(self, look):
        """Return why there is no use in waiting any longer, or an empty text."""
        if self.restarts is None:
            self.restarts = look.restarts
        if look.restarts - self.restarts >= BROUGHT_BACK_TOO_OFTEN:
            return "it was brought back %d times and went down each time" % (look.restarts - self.restarts)
        if self.supervised:
            return "" if look.alive else "it started and went down again"
        if look.up:
            self.seen, self.down_since = True, None
        elif self.seen and self.down_since is None:
            self.down_since = time.monotonic()
        if self.down_since is None or time.monotonic() - self.down_since <= DOWN_FOR_GOOD_SECONDS:
            return ""
        return "it started and went down again"


def _number(seconds):
    return "%g" % seconds
