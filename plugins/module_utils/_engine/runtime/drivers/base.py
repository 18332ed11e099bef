# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every driver of a service manager offers; one driver per file, told apart in ``services.py`` alone."""
from __future__ import annotations

import time
from dataclasses import dataclass

from ...errors import RecoveryError

STATUS_TIMEOUT = 30


@dataclass(frozen=True)
class Look:
    """What a service manager says of a service at one moment.

    :param subject, predicate: a sentence for a person in two halves, so that a "still" fits in between.
    :param up: its serving process is in place.
    :param alive: something of it lives, or will be brought back without us: it is not stopped before it was told to.
    :param waiting: why it does not count as started although it is up, or empty.
    :param started_at: when the serving process began, in seconds since the epoch by this host's clock; None when that is not known.
    :param restarts: how often the manager brought it back by itself, a counter.
    """

    subject: str
    predicate: str
    up: bool
    alive: bool
    waiting: str = ""
    started_at: float | None = None
    restarts: int = 0

    @property
    def says(self):
        return "%s %s" % (self.subject, self.predicate)

    @property
    def still(self):
        return "%s still %s" % (self.subject, self.predicate)

    @property
    def ready(self):
        return self.up and not self.waiting


@dataclass(frozen=True)
class Told:
    """How telling the manager something went.

    :param how: what was told and how it ended ("systemctl stop letta.service (ended with 0)").
    :param output: the end of what it said, without secrets.
    :param note: what a person should know of it although it worked, or empty.
    :param code: exit code, None when it was cut short or has none.
    """

    how: str
    output: str = ""
    note: str = ""
    code: int | None = None


class NotStarted(Exception):
    """The manager refused to start the service, or did not get it started in time.

    :ivar reason: one phrase. :ivar output: the end of what it said. :ivar next_step: what to do, or empty.
    """

    def __init__(self, reason, output="", next_step=""):
        super().__init__(reason)
        self.reason = reason
        self.output = output
        self.next_step = next_step


class Driver:
    """One service of this host, through one service manager.

    :cvar supervised: the manager knows for certain whether it will bring a service back that went down.
    """

    supervised = True

    def look(self):
        """Return a :class:`Look`. :raises RecoveryError: ``preflight`` when the manager cannot tell, or has no such service."""
        raise NotImplementedError

    def check(self, stopping):
        """Refuse what :meth:`look` last saw where it could not be started, or, with ``stopping``, not be stopped and started again.

        :raises RecoveryError: ``preflight``.
        """

    def stop(self, timeout):
        """Tell it to stop; return :class:`Told`. That it is gone is for :meth:`look` to say.

        :param timeout: seconds until it must be gone.
        """
        raise NotImplementedError

    def start(self, timeout):
        """Tell it to start. :raises NotStarted: when the manager refuses.

        :param timeout: seconds until it must serve.
        """
        raise NotImplementedError

    def tail(self, since):
        """Return the end of its log, without secrets; empty where there is none.

        :param since: only what came after this moment, seconds since the epoch.
        """
        raise NotImplementedError

    def facts(self):
        """Return further facts for the result of the module."""
        return {}

    def close(self):
        """Let go of whatever was opened."""


def refused(message, next_step="", now=None, details=None):
    """Return the :class:`RecoveryError` of a service that cannot be driven."""
    return RecoveryError("preflight", message, **({} if now is None else {"now": now}), next_step=next_step, details=details)


def ended(outcome):
    """Return how a command ended, for a sentence."""
    return "did not end in time and was killed" if outcome.code is None else "ended with %d" % outcome.code


def said(output):
    """Return the end of an output, for the end of a sentence."""
    return "; its output ends: %s" % output[-1500:] if output else ""


def seconds_left(deadline):
    """Return the seconds until a moment of the monotonic clock, at least one."""
    return max(1.0, deadline - time.monotonic())
