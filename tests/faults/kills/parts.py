"""Backup, partial restore, pruning, reconciling what is live, and Redis."""
from __future__ import annotations

import os
import time

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import catalogue, retention
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.verify import verify_set
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.findings import FAIL
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial import ending
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial.carry_out import carry_out
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.redisserver import RedisServer
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import journal as journals
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.reconcile import changes, engine
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.redis import align
from tests.integration import partial_kit
from tests.integration.partial_engine_kit import Part
from tests.integration.restore_kit import content

from .full import INTERRUPTED, RECONCILED, differing, interrupt
from .operation import Operation, moments
from .stand import PASSWORD, SHAPE

WITHOUT_POSTGRES = ("controller", "module", "group")
AGENT = "agent-00000000-0000-4000-8000-000000000001"
DATABASE = 3


def damaged(root):
    """Return what is wrong with the sets that a store shows."""
    found = []
    for info in catalogue.list_sets(root):
        found += [] if info.usable else ["%s cannot be used: %s" % (info.id, info.reason)]
        bad = [finding for finding in verify_set(info.path, deep=False) if finding.status == FAIL] if info.usable else []
        found += ["%s: %s" % (info.id, finding.detail) for finding in bad]
    return found


class Backup(Operation):
    """A backup of the live database into a store that has an older set."""

    name = "backup"

    @property
    def parts(self):
        return [self.take]

    def take(self, scene, _who, _facts):
        scene.world.backup()

    def after_kill(self, scene):
        now = content(scene.world.fingerprint())
        changed = ["live changed: %s" % differing(now, content(scene.old))] if now != content(scene.old) else []
        return changed + damaged(scene.world.root)

    def at_end(self, scene):
        newest = catalogue.list_sets(scene.world.root)[0]
        held = {name: (table["rows"], table["digest"]) for name, table in manifests.load(newest.path)["tables"].items()}
        return self.after_kill(scene) + ([] if held == scene.old["tables"] else ["the newest set is not what live holds"])


class Partial(Operation):
    """An agent that was deleted comes back."""

    name = "partial restore"
    journal = moments(("apply",))

    def prepare(self):
        self.stand.copy(SHAPE, "without_agent")
        partial_kit.delete_agent(self.stand.pg.server("letta", PASSWORD, "without_agent"), AGENT)

    @property
    def parts(self):
        return [self.plan, self.apply, self.finish]

    def reset(self):
        return self.stand.scene("without_agent")

    def _part(self, scene):
        world = scene.world
        return Part(world.pg, world.database, world.root, self.stand.set_dir.name)

    def plan(self, scene, who, _facts):
        begun = self._part(scene).plan(agents=[AGENT], controller=who)
        return {"run_dir": begun["run_dir"], "over": not begun["run_dir"]}

    def apply(self, scene, who, facts):
        part = self._part(scene)
        journal = journals.Journal.load(facts["run_dir"])
        carry_out(part.server, part.database, journal, part.options(agents=[AGENT], controller=who))

    def finish(self, scene, _who, facts):
        ending.finish(scene.world.admin, scene.world.root, journals.Journal.load(facts["run_dir"]))

    def rescue(self, scene, who, facts):
        if facts.get("run_dir"):
            ending.fail(scene.world.admin, scene.world.root, journals.Journal.load(facts["run_dir"]), {})

    def after_kill(self, scene):
        now, old, new = scene.world.fingerprint()["tables"], scene.old["tables"], self.stand.saved["tables"]
        return [] if now in (old, new) else ["live is neither: %s; %s" % (differing(now, old), differing(now, new))]

    def at_end(self, scene):
        now, new = scene.world.fingerprint()["tables"], self.stand.saved["tables"]
        return [] if now == new else ["the agent is not back: %s" % differing(now, new)]

    def leftovers(self, scene):
        runs = journals.list_runs(os.path.join(scene.world.root, ".runs"), journals.PARTIAL)[0]
        found = ["%s is %s" % (item.run_id, item.data["status"]) for item in runs if item.data["status"] in journals.UNFINISHED]
        found += ["rows of %s" % item.run_id for item in runs if os.path.exists(os.path.join(item.run_dir, ending.SLICE))]
        folders = {name for name in os.listdir(os.path.join(scene.world.root, ".runs")) if journals.RUN_ID.fullmatch(name)}
        found += ["folder %s" % name for name in folders - {item.run_id for item in runs}]
        return found + super().leftovers(scene)


