# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of one run: every step is on disk before and after it is done.

``<backup root>/.runs/<run id>/journal.json``, rewritten durably at each step. After a
crash the next run reads here what was begun, and looks at the catalog for what was done.
"""
from __future__ import annotations

import datetime
import errno
import os
import re
import secrets
import signal
import time
from contextlib import contextmanager

from .. import durable, processes
from ..errors import RecoveryError

FORMAT = 1
OPEN, PREPARED, SUCCEEDED, FAILED, ROLLED_BACK, CLOSED = "open", "prepared", "succeeded", "failed", "rolled_back", "closed"
UNFINISHED = (OPEN, PREPARED)
STATUSES = (*UNFINISHED, SUCCEEDED, FAILED, ROLLED_BACK, CLOSED)
FULL, PARTIAL = "restore-full.yml", "restore-partial.yml"
RUN_ID = re.compile(r"r-[0-9a-f]{8}")
_NOT_ALLOWED = (errno.EROFS, errno.EACCES, errno.EPERM)
# Tests kill a run at a chosen step: "<step>:<begun|done>[:controller]". Nothing else sets this.
CRASH_VARIABLE = "LETTA_OPS_CRASH_AT"


def utc_now():
    """Return the current time as ``2026-11-21T03:30:00.123Z``."""
    now = datetime.datetime.fromtimestamp(time.time(), datetime.timezone.utc)
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (now.microsecond // 1000)


def parse_time(text):
    """Return the epoch seconds of a time written by :func:`utc_now` (fraction optional)."""
    shape = "%Y-%m-%dT%H:%M:%S.%fZ" if "." in text else "%Y-%m-%dT%H:%M:%SZ"
    return datetime.datetime.strptime(text, shape).replace(tzinfo=datetime.timezone.utc).timestamp()


def stamp(epoch):
    """Return epoch seconds as the journal writes times, without the fraction."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))


def new_run_id():
    """Return a fresh run id: ``r-`` and eight hexadecimal digits."""
    return "r-" + secrets.token_hex(4)


class Journal:
    """One run's journal.

    :param run_dir: the run's folder, named by its id.
    """

    def __init__(self, run_dir, data=None):
        self.run_dir = run_dir
        self.path = os.path.join(run_dir, "journal.json")
        self.data = data if data is not None else {}
        # Set by whoever puts things back: servers must start again although the disk of the journal is full. What is not written then
        # is as after a kill at that moment: the next run finds it out from the catalog.
        self.may_stay_unwritten = False

    @classmethod
    def create(cls, runs_root, run_id, **facts):
        """Start a journal; ``facts`` are plain data about the run (target, set, mode, plan, controller)."""
        run_dir = os.path.join(runs_root, run_id)
        durable.make_private_dir(run_dir)
        journal = cls(run_dir, dict(facts, format=FORMAT, run_id=run_id, status=OPEN, created_at=utc_now(), steps=[]))
        journal.save()
        durable.fsync_dir(runs_root)
        return journal

    @classmethod
    def load(cls, run_dir):
        """Read a journal.

        :raises RecoveryError: ``manual_help_needed`` when it is not readable as one.
        """
        journal = cls(run_dir)
        try:
            journal.data = durable.read_json(journal.path)
            known = journal.data["format"] == FORMAT and journal.data["run_id"] == os.path.basename(run_dir)
            whole = known and _is_whole(journal.data)
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise _unreadable(journal.path, type(exc).__name__) from None
        if not known:
            raise _unreadable(journal.path, "it is of another format or another run")
        if not whole:
            raise _unreadable(journal.path, "its steps or its status are none that a run has")
        return journal

    def save(self, **facts):
        """Merge facts and write the journal durably. :raises RecoveryError: ``preflight`` when its disk is full or gone."""
        self.data.update(facts)
        try:
            durable.write_json(self.path, self.data)
        except OSError as exc:
            if not self.may_stay_unwritten:
                raise unwritable(self.path, exc) from None

    def look_again(self):
        """Learn what another process wrote since this journal was read."""
        if os.path.exists(self.path):
            self.data = Journal.load(self.run_dir).data

    @property
    def run_id(self):
        """The run's id."""
        return self.data["run_id"]

    def begin(self, step, **facts):
        """Record the intent to do a step, with the process that will do it."""
        self._put(step, "begun", dict(facts, begun_at=utc_now(), worker=processes.identity()))

    def done(self, step, **facts):
        """Record that a step is done."""
        self._put(step, "done", dict(facts, done_at=utc_now()))

    @contextmanager
    def step(self, name, **facts):
        """Record a step around a block; a dict is yielded whose content is recorded with ``done``."""
        self.begin(name, **facts)
        result = {}
        yield result
        self.done(name, **result)

    def state(self, step):
        """Return ``begun``, ``done`` or None for a step."""
        entry = self.entry(step)
        return entry["state"] if entry else None

    def entry(self, step):
        """Return a step's record, or None."""
        return next((item for item in self.data["steps"] if item["name"] == step), None)

    def forget(self, *steps):
        """Drop steps that were undone, so that they will be done again."""
        self.data["steps"] = [item for item in self.data["steps"] if item["name"] not in steps]
        self.save()

    def finish(self, status, **facts):
        """Close the run with a final status."""
        self.save(status=status, finished_at=utc_now(), **facts)

    def _put(self, step, state, facts):
        entry = self.entry(step)
        if entry is None:
            entry = {"name": step}
            self.data["steps"].append(entry)
        entry.update(facts, state=state)
        self.save()
        _crash_if_asked("%s:%s" % (step, state), self.data.get("controller"))


