# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One volume of a restore on one host: staged beside its folder, exchanged with it, put back, its kept copies removed.

Everything a later call needs lies beside the folder, in one file that is written durably before each step: the host need not be the
one with the journal. A folder that is a mount point cannot be renamed; there the entries inside change places, through a hidden folder
on the same mount.
"""
from __future__ import annotations

import contextlib
import glob
import os
from dataclasses import dataclass

from .. import durable
from ..backup import store
from ..errors import RecoveryError
from . import folders
from .journal import stamp

ABSENT, STAGED, SWAPPED, ROLLED_BACK = "absent", "staged", "swapped", "rolled_back"
_SWAPPING, _BACKING, _REMOVING = "swapping", "rolling back", "being removed"


@dataclass
class Names:
    """Where the copies of one run lie: the new folder, the one of before, the one that was taken back, and what is known of them."""

    path: str
    run_id: str
    inside: bool

    def __post_init__(self):
        work = os.path.join(self.path, ".letta-" + self.run_id)
        beside = [self.path + mark + self.run_id for mark in (".letta-", ".previous-", ".undone-")]
        self.work = work if self.inside else ""
        self.new, self.old, self.undone = [os.path.join(work, name) for name in ("new", "old", "new")] if self.inside else beside
        self.part = self.new + ".part"
        self.copies = (self.part, self.new, self.old, self.undone)
        self.state = os.path.join(work, "state.json") if self.inside else self.new + ".json"


class Volume:
    """One volume in one run.

    :param name: its name in the set. :param path: its folder on this host; of a link, what it leads to is treated.
    :param run_id: the run's id.
    """

    def __init__(self, name, path, run_id):
        self.name, self.path, self.run_id = name, os.path.realpath(path), run_id
        found = [names for names in (Names(self.path, run_id, inside) for inside in (True, False)) if os.path.isfile(names.state)]
        self.names = found[0] if found else Names(self.path, run_id, folders.must_be_inside(self.path))
        self.state = durable.read_json(self.names.state) if found else {"status": ABSENT}

    @property
    def status(self):
        """``absent``, ``staged``, ``swapped`` or ``rolled_back``, or one of the states between them that only a kill leaves."""
        return self.state["status"]

    def save(self, **facts):
        """Write down what is about to be done, or was done."""
        self.state.update(facts)
        durable.write_json(self.names.state, self.state)

    def finish(self):
        """Finish what a killed call began."""
        with self._told("finishing what was begun"):
            if self.status == _SWAPPING:
                _forward(self)
            elif self.status == _BACKING:
                _backward(self)
            elif self.status == _REMOVING:
                _remove(self)

    @contextlib.contextmanager
    def _told(self, what):
        try:
            yield
        except folders.Astray as exc:
            raise _help(self, "%s: %s is neither the restored folder nor the one of before" % (what, exc)) from None
        except OSError as exc:
            raise _help(self, "%s failed: %s" % (what, exc)) from None

    def swap(self, keep_until=None):
        """Make the staged folder the live one. Returns whether something changed.

        :param keep_until: epoch seconds until which the folder of before is kept.
        :raises RecoveryError: ``manual_help_needed``; after a failure a further call goes on.
        """
        self.finish()
        if self.status == SWAPPED:
            return False
        if self.status != STAGED:
            raise RecoveryError(
                "preflight",
                "volume %s was not staged by run %s at %s" % (self.name, self.run_id, self.path),
                now="the folder is what it was",
                next_step="run restore-full.yml again: it stages it",
            )
        with self._told("exchanging"):
            self.save(status=_SWAPPING, keep_until=stamp(keep_until) if keep_until else None, **_both(self, self.names.new))
            _forward(self)
        return True

    def roll_back(self):
        """Make the folder of before the live one again and keep the restored one; what was only staged is removed.

        :returns: whether something changed. :raises RecoveryError: ``manual_help_needed``; after a failure a further call goes on.
        """
        self.finish()
        if self.status == STAGED:
            return self.remove()
        if self.status != SWAPPED:
            return False
        with self._told("putting back"):
            names = self.names
            self.save(status=_BACKING, **(_lists(self, names.old) if names.inside else {}))
            _backward(self)
        return True

    def check_way_back(self):
        """Check that what :meth:`roll_back` needs is there. :raises RecoveryError: ``preflight``."""
        names, old = self.names, self.state.get("old")
        gone = not os.path.isdir(names.old) if names.inside else old is not None and folders.inode(names.old) != old
        if self.status == SWAPPED and gone:
            raise RecoveryError(
                "preflight",
                "volume %s: the folder of before, %s, is not there any more" % (self.name, names.old),
                now="%s is the restored folder" % self.path,
                next_step="--skip-tags volumes takes the database back alone; or restore a set that holds this volume",
            )

    def remove(self):
        """Remove every copy of this run but the live folder. Returns whether there was any."""
        self.finish()
        if self.status == ABSENT:
            return False
        with self._told("removing what was kept"):
            self.save(status=_REMOVING)
            _remove(self)
        return True

    def sweep_unfinished(self):
        """Remove what a killed staging left; nothing of it was ever in use."""
        names = self.names
        for path in [names.work] if names.inside else [names.part, names.new]:
            if os.path.lexists(path):
                store.remove_tree(path)
        for path in glob.glob(glob.escape(names.state) + ".tmp-*"):
            os.unlink(path)

    def facts(self):
        """Return what is true of it, as plain data."""
        kept = {STAGED: "", SWAPPED: self.names.old, ROLLED_BACK: self.names.undone}.get(self.status, "")
        if self.status == SWAPPED and self.state.get("old") is None and not self.names.inside:
            kept = ""
        keys = ("files", "bytes", "tree_digest", "proof", "others", "keep_until")
        return dict({key: self.state.get(key) for key in keys}, name=self.name, path=self.path, status=self.status, kept=kept,
                    inside=self.names.inside)


def _both(volume, incoming):
    if volume.names.inside:
        return _lists(volume, incoming)
    return {"new": folders.inode(incoming), "old": folders.inode(volume.path)}


def _lists(volume, incoming):
    return {"out": folders.entries(volume.path), "in": sorted(os.listdir(incoming))}


def _forward(volume):
    names, state = volume.names, volume.state
    if names.inside:
        state.setdefault("old_top", folders.top_of(volume.path))
        volume.save()
        folders.settle_entries(names.path, state["out"], names.old, state["in"], names.new)
        folders.dress(names.path, state["top"])
    else:
        if folders.inode(names.new) == state["new"]:
            folders.dress(names.new, state["top"])
        folders.settle(names.path, names.new, names.old, state["new"], state["old"])
    volume.save(status=SWAPPED)


def _backward(volume):
    names, state = volume.names, volume.state
    if names.inside:
        folders.settle_entries(names.path, state["out"], names.undone, state["in"], names.old)
        folders.dress(names.path, state["old_top"])
    else:
        folders.settle(names.path, names.old, names.undone, state["old"], state["new"])
    volume.save(status=ROLLED_BACK)


def _remove(volume):
    names = volume.names
    for path in names.copies:
        if os.path.lexists(path):
            store.remove_tree(path)
    os.unlink(names.state)  # last: what is left without it was never in use
    durable.fsync_dir(os.path.dirname(names.state))
    volume.sweep_unfinished()
    volume.state = {"status": ABSENT}


def _help(volume, reason):
    return RecoveryError(
        "manual_help_needed",
        "volume %s at %s: %s" % (volume.name, volume.path, reason),
        now="what is where is written in %s" % volume.names.state,
        next_step="mend that, then run the same command again: it goes on from there",
    )
