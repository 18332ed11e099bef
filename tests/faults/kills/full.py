"""Full restores and their rollback."""
from __future__ import annotations

import os
import shutil
from functools import partial

from psycopg2 import sql

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import journal as journals
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.reconcile import engine
from tests.faults import engine_kit
from tests.integration.restore_kit import add_writes, content

from .driving import Hook, Run
from .operation import Operation, moments
from .stand import LIVE, SHAPE

STAGE = ("stage.create", "stage.load", "stage.prove")
CUTOVER = ("services.stop", "cutover.drain", "cutover.fence", "cutover.exchange", "services.start")
# Work that was under way when the set was taken, and a sleeptime agent whose background turns have to wait.
WORK = """
INSERT INTO letta.runs (id, status, agent_id, organization_id, is_deleted)
  SELECT 'run-00000000-0000-4000-8000-000000000001', 'running', min(id), min(organization_id), false FROM letta.agents;
INSERT INTO letta.groups
  (id, description, manager_type, manager_agent_id, agent_ids, organization_id, sleeptime_agent_frequency, turns_counter)
  SELECT 'group-00000000-0000-4000-8000-000000000001', '', 'sleeptime', min(id), '[]', min(organization_id), 5, 1 FROM letta.agents
"""
INTERRUPTED, INTERRUPTED_WRITTEN = "interrupted", "interrupted_written"
RECONCILED = {"letta.runs", "letta.run_metrics", "letta.agents", "letta.groups"}


def interrupt(stand):
    """Make a template with work under way, unless there is one."""
    if not stand.pg.execute("SELECT 1 FROM pg_database WHERE datname = %s", params=(INTERRUPTED,)):
        stand.copy(SHAPE, INTERRUPTED)
        stand.pg.execute(WORK, INTERRUPTED)


class Restore(Operation):
    """A full restore over a live database with writes since the backup."""

    name = "restore"
    journal = moments(STAGE + CUTOVER)
    options: dict = {}
    engine_parts = engine_kit.RESTORING
    of_rollback = False

    @property
    def parts(self):
        return [partial(self._call, part) for part in self.engine_parts]

    def _call(self, part, scene, who, facts):
        return part(scene.world, scene.service, scene.world.run_options(controller=who, **self.options), facts)

    def rescue(self, scene, who, facts):
        if facts.get("run_dir"):
            journal = journals.Journal.load(facts["run_dir"])
            engine_kit.put_back(scene.world, scene.service, journal, self.of_rollback)

    def is_new(self, scene, now):
        """Return what keeps a fingerprint from being that of the restored set."""
        right = content(now) == self.stand.saved
        return [] if right else ["live is not what the set holds: %s" % differing(content(now), self.stand.saved)]

    def after_kill(self, scene):
        now = scene.world.fingerprint()
        if now is None:
            return ["there is no live database"]
        if now["oid"] == scene.old["oid"]:
            return [] if content(now) == content(scene.old) else ["the old live changed: %s" % differing(content(now), content(scene.old))]
        return self.is_new(scene, now)

    def at_end(self, scene):
        world = scene.world
        now = world.fingerprint()
        found = self.is_new(scene, now) if now else ["there is no live database"]
        found += [] if scene.service.state() == "running" else ["the servers are stopped"]
        return found + self.way_back(scene)

    def way_back(self, scene):
        """Return what is wrong with the old database, which is kept to go back to."""
        kept = [name for name, oid in scene.world.databases().items() if oid == scene.old["oid"]]
        if not kept:
            return ["the old database is not kept"]
        now = content(scene.world.fingerprint(kept[0]))
        return [] if now == content(scene.old) else ["the old database that is kept changed: %s" % differing(now, content(scene.old))]


class Reconciling(Restore):
    """A full restore of a set that was taken while a run was under way: it is closed on the side database."""

    name = "restore with reconcile"
    journal = moments((*STAGE, "reconcile.apply", *CUTOVER))

    def prepare(self):
        interrupt(self.stand)
        self.set_dir = self.stand.take_set(INTERRUPTED)
        self.stand.copy(INTERRUPTED, INTERRUPTED_WRITTEN)
        add_writes(self.stand.pg.server(dbname=INTERRUPTED_WRITTEN))
        manifest = manifests.load(str(self.set_dir))
        self.saved = {name: (table["rows"], table["digest"]) for name, table in manifest["tables"].items()}

    def reset(self):
        return self.stand.scene(INTERRUPTED_WRITTEN, [self.set_dir])

    def is_new(self, scene, now):
        wrong = {name for name in set(now["tables"]) | set(self.saved) if now["tables"].get(name) != self.saved.get(name)} - RECONCILED
        found = ["tables that nothing should change: %s" % ", ".join(sorted(wrong))] if wrong else []
        return found + (["a run is under way"] if scene.world.sql("SELECT 1 FROM letta.runs WHERE status = 'running'") else [])

    def at_end(self, scene):
        found = super().at_end(scene)
        entries = [item.entry("reconcile.apply") for item in scene.world.journals() if item.data["status"] == journals.SUCCEEDED]
        undone = [entry["undo_files"][0] for entry in entries if entry]
        if not undone:
            runs = ["%s %s" % (item.run_id, item.data["status"]) for item in scene.world.journals()]
            return [*found, "no run that succeeded tells how what was closed is taken back: %s" % ", ".join(runs)]
        engine.undo(scene.world.live, undone[-1])
        now = scene.world.fingerprint()["tables"]
        return found + (["what was closed cannot be taken back: %s" % differing(now, self.saved)] if now != self.saved else [])


