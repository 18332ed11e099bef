"""What an operation is to be killed: its parts, its steps, what must be true after the kill and after the next run."""
from __future__ import annotations

import os
import time
from pathlib import Path

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import store
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import listing

VICTIMS = ("controller", "module", "postgres", "group")
_SESSIONS = "SELECT application_name || ': ' || left(query, 60) FROM pg_stat_activity WHERE application_name LIKE 'letta_ops%'"


def moments(steps, never=("services.start:begun",)):
    """Return every moment of these steps; the start of the services is written only when it is done."""
    return tuple(item for step in steps for item in ("%s:begun" % step, "%s:done" % step) if item not in never)


class Operation:
    """One operation. A part is a function (scene, identity of the controller, facts so far) -> facts, ``over`` among them ends it.

    :ivar journal: every moment of its journal, ``<step>:<begun|done>``.
    """

    name = ""
    journal: tuple = ()
    victims: tuple = VICTIMS
    waits = True  # for a lock that shows the next run whether an earlier one is alive; False: it may be told to come again

    @classmethod
    def steps(cls):
        """Return the moments of the journal at which it is killed."""
        return cls.journal

    def __init__(self, stand):
        self.stand = stand
        self.prepare()

    @property
    def parts(self):
        """The module calls, in their order."""
        raise NotImplementedError

    def prepare(self):
        """Make what every point begins from, once."""

    def reset(self):
        """Return a :class:`.stand.Scene` in the first state."""
        return self.stand.scene()

    def rescue(self, scene, who, facts):
        """Do what the role does when a module failed; in the controller that outlived it."""

    def after_kill(self, scene):
        """Return what is wrong after the kill, before anything else ran: live must be old-whole or new-whole."""
        raise NotImplementedError

    def next(self, scene):
        """Return the operation that is run after the kill: the same, unless it was done already and would be refused."""
        return self

    def at_end(self, scene):
        """Return what is wrong after the next run: live must be new-whole."""
        raise NotImplementedError

    def kept(self, scene):
        """Return the names of databases that are kept on purpose."""
        return scene.world.kept_names()

    def leftovers(self, scene):
        """Return what no ended run may leave, whatever the operation."""
        world, root = scene.world, Path(scene.world.root)
        found = world.leftovers(self.kept(scene))
        for path in root.glob(store.INCOMING + "*"):
            if not (path / manifests.HOLDER).exists():
                os.utime(path, (time.time() - 120,) * 2)  # without a mark it is given a minute, which is over now
        store.reap(world.root)
        for path in scene.temporary.glob(listing.PREFIX + "*"):
            os.utime(path, (time.time() - 120,) * 2)
        listing.sweep(str(scene.temporary))
        found += ["%s in the store" % path.name for path in root.iterdir() if path.name.startswith(".") and path.name not in _LASTING]
        found += ["temporary %s" % path.relative_to(root) for path in root.rglob("*.tmp-*")]
        runs = root / store.RUNS
        found += ["temporary %s" % path.name for path in runs.glob("*.json.*")] if runs.is_dir() else []
        found += ["temporary %s" % path for path in scene.temporary.rglob("*")]
        found += ["role %s" % role for role in self.stand.roles_now() ^ self.stand.roles]
        return found + self._sessions()

    def _sessions(self):
        deadline = time.monotonic() + 10
        while (rows := self.stand.pg.execute(_SESSIONS)) and time.monotonic() < deadline:
            time.sleep(0.02)
        return ["session %s" % text for (text,) in rows]


_LASTING = {store.RUNS, store.CATALOG}
