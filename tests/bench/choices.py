"""What each choice of how we load and dump is worth: the same work with that one choice undone, in turn with the work as it is."""
from __future__ import annotations

from contextlib import nullcontext

from tests.bench import effort
from tests.bench.lines import CPU

# figure: what :func:`undo` undoes
STAGES = ("durable", "memory", "autovacuum", "helpers", "pg_restore", "one_connection", "digests_first", "digests_after", "statistics")
DUMPS = {"backup.level_1": {"compression": "zstd:1"}, "backup.level_3": {"compression": "zstd:3"}, "backup.text": {"vectors": "text"}}


def undo(choice):
    """Undo one choice of the engine, in this process: what a worker does that measures it."""
    from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import building, copying, digest, load, planner

    if choice == "durable":
        load.SESSION_SETTINGS["synchronous_commit"] = "on"
    elif choice == "memory":
        building.SORT_MEMORY = "64MB"  # PostgreSQL's own default
    elif choice == "autovacuum":
        load.undisturbed = lambda *_args: nullcontext()
    elif choice == "helpers":
        load.session_settings = lambda jobs, cores=None: dict(load.SESSION_SETTINGS)  # whatever the server allows
    elif choice == "pg_restore":
        building.Building._sort_in = lambda *_args: None  # it makes all of section post-data
    elif choice == "one_connection":
        copying.text_tasks = _one(copying.text_tasks)
    elif choice == "digests_first":
        digest.Digesting.RANK = 0
    elif choice == "digests_after":
        digest.Digesting.tasks = _later(digest.Digesting.tasks)
    elif choice == "statistics":
        planner.carried = lambda *_args: ({}, [])
    else:
        raise ValueError("no such choice: %s" % choice)


class Choices:
    """Measures one :class:`~tests.bench.target.Target`."""

    def __init__(self, target):
        self.target = target
        self._zstd = "zstd" in target.tools.compressions

    def measure_once(self, turned):
        """Measure every choice once; ``turned`` reverses their order. :returns: {figure: value}"""
        target, sample = self.target, {}
        dumps = {name: changes for name, changes in DUMPS.items() if self._zstd or "compression" not in changes}
        steps = [("backup", lambda: target.backup()["backup"])]
        steps += [(name, lambda changes=changes: target.backup(**changes)["backup"]) for name, changes in dumps.items()]
        # The set to stage is that of the backup as it is.
        sample.update(self._measured(steps[:0:-1] + steps[:1]))
        stages = [("stage", target.staged)] + [("stage." + name, lambda name=name: target.staged(undone=name)) for name in STAGES]
        sample.update(self._measured(stages[::-1] if turned else stages))
        return sample

    def _measured(self, steps):
        sample = {}
        for name, step in steps:
            self.target.tidy()
            with effort.measured([self.target.postgres.pid()]) as spent:
                seconds = step()
            sample[name] = seconds["stage"] if isinstance(seconds, dict) else seconds
            sample[name + CPU] = spent.seconds
        self.target.tidy()
        return sample


def _one(text_tasks):
    def tasks(server, owner, archive, entry, settings, _jobs):
        return text_tasks(server, owner, archive, entry, settings, 1)

    return tasks


def _later(tasks):
    """Nothing is done beside; whoever asks for the result has it done then."""

    def none_yet(self, after=()):
        return [] if after else tasks(self)

    return none_yet
