# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping and starting the Letta server on a host, and believing neither before it is proven.

Stopped means: the status command says so, and nothing answers at its address any more.
Started means: its health check and a real read of an agent answer 200.
"""
from __future__ import annotations

import time
from dataclasses import dataclass

from ..errors import LIVE_UNTOUCHED, RecoveryError
from .api import Api
from .commands import FIRST_FOREIGN_EXIT, Command, parse_command

MANAGERS = ("none", "command")
# Named by the public contract; this version has no driver for them.
MANAGERS_WITHOUT_DRIVER = ("systemd", "docker")
RUNNING, STOPPED, UNKNOWN = "running", "stopped", "unknown"
STATES = ("started", "stopped", "status")
STATUS_TIMEOUT = 30
POLL_SECONDS = 0.2
DOWN_FOR_GOOD_SECONDS = 5


@dataclass(frozen=True)
class ServiceOptions:
    """How one Letta server is stopped, started and looked at.

    :param manager: ``none`` (never changes anything) or ``command``.
    :param start, stop, status: commands, each a list or a string; needed for ``command``. ``status``
        exits 0 while the service runs, with 1 to 125 when it does not.
    :param api_url: its own address (not a load balancer's), or empty.
    :param api_token: bearer token, or empty.
    :param start_timeout, stop_timeout: seconds until it must be healthy, or gone.
    :param health_required: ``started`` fails when the server is not healthy; else its health is only reported.
    """

    manager: str = "none"
    start: object = None
    stop: object = None
    status: object = None
    api_url: str = ""
    api_token: str = ""
    start_timeout: float = 180
    stop_timeout: float = 60
    health_required: bool = True
    validate_certs: bool = True


def ensure_service(options, state, check=False):
    """Bring a Letta server into a state, or tell its state.

    :param options: :class:`ServiceOptions`.
    :param state: ``started``, ``stopped`` or ``status``.
    :param check: True to change nothing and tell what would change.
    :returns: ``{"changed": bool, "was", "is": running|stopped|unknown, "seconds": float, "told_at": float, "proven_at": float,
        "health": dict|None}``; the two moments are seconds since the epoch by this host's clock: when the stop or start command
        was begun, and when the state was proven.
    :raises RecoveryError: ``usage`` for options that do not fit; ``preflight`` when the service does not reach the state.
    """
    if state not in STATES:
        raise RecoveryError("usage", "unknown state of a service: %s" % state, next_step="one of %s" % ", ".join(STATES))
    service = _Service(options)
    try:
        return service.ensure(state, check)
    finally:
        service.close()


class _Service:
    def __init__(self, options):
        self.options = options
        self.managed = _checked_manager(options.manager) == "command"
        self.api = Api(options.api_url, options.api_token, options.validate_certs) if options.api_url else None
        self.commands = {}
        for name in ("start", "stop", "status") if self.managed else ():
            argv = parse_command(getattr(options, name), "letta_service_%s" % name)
            self.commands[name] = Command(argv, (options.api_token,))
        self.began = time.monotonic()
        self.told_at = time.time()

    def close(self):
        for command in self.commands.values():
            command.close()

    def ensure(self, state, check):
        was = self.state()
        if state == "stopped" and self.managed:
            changed = was != STOPPED
            if changed and not check:
                self.stop()
        elif state == "started":
            changed = self.managed and was != RUNNING
            if self.managed and not changed and not self.status_says_running():
                raise self.foreign_answer()
            if not check:
                return self.started(was, changed)
        else:
            changed = False
        return self.result(changed, was, was if check else self.state())

    def started(self, was, changed):
        if changed:
            self.start()
        health = self.await_health(self.api) if self.api else None
        if changed and not self.api:
            self.await_running()
        proven_at = time.time()
        return self.result(changed, was, self.state(), health, proven_at)

    def result(self, changed, was, now, health=None, proven_at=None):
        proven_at = proven_at or time.time()
        if self.api and health is None:
            health = self.api.health()
        return {
            "changed": changed,
            "was": was,
            "is": now,
            "seconds": round(time.monotonic() - self.began, 2),
            "told_at": round(self.told_at, 3),
            "proven_at": round(proven_at, 3),
            "health": health.as_dict() if health else None,
        }

    def state(self):
        """Running as soon as the status command or the address says so."""
        if self.managed and self.status_says_running():
            return RUNNING
        if self.api:
            return RUNNING if self.api.answers() else STOPPED
        return STOPPED if self.managed else UNKNOWN

    def status_says_running(self):
        outcome = self.commands["status"].run(STATUS_TIMEOUT)
        if outcome.code is None or outcome.code < 0 or outcome.code >= FIRST_FOREIGN_EXIT:
            how = "did not end within %d s" % STATUS_TIMEOUT if outcome.code is None else "ended with %d" % outcome.code
            raise RecoveryError(
                "preflight",
                "the status command %s %s, which says neither running nor stopped%s"
                % (self.commands["status"], how, _said(outcome.output)),
                next_step="letta_service_status must exit 0 while the service runs and with 1 to 125 when it does not",
            )
        return outcome.code == 0

    def stop(self):
        deadline = time.monotonic() + self.options.stop_timeout
        self.told_at = time.time()
        outcome = self.commands["stop"].run(self.options.stop_timeout)
        while True:
            says_running = self.status_says_running()
            answers = self.api is not None and self.api.answers()
            if not says_running and not answers:
                return
            if time.monotonic() >= deadline:
                raise self.will_not_stop(outcome, says_running)
            time.sleep(POLL_SECONDS)

    def will_not_stop(self, outcome, says_running):
        if says_running:
            reason = "the status command %s still says it runs" % self.commands["status"]
        else:
            reason = "the status command says stopped, yet something still answers at %s" % self.options.api_url
        return RecoveryError(
            "preflight",
            "the service will not stop: %s, %s s after %s (%s)%s"
            % (reason, _number(self.options.stop_timeout), self.commands["stop"], _ended(outcome), _said(outcome.output)),
            now="the service was told to stop and may be shutting down; its data was not changed by this step",
            next_step="stop it by hand, look for a second instance, or raise letta_service_stop_timeout",
            details={"exit_code": outcome.code, "status_says_running": says_running},
        )

    def start(self):
        self.told_at = time.time()
        outcome = self.commands["start"].run(self.options.start_timeout)
        if outcome.code == 0:
            return
        hint = "letta_service_start must return once the service is launched" if outcome.code is None else "run it by hand on this host"
        raise self.will_not_start("%s %s" % (self.commands["start"], _ended(outcome)), outcome.output, next_step=hint)

    def foreign_answer(self):
        return RecoveryError(
            "preflight",
            "the status command %s says stopped, yet something answers at %s" % (self.commands["status"], self.options.api_url),
            next_step="look for a second instance at that address, or correct letta_service_status or letta_api_url",
        )

    def await_health(self, api):
        deadline = self.began + self.options.start_timeout
        watch = _Watch()
        while True:
            left = deadline - time.monotonic()
            health = api.health(timeout=max(1, min(api.timeout, left)))
            if health.ok or left <= 0:
                break
            if self.managed and watch.is_gone(self.status_says_running()):
                break
            time.sleep(POLL_SECONDS)
        if health.ok or not self.options.health_required:
            return health
        output = self.commands["start"].tail() if self.managed else ""
        what = "it started and went down again" if left > 0 else "not healthy within %s s" % _number(self.options.start_timeout)
        raise self.will_not_start("%s: %s" % (what, health.detail), output, details=health.as_dict())

    def await_running(self):
        deadline = self.began + self.options.start_timeout
        while not self.status_says_running():
            if time.monotonic() >= deadline:
                reason = "the status command %s still says it is stopped after %s s"
                raise self.will_not_start(
                    reason % (self.commands["status"], _number(self.options.start_timeout)), self.commands["start"].tail()
                )
            time.sleep(POLL_SECONDS)

    def will_not_start(self, reason, output, next_step="", details=None):
        return RecoveryError(
            "preflight",
            "the service is not up: %s%s" % (reason, _said(output)),
            now="the service was told to start and is not serving" if self.managed else LIVE_UNTOUCHED,
            next_step=next_step or "read the service's own log; raise letta_service_start_timeout if it is just slow",
            details=details,
        )


class _Watch:
    """Notices a service that came up and went down again; a supervisor gets a moment to bring it back."""

    def __init__(self):
        self.seen = False
        self.down_since = None

    def is_gone(self, running):
        if running:
            self.seen, self.down_since = True, None
        elif self.seen and self.down_since is None:
            self.down_since = time.monotonic()
        return self.down_since is not None and time.monotonic() - self.down_since > DOWN_FOR_GOOD_SECONDS


def _checked_manager(manager):
    if manager in MANAGERS_WITHOUT_DRIVER:
        raise RecoveryError(
            "usage",
            "this version cannot drive services through %s" % manager,
            next_step="letta_service_manager: command, with letta_service_start, letta_service_stop and letta_service_status",
        )
    if manager not in MANAGERS:
        raise RecoveryError("usage", "unknown service manager: %s" % manager, next_step="one of %s" % ", ".join(MANAGERS))
    return manager


def _ended(outcome):
    return "did not end in time and was killed" if outcome.code is None else "ended with %d" % outcome.code


def _said(output):
    return "; its output ends: %s" % output[-1500:] if output else ""


def _number(seconds):
    return "%g" % seconds
