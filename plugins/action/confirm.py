# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks for the typed confirmation of a dangerous step. Without a terminal and without an answer it refuses."""
from __future__ import annotations

import time

from ansible.errors import AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import LIVE_UNTOUCHED, RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report.clean import clean_text

ATTEMPTS = 3


class ActionModule(ActionBase):
    """Runs on the controller alone."""

    _requires_connection = False
    TRANSFERS_FILES = False
    _display = Display()

    def run(self, tmp=None, task_vars=None):
        """Return ok when the target was confirmed, else a failure of class ``usage`` or ``cancelled``."""
        result = super().run(tmp, task_vars)
        result["changed"] = False
        spec = {
            "expected": {"type": "str", "required": True}, "given": {"type": "str", "default": ""}, "what": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 900},
        }
        options = self.validate_argument_spec(argument_spec=spec)[1]
        expected = options["expected"].strip()
        try:
            result["confirmed_by"] = self._confirm(expected, options["given"].strip(), options["what"], options["timeout"])
        except RecoveryError as error:
            data = error.as_dict()
            message = data.pop("message")
            lines = ("%s: %s" % (error.failure_class, message), "NOW: %s" % error.now, "NEXT: %s" % error.next_step)
            result.update(data, failed=True, msg="\n".join(lines))
        return result

    def _confirm(self, expected, given, what, timeout):
        """Return who confirmed: ``check_mode``, ``letta_confirm`` or ``terminal``."""
        hint = "-e letta_confirm=%s" % expected
        if not expected:
            raise RecoveryError("usage", "the target to confirm is empty", LIVE_UNTOUCHED, "set letta_db_host and letta_db_name")
        if self._task.check_mode:
            return "check_mode"
        if given == expected:
            return "letta_confirm"
        if given:
            raise RecoveryError(
                "usage", "letta_confirm is %r, but the target is %r" % (clean_text(given, 200), expected), LIVE_UNTOUCHED, hint)
        if self._typed(expected, what, timeout, hint):
            return "terminal"
        raise RecoveryError("cancelled", "the target %r was not confirmed" % expected, LIVE_UNTOUCHED, hint)

    def _typed(self, expected, what, timeout, hint):
        """Return whether the person at the terminal typed the target."""
        sentence = clean_text(what, 2000)
        prompt = "%sType %s to go on, anything else to cancel:" % (sentence + "\n" if sentence else "", expected)
        deadline = time.monotonic() + max(timeout, 1)
        for attempt in range(ATTEMPTS):
            left = int(deadline - time.monotonic())
            if left < 1:
                return False
            try:
                answer = self._display.prompt_until(prompt, private=False, seconds=left)
            except AnsiblePromptInterrupt:
                return False
            except AnsiblePromptNoninteractive as error:
                raise RecoveryError(
                    "cancelled", "there is no terminal to confirm the target %r on, and letta_confirm is not set" % expected,
                    LIVE_UNTOUCHED, hint) from error
            # An answer that the clock cut off was never sent with Enter.
            if time.monotonic() >= deadline:
                return False
            typed = answer.decode("utf-8", "replace").strip()
            if typed == expected:
                return True
            if not typed or attempt == ATTEMPTS - 1:
                return False
            prompt = "That was %r. Type %s to go on, nothing to cancel:" % (clean_text(typed, 200), expected)
        return False
