# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service that is a unit of systemd, through systemctl: no library of D-Bus has to be on the host."""
from __future__ import annotations

import os
import re
import time

from ... import processes
from ...errors import RecoveryError
from ..commands import Command
from .base import STATUS_TIMEOUT, Driver, Look, NotStarted, Told, ended, refused

PROPERTIES = (
    "LoadState", "LoadError", "ActiveState", "SubState", "Result", "MainPID", "ControlGroup", "TasksCurrent", "NRestarts", "TriggeredBy",
)  # fmt: skip
LOG_LINES = 60
# Pure version 2, then the two places of the mixed layouts: systemd's own version 1 hierarchy, and version 2 beside it.
_HIERARCHIES = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*")
_NEEDED = "letta_service_manager: systemd needs a host that systemd booted, and a user who may drive its units (become)"
_PLAIN = {"LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "", "SYSTEMD_URLIFY": "0"}


class SystemdDriver(Driver):
    """See :class:`Driver`.

    :param unit: name of the unit; without a suffix it is a service.
    :param secrets: texts wiped from whatever systemctl and the journal say.
    :raises RecoveryError: ``usage`` for a name that no unit can have.
    """

    def __init__(self, unit, secrets=()):
        if not _UNIT.fullmatch(unit or ""):
            raise RecoveryError("usage", "not the name of a unit: %r" % unit, next_step="letta_service_unit: letta.service")
        self.unit = unit if "." in unit else unit + ".service"
        self._secrets = secrets
        self._shown = {}

    def look(self):
        self._shown = self._show(self.unit)
        return judge(self.unit, self._shown, _members(self._shown), _began(self._shown))

    def check(self, stopping):
        load = self._shown.get("LoadState", "")
        if load == "masked":
            raise refused("unit %s is masked: it cannot be started" % self.unit, "systemctl unmask %s" % self.unit)
        if load != "loaded":
            why = self._shown.get("LoadError", "").strip('"') or "its file is gone"
            raise refused(
                "systemd cannot load unit %s (%s): it cannot be started: %s" % (self.unit, load, why),
                "systemd-analyze verify %s" % self.unit,
            )
        for other in self._shown.get("TriggeredBy", "").split() if stopping else ():
            if other.endswith(".socket") and self._show(other).get("ActiveState") == "active":
                raise refused(
                    "unit %s is started by %s whenever somebody connects: it would not stay stopped" % (self.unit, other),
                    "systemctl disable --now %s, or drive both with letta_service_manager: command" % other,
                )

    def stop(self, timeout):
        outcome = self._run(["systemctl", "--no-ask-password", "stop", "--", self.unit], timeout)
        killed = outcome.code == 0 and self._show(self.unit).get("Result") == "timeout"
        note = "it did not end in the time its unit allows and was killed by systemd" if killed else ""
        return Told("systemctl stop %s (%s)" % (self.unit, ended(outcome)), outcome.output, note, outcome.code)

    def start(self, timeout):
        since = time.time()
        if self._shown.get("ActiveState") == "failed":  # else a unit that failed too often is not even tried
            self._run(["systemctl", "--no-ask-password", "reset-failed", "--", self.unit], STATUS_TIMEOUT)
        outcome = self._run(["systemctl", "--no-ask-password", "start", "--", self.unit], timeout)
        if outcome.code == 0:
            return
        if outcome.code is None:
            reason = "%s after %g s" % (self.look().still, timeout)
        else:
            reason = "systemctl start %s %s" % (self.unit, ended(outcome))
        raise NotStarted(reason, "\n".join(part for part in (outcome.output, self.tail(since)) if part), "journalctl -u %s" % self.unit)

    def tail(self, since):
        try:
            outcome = self._run(
                ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=%d" % LOG_LINES, "--since=@%d" % since,
                 "--unit=%s" % self.unit],
                STATUS_TIMEOUT,
            )  # fmt: skip
        except RecoveryError:  # no journalctl here: the log is a help, not a condition
            return ""
        return outcome.output if outcome.code == 0 else ""

    def _show(self, unit):
        outcome = self._run(["systemctl", "show", "--property=%s" % ",".join(PROPERTIES), "--", unit], STATUS_TIMEOUT)
        shown = parse(outcome.output)
        if outcome.code != 0 or "ActiveState" not in shown:
            raise refused(
                "systemctl does not say how unit %s is (%s): %s" % (unit, ended(outcome), outcome.output or "it said nothing"),
                _NEEDED,
            )
        return shown

    def _run(self, argv, timeout):
        command = Command(argv, self._secrets, _PLAIN)
        try:
            return command.run(timeout)
        except RecoveryError as exc:
            raise exc.with_now(exc.now, _NEEDED) from None
        finally:
            command.close()


def parse(text):
    """Return what ``systemctl show`` printed as {property: value}."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value for name, found, value in pairs if found}


def judge(unit, shown, members, started_at):
    """Judge a unit.

    :param shown: its properties, from :func:`parse`.
    :param members: pids of its control group. :param started_at: when its main process began, or None.
    :returns: :class:`Look`. :raises RecoveryError: ``preflight`` when there is no such unit.
    """
    active, sub = shown["ActiveState"], shown.get("SubState", "")
    restarts = int(shown.get("NRestarts") or 0)
    if shown.get("LoadState") == "not-found" and active == "inactive":
        raise refused(
            "this host has no unit %s" % unit,
            "letta_service_unit names it; systemctl list-units --all --type=service lists what there is",
        )
    up = active in ("active", "reloading", "refreshing")
    says = "is %s (%s)" % (active, shown.get("Result", sub) if active == "failed" else sub)
    if restarts:
        says += ", brought back %d times by systemd" % restarts
    left = not up and active in ("inactive", "failed") and members
    if left:
        says += ", but %s left of it: %s" % ("a process is" if len(members) == 1 else "processes are", ", ".join(map(str, members)))
    alive = bool(left) or active not in ("inactive", "failed")
    return Look("unit %s" % unit, says, up, alive, started_at=started_at if up else None, restarts=restarts)


def _members(shown):
    """Return the pids of all processes in a unit's control group; of what the kernel does not show, systemd's own count as zeros."""
    group = shown.get("ControlGroup", "")
    if not group:
        return []
    found = set()
    seen = False
    for hierarchy in _HIERARCHIES:
        for folder, _folders, files in os.walk(hierarchy + group):
            if "cgroup.procs" in files:
                seen = True
                found |= _pids(os.path.join(folder, "cgroup.procs"))
    count = shown.get("TasksCurrent", "")
    if not seen and count.isdigit() and int(count) < 2**32:  # "not counted" is shown as the largest number
        return [0] * int(count)
    return sorted(found)


def _pids(path):
    try:
        with open(path, encoding="ascii") as stream:
            return {int(line) for line in stream}
    except (OSError, ValueError):  # gone between listing and reading
        return set()


def _began(shown):
    """Return when the main process began, in seconds since the epoch, None when there is none."""
    pid = int(shown.get("MainPID") or 0)
    ticks = processes.start_time(pid) if pid else None
    if ticks is None or ticks == processes.ENDED:
        return None
    # Not through btime of /proc/stat, which is rounded to whole seconds.
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
