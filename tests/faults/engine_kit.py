"""Restores and rollbacks of the engine without Ansible: what the roles do, module call by module call, in their order.

A part is what one module call of a role does: function (world, service, options, facts) -> what the parts after it need to know, or
nothing; ``over`` among it ends the operation.
"""
from __future__ import annotations

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import (
    cutover,
    endings,
    in_place,
    phasenotes,
    rollback,
    runs,
    stage,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.reconcile import changes as reconciling
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.reconcile.phase import reconcile_side

GUESTS = cutover.Guests(session_timeout=5)


class Service:
    """A Letta server that is a file saying whether it runs."""

    def __init__(self, world):
        self.path = world.folder / "service"
        self.set("running")

    def set(self, state):
        self.path.write_text(state, encoding="utf-8")

    def state(self):
        return self.path.read_text(encoding="utf-8")


def in_order(parts, world, service, options):
    """Do parts one after the other."""
    facts: dict = {}
    for part in parts:
        facts.update(part(world, service, options, facts) or {})
        if facts.get("over"):
            return


def stop(journal, service):
    endings.note_services(journal, stopped=True)
    service.set("stopped")


def start(journal, service):
    service.set("running")
    endings.note_services(journal, stopped=False)


# -- a full restore --------------------------------------------------------------------------------------------------


def begin(world, service, options, _facts):
    """Phase assess."""
    begun = runs.begin(world.admin, options)
    if begun["plan"]["kind"] != "unchanged":
        return begun
    if begun["services_stopped"]:
        service.set("running")
    return {"over": True}


def make_room(world, service, options, begun):
    """Servers are stopped, a safety set is taken and live dropped, in place only."""
    if begun["staged"] or options.mode != "in_place" or begun["plan"]["kind"] != "replace":
        return
    journal = Journal.load(begun["run_dir"])
    stop(journal, service)
    safety = take.take_backup(take.BackupOptions(server=world.live, root=world.root, bin_dir=world.bin_dir, jobs=1, kind="safety"))
    in_place.remove_live(world.admin, journal, begun["names"], safety["id"])


def load(world, _service, _options, begun):
    """Phase stage."""
    if begun["staged"]:
        return
    journal, manifest = Journal.load(begun["run_dir"]), manifests.load(begun["set_dir"])
    loading = stage.StageOptions(begun["set_dir"], begun["names"]["side"], begun["owner"], 1, world.bin_dir)
    stage.stage_set(world.admin, manifest, loading, journal)
    phasenotes.note_phase(journal, "stage", "ok", 1.0)


def reconcile(world, _service, _options, begun):
    """Phase reconcile."""
    if "reconcile" in begun["phases"]:
        journal, manifest = Journal.load(begun["run_dir"]), manifests.load(begun["set_dir"])
        reconcile_side(world.admin.database(begun["names"]["side"]), reconciling.Options(), True, journal, manifest["tables"])


def cut_over(world, service, _options, begun):
    """Phase cutover: servers are stopped, databases exchanged."""
    if not begun["swapped"]:
        _exchange(world, service, begun, cutover.swap_in)


def _exchange(world, service, begun, swap):
    journal = Journal.load(begun["run_dir"])
    stop(journal, service)
    swap(world.admin, journal, begun["names"], GUESTS)


def serve_again(_world, service, _options, begun):
    """Servers are started, whichever database is live."""
    start(Journal.load(begun["run_dir"]), service)


def finish(world, _service, options, begun):
    """The run is ended well."""
    endings.finish(world.admin, world.root, Journal.load(begun["run_dir"]), options.phases)


RESTORING = (begin, make_room, load, reconcile, cut_over, serve_again, finish)


def restore(world, service, options):
    """Do what role letta_restore does."""
    in_order(RESTORING, world, service, options)


# -- a rollback ------------------------------------------------------------------------------------------------------


def begin_back(world, _service, options, _facts):
    """The run to take back is found."""
    return rollback.begin(world.admin, options)


def cut_back(world, service, _options, begun):
    """Servers are stopped, databases exchanged."""
    if not begun["swapped_back"]:
        _exchange(world, service, begun, cutover.swap_back)


def finish_back(world, _service, _options, begun):
    """The rollback is ended well."""
    rollback.finish(world.admin, world.root, Journal.load(begun["run_dir"]))


TAKING_BACK = (begin_back, cut_back, serve_again, finish_back)


def take_back(world, service, options):
    """Do what rollback.yml does."""
    in_order(TAKING_BACK, world, service, options)


# -- what the rescue of a role does ----------------------------------------------------------------------------------


def put_back(world, service, journal, of_rollback=False):
    """Put things right after a part failed or was killed, in the controller that outlived it.

    :returns: the ending, as :func:`endings.fail` gives it.
    """
    failure = {"failure_class": "manual_help_needed" if of_rollback else "", "message": "the module was killed"}
    try:
        if of_rollback:
            ending = rollback.fail(world.admin, world.root, journal, failure)
        else:
            ending = endings.fail(
                world.admin, world.root, journal, failure, lambda run: in_place.bring_back(world.admin, world.root, run, world.bin_dir)
            )
    except RecoveryError as error:
        ending = endings.not_put_right(journal, error)
    if ending["services_stopped"]:
        service.set("running")
    return ending