class NoJournal(Journal):
    """A journal that is kept nowhere, for a module that is used outside a run."""

    def __init__(self):
        super().__init__("", {"run_id": "", "steps": [], "phases": []})

    def save(self, **facts):
        """Keep the facts for the time of the call only."""
        self.data.update(facts)


def list_runs(runs_root, operation=FULL):
    """Return the journals of one operation below a folder, oldest first; an unreadable one is skipped with its error kept.

    :param operation: ``restore-full.yml`` or ``restore-partial.yml``: neither knows what to make of the other's runs.
    :returns: (journals, errors)
    """
    journals, errors = [], []
    for name in sorted(os.listdir(runs_root)) if os.path.isdir(runs_root) else []:
        folder = os.path.join(runs_root, name)
        if not RUN_ID.fullmatch(name) or not os.path.isfile(os.path.join(folder, "journal.json")):
            continue
        try:
            journals.append(Journal.load(folder))
        except RecoveryError as exc:
            errors.append(exc)
    mine = [item for item in journals if item.data.get("operation", FULL) == operation]
    return sorted(mine, key=lambda item: item.data["created_at"]), errors


def _is_whole(data):
    """Tell whether a journal is in a state that a run can be in. :raises KeyError, TypeError, ValueError: when it is not even near."""
    parse_time(data["created_at"])
    names = [item["name"] for item in data["steps"] if isinstance(item["name"], str) and item["state"] in ("begun", "done")]
    return data["status"] in STATUSES and len(set(names)) == len(data["steps"]) and isinstance(data["steps"], list)


def unwritable(path, error):
    """Return the failure of a file of a run that cannot be written."""
    step = "make it writable for this user (findmnt --target %s)" if error.errno in _NOT_ALLOWED else "make room there (df -h %s)"
    step %= os.path.dirname(path)
    return RecoveryError(
        "preflight",
        "%s cannot be written (%s)" % (path, error.strerror or error),
        next_step="%s, then run the same command again: it goes on, or undoes what was begun" % step,
    )


def _unreadable(path, reason):
    return RecoveryError(
        "manual_help_needed",
        "the journal %s cannot be read (%s)" % (path, reason),
        now="nothing was changed by this run; what that run did is unknown",
        next_step="look at the databases of that run with psql -l, then move its folder away and run again",
    )


def _crash_if_asked(moment, controller):
    wanted = os.environ.get(CRASH_VARIABLE, "")
    if not wanted or not (wanted == moment or wanted == moment + ":controller"):
        return
    if wanted.endswith(":controller") and processes.state_of(controller) == processes.ALIVE:
        os.kill(controller["pid"], signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
