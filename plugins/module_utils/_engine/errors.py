# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error family of the engine.

Every failure the engine knows about is a :class:`RecoveryError`. It carries what the
operator needs at three in the morning: the class of the failure, one sentence on what
failed and where, what is true now, and what to type next. Only a module's ``main()``
turns it into ``fail_json``.
"""
from __future__ import annotations

# Class -> process exit code. The numbers are those of docs/faults.md; 1 is left to Python
# and Ansible, so that a crash of ours can never be mistaken for a verdict.
FAILURE_CLASSES = {
    "ok": 0,
    "usage": 10,
    "cancelled": 11,
    "preflight": 20,
    "locked": 21,
    "schema": 22,
    "key_mismatch": 23,
    "backup_corrupt": 30,
    "no_usable_backup": 31,
    "load_failed": 40,
    "verify_failed": 41,
    "swap_rolled_back": 50,
    "manual_help_needed": 51,
}

LIVE_UNTOUCHED = "live database untouched, nothing stopped"


class RecoveryError(Exception):
    """A failure with a class, a state and a next step.

    :param failure_class: a key of :data:`FAILURE_CLASSES`.
    :param message: what failed, on which object and host; one sentence, no secret.
    :param now: what is true now ("live database untouched, nothing stopped").
    :param next_step: what to type next.
    :param details: extra facts for the report (JSON types only, no secret).
    :raises ValueError: when the class is unknown, so that a typo shows in the first test.
    """

    def __init__(self, failure_class, message, now=LIVE_UNTOUCHED, next_step="", details=None):
        if failure_class not in FAILURE_CLASSES or failure_class == "ok":
            raise ValueError("unknown failure class: %r" % (failure_class,))
        super().__init__(message)
        self.failure_class = failure_class
        self.message = message
        self.now = now
        self.next_step = next_step
        self.details = dict(details or {})

    def as_dict(self):
        """Return the error as plain data: failure_class, message, now, next_step, details."""
        return {
            "failure_class": self.failure_class,
            "message": self.message,
            "now": self.now,
            "next_step": self.next_step,
            "details": self.details,
        }

    def with_now(self, now, next_step=None):
        """Return the same error with a truer account of the state, told by whoever knows it."""
        return RecoveryError(
            self.failure_class, self.message, now, self.next_step if next_step is None else next_step, self.details
        )
