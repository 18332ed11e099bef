# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The places where sets are looked for: folders, mounted or not, and remotes of rclone.

A store has a ``name``; ``list(now)`` returns its sets as :class:`SetInfo`; ``bring(info, progress)`` returns the SetInfo of the whole set
at hand. Both raise ``preflight`` with ``details.store`` when the store does not answer: that says nothing about its sets.
"""
from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace

from ..errors import RecoveryError
from ..postgres.process import ToolFailed, run_tool
from . import catalogue, fetch, rclone
from . import manifest as manifests
from .trust import ANYBODY

PREFIX = "rclone:"
_ASK = "import os, sys; os.path.isdir(sys.argv[1]) and os.listdir(sys.argv[1])"
# Names of rclone's settings that hold a secret, as they may stand in a connection string.
_SECRET = re.compile(r"(pass|secret|token|access_key|key_pem|sas_url|credentials|bearer)\w*=|\b(\w+_)?key=", re.IGNORECASE)


class FolderStore:
    """A folder of this host. With ``patience`` (seconds) it is asked from a process of its own first, so that a mount may hang."""

    def __init__(self, root, name="", patience=None, trust=ANYBODY):
        self.root, self.name, self._patience, self._trust = root, name or root, patience, trust

    def list(self, now):
        """Return the sets, newest first."""
        if self._patience:
            self._ask()
        try:
            found = catalogue.list_sets(self.root, now, self._trust)
        except RecoveryError as exc:
            raise RecoveryError("preflight", exc.message, exc.now, exc.next_step, dict(exc.details, store=self.name)) from None
        return [replace(info, store=self.name) for info in found]

    def bring(self, info, _progress):
        """A set of a folder is at hand."""
        return info

    def _ask(self):
        try:
            run_tool([sys.executable, "-c", _ASK, self.root], timeout=self._patience)
        except ToolFailed as exc:
            if exc.returncode is None:
                raise silent(self.name, "no answer in %d s" % self._patience) from None


class RemoteStore:
    """A remote of rclone. Its manifests are read first; a set is copied to ``<root>/.fetched`` when it is brought."""

    def __init__(self, remote, root, client, trust=ANYBODY):
        self.remote, self.name, self.root, self._client, self._trust = remote, PREFIX + remote, root, client, trust
        self._folder = None

    def list(self, now):
        """Return the sets, newest first. Their paths hold the manifest alone, until :meth:`close`."""
        self.close()
        self._folder = tempfile.mkdtemp(prefix="letta-manifests-")
        try:
            names, problems = self._client.read_manifests(self.remote, self._folder)
        except rclone.Unreachable as exc:
            raise silent(self.name, str(exc)) from None
        for name in names:
            os.makedirs(os.path.join(self._folder, name), 0o700, exist_ok=True)
        found = [replace(info, store=self.name, at_hand=False) for info in catalogue.list_sets(self._folder, now, self._trust)]
        unread = "manifest.json cannot be read (%s)"
        return [replace(i, usable=False, problem="unreachable", reason=unread % problems[i.id]) if i.id in problems else i for i in found]

    def bring(self, info, progress):
        """Copy a set here; what lies here of it already is used when its checksums are right."""
        manifest = manifests.load(info.path, self._trust)
        try:
            path = fetch.fetch_set(self.root, info, manifest, lambda *call: self._client.copy(self.remote, *call), progress)
        except rclone.Unreachable as exc:
            raise silent(self.name, str(exc)) from None
        return replace(info, path=path, at_hand=True)

    def close(self):
        """Remove the manifests."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def silent(name, reason):
    """Return the error of a store that does not answer."""
    return RecoveryError(
        "preflight",
        "the store %s does not answer: %s" % (name, reason),
        next_step="check the line to it and letta_rclone_config; nothing is known against its sets",
        details={"store": name},
    )


@contextmanager
def opened(names, root, config="", patience=300, trust=ANYBODY):
    """Yield the stores of ``names``, in order; sets fetched by an earlier run come before all.

    :param names: folders, or ``rclone:<remote>:<path>``. :param root: letta_backup_root, where sets are fetched to; it holds the safety
        sets too, so it is searched as well, last unless it is named.
    :param config: rclone's configuration file; empty for rclone's own default.
    :param patience: seconds without a byte after which a store counts as silent.
    :param trust: a :class:`~.trust.Trust`: whose signature the sets must carry.
    :raises RecoveryError: ``usage`` for a name that is neither; ``preflight`` when rclone is not installed.
    """
    places: list = []
    for name in names:
        if name.startswith(PREFIX):
            remote = checked(name[len(PREFIX):])
            places.append(RemoteStore(remote, root, rclone.Rclone(config, patience), trust))
        elif os.path.isabs(name):
            places.append(FolderStore(name, patience=None if tuple(names) == (root,) else patience, trust=trust))
        else:
            raise RecoveryError(
                "usage", "%r is no store" % name, next_step="letta_stores takes absolute paths and rclone:<remote>:<path>"
            )
    if root not in names and os.path.isdir(root):
        places.append(FolderStore(root, trust=trust))  # journals lie there as well: when it hangs, so does everything
    fetched = fetch.folder(root)
    if os.path.isdir(fetched) and any(isinstance(place, RemoteStore) for place in places):
        places.insert(0, FolderStore(fetched, "%s (fetched before)" % fetched, trust=trust))
    try:
        yield places
    finally:
        for place in places:
            if isinstance(place, RemoteStore):
                place.close()


def checked(remote):
    """Return rclone's name of a remote. :raises RecoveryError: ``usage`` when it is none, or holds a secret."""
    named = remote.startswith(":") or ":" in remote
    if not named or remote.startswith("-") or "\0" in remote or "\n" in remote:
        raise RecoveryError("usage", "rclone:%s names no remote" % remote[:80], next_step="write it as rclone:<remote>:<path>")
    if _SECRET.search(remote):
        raise RecoveryError(
            "usage",
            "a store in letta_stores holds a credential, which would stand in the arguments of processes",
            next_step="put it into rclone's configuration file (rclone config) and name that in letta_rclone_config",
        )
    return remote