class Prune(Operation):
    """A store of five sets is pruned to two."""

    name = "prune"
    victims = WITHOUT_POSTGRES

    def prepare(self):
        self.sets = [self.stand.take_set(SHAPE) for _number in range(5)]
        # Two that were taken within a second have the order of their names, as everywhere.
        self.keep = set(sorted(path.name for path in self.sets)[-2:])

    @property
    def parts(self):
        return [self.prune]

    def reset(self):
        scene = self.stand.scene(live=None, sets=self.sets)
        for path in self.sets:
            catalogue.note_verified(scene.world.root, manifests.load(str(path)), [], "files", "pass")
        return scene

    def prune(self, scene, _who, _facts):
        retention.prune(scene.world.root, {"last": 2})

    def after_kill(self, scene):
        missing = self.keep - {info.id for info in catalogue.list_sets(scene.world.root)}
        return ["a set to keep is gone: %s" % name for name in missing] + damaged(scene.world.root)

    def at_end(self, scene):
        root = scene.world.root
        found = {info.id for info in catalogue.list_sets(root)}
        notes = {name.partition(".")[0] for name in os.listdir(os.path.join(root, ".catalog"))}
        wrong = [] if found == self.keep else ["the sets are %s" % sorted(found)]
        return wrong + damaged(root) + ["the note of a removed set: %s" % name for name in notes - found]


class Reconcile(Operation):
    """Interrupted work in the live database is closed."""

    name = "reconcile"
    waits = False

    def prepare(self):
        interrupt(self.stand)

    @property
    def parts(self):
        return [self.reconcile]

    def reset(self):
        scene = self.stand.scene(INTERRUPTED, sets=())
        (scene.folder / "undo").mkdir()
        return scene

    def reconcile(self, scene, _who, _facts):
        engine.reconcile(scene.world.live, changes.Options(), True, str(scene.folder / "undo" / ("%d.jsonl" % time.time_ns())))

    def after_kill(self, scene):
        now, old = scene.world.fingerprint()["tables"], scene.old["tables"]
        if now == old:
            return []
        wrong = {name for name in now if now[name] != old.get(name)} - RECONCILED
        return ["tables that nothing should change: %s" % ", ".join(sorted(wrong))] if wrong else self._taken_back(scene, check=True)

    def at_end(self, scene):
        under_way = scene.world.sql("SELECT 1 FROM letta.runs WHERE status = 'running'")
        return (["a run is under way"] if under_way else []) + self._taken_back(scene)

    def _taken_back(self, scene, check=False):
        """What was written is whole when its images, which were on disk before, bring back every row there was."""
        newest = max(scene.folder.joinpath("undo").glob("*.jsonl"), key=lambda path: path.name)
        try:
            engine.undo(scene.world.live, str(newest), check)
        except RecoveryError as error:
            return ["what was closed cannot be taken back: %s" % error]
        now, old = scene.world.fingerprint()["tables"], scene.old["tables"]
        return ["what was closed is not what was taken back: %s" % differing(now, old)] if not check and now != old else []


class Align(Operation):
    """Letta's keys are dropped from a Redis that others use too."""

    name = "redis align"
    victims = WITHOUT_POSTGRES

    @property
    def parts(self):
        return [self.align]

    def reset(self):
        scene = self.stand.scene(live=None, sets=())
        client = self.stand.redis.client(db=DATABASE)
        client.flushdb()
        uuid = "6a0ff4d6-6f9e-4f0c-8d0b-%012x"
        client.mset({"agent:send_message:run_id:agent-" + uuid % number: "run-" + uuid % number for number in range(6000)})
        client.mset({"mine:%d" % number: number for number in range(6000)})
        client.close()
        return scene

    def align(self, _scene, _who, _facts):
        redis = self.stand.redis
        align(RedisServer(redis.host, redis.port, redis.password, timeout=5, database=DATABASE))

    def after_kill(self, scene):
        client = self.stand.redis.client(db=DATABASE)
        found = client.mget(["mine:%d" % number for number in range(6000)])
        client.close()
        return [] if found == [str(number) for number in range(6000)] else ["keys of another application are gone"]

    def at_end(self, scene):
        client = self.stand.redis.client(db=DATABASE)
        left = client.dbsize() - 6000
        client.close()
        return self.after_kill(scene) + (["%d of Letta's keys are still there" % left] if left else [])