class InPlace(Restore):
    """A full restore in place: live is dropped once a safety set of it is there."""

    name = "restore in place"
    options = {"mode": "in_place"}
    journal = moments(("services.stop", "cutover.fence", "in_place.drop", *STAGE, "cutover.drain", "cutover.exchange", "services.start"))

    def after_kill(self, scene):
        now = scene.world.fingerprint()
        if now is not None:
            right = content(now) in (content(scene.old), self.stand.saved)
            return [] if right else ["live is neither the old one nor the new one: %s" % differing(content(now), content(scene.old))]
        names = {item.data.get("safety_set") for item in scene.world.journals()} - {None}
        if len(names) != 1:
            return ["there is no live database, and %d safety sets are named" % len(names)]
        manifest = manifests.load(os.path.join(scene.world.root, names.pop()))
        held = {name: (table["rows"], table["digest"]) for name, table in manifest["tables"].items()}
        return [] if held == scene.old["tables"] else ["the safety set is not what live was: %s" % differing(held, scene.old["tables"])]

    def way_back(self, scene):
        return []


class Rollback(Restore):
    """A restore is taken back; what was written since is kept in the database that it restored."""

    name = "rollback"
    journal = moments(("services.stop", "rollback.drain", "cutover.fence", "rollback.exchange", "services.start"))
    engine_parts = engine_kit.TAKING_BACK
    of_rollback = True

    def prepare(self):
        stand = self.stand
        self.restore = Restore(stand)
        scene = stand.scene()
        run = Run(self.restore, scene, Hook())
        if not run.wait(120) or run.code:
            raise RuntimeError("the restore to take back failed: %s" % run.words())
        add_writes(scene.world.live, "after the restore")
        self.databases = {name: scene.world.fingerprint(name) for name in scene.world.databases()}
        self.templates = {name: "rollback_%d" % number for number, name in enumerate(sorted(self.databases))}
        for name, template in self.templates.items():
            stand.copy(name, template)
        (self.previous,) = set(self.databases) - {LIVE}
        self.store = stand.folder / "rollback-store"
        shutil.copytree(scene.world.root, self.store, copy_function=os.link)
        stand.clear(scene)

    def reset(self):
        scene = self.stand.scene(live=None, sets=())
        os.rmdir(scene.world.root)
        shutil.copytree(self.store, scene.world.root)  # by content: a journal that was linked would be one with that of the next point
        for name, print_ in self.databases.items():
            self._bring(name, print_)
        scene.old = self.databases[self.previous]
        return scene

    def _bring(self, name, print_):
        """Copy a database under the number that the journal knows, with its comment, closed where it was."""
        self.stand.copy(self.templates[name], name, print_["oid"])
        place = sql.Identifier(name)
        self.stand.pg.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(place, sql.Literal(print_["facts"]["comment"])))
        self.stand.pg.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(place, sql.Literal(print_["open"])))

    def is_new(self, scene, now):
        there = content(self.databases[LIVE])
        return [] if content(now) == there else ["the restored database changed: %s" % differing(content(now), there)]

    def next(self, scene):
        over = [item for item in scene.world.journals() if item.data["status"] == journals.ROLLED_BACK]
        scene.notes["next"] = self.restore if over else self
        return scene.notes["next"]

    def at_end(self, scene):
        if scene.notes["next"] is self.restore:  # the rollback was over: another one would be refused
            return self.restore.at_end(scene)
        now = scene.world.fingerprint()
        right = now["oid"] == scene.old["oid"] and content(now) == content(scene.old)
        found = [] if right else ["the old database is not live again, whole"]
        found += [] if scene.service.state() == "running" else ["the servers are stopped"]
        undone = [name for name, oid in scene.world.databases().items() if oid == self.databases[LIVE]["oid"]]
        return found + (self.is_new(scene, scene.world.fingerprint(undone[0])) if undone else ["what was written since is not kept"])


def differing(one, other):
    """Return in words what differs between two fingerprints' contents, or two dicts of tables."""
    if one is None or other is None:
        return "one of them is not there"
    names = [name for name in sorted(set(one) | set(other)) if one.get(name) != other.get(name)]
    if "tables" in one and "tables" in other:
        return "; ".join(differing(one[name], other[name]) if isinstance(one[name], dict) else name for name in names)
    return ", ".join("%s (%s, %s)" % (name, one.get(name), other.get(name)) for name in names[:4])
