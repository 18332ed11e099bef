# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service driven by the operator's own commands."""
from __future__ import annotations

from ..commands import FIRST_FOREIGN_EXIT, Command, parse_command
from .base import STATUS_TIMEOUT, Driver, Look, NotStarted, Told, ended, refused, said


class CommandDriver(Driver):
    """See :class:`Driver`. Nothing is known of a supervisor behind the commands, nor of when the process began.

    :param start, stop, status: commands, each a list or a string.
    :param secrets: texts wiped from whatever they say.
    """

    supervised = False

    def __init__(self, start, stop, status, secrets=()):
        given = {"start": start, "stop": stop, "status": status}
        self.commands = {name: Command(parse_command(value, "letta_service_%s" % name), secrets) for name, value in given.items()}

    def look(self):
        status = self.commands["status"]
        outcome = status.run(STATUS_TIMEOUT)
        if outcome.code is None or outcome.code < 0 or outcome.code >= FIRST_FOREIGN_EXIT:
            how = "did not end within %d s" % STATUS_TIMEOUT if outcome.code is None else "ended with %d" % outcome.code
            raise refused(
                "the status command %s %s, which says neither running nor stopped%s" % (status, how, said(outcome.output)),
                "letta_service_status must exit 0 while the service runs and with 1 to 125 when it does not",
            )
        runs = outcome.code == 0
        return Look("the status command %s" % status, "says it runs" if runs else "says it is stopped", up=runs, alive=runs)

    def stop(self, timeout):
        outcome = self.commands["stop"].run(timeout)
        return Told("%s (%s)" % (self.commands["stop"], ended(outcome)), outcome.output, code=outcome.code)

    def start(self, timeout):
        outcome = self.commands["start"].run(timeout)
        if outcome.code == 0:
            return
        hint = "letta_service_start must return once the service is launched" if outcome.code is None else "run it by hand on this host"
        raise NotStarted("%s %s" % (self.commands["start"], ended(outcome)), outcome.output, hint)

    def tail(self, since):  # noqa: ARG002  (its output is of this start alone)
        return self.commands["start"].tail()

    def close(self):
        for command in self.commands.values():
            command.close()
