"""Runs module ``agent_restore`` as Ansible does on its host, and writes where its time went to the file named in LETTA_BENCH_TIMES.

The arguments come as JSON on standard input, the module prints its result on standard output: it is the module itself, none of its
parts, in a process of its own. What is wrapped is only looked at with a clock.
"""
from __future__ import annotations

import json
import os
import time

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial import apply, begin, carry_out
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.processes import peak_memory
from ansible_collections.letta_ops.recovery.plugins.modules import agent_restore

# Name of the part -> (where it is called from, name there).
PARTS = {
    "check": (begin.assess, "choose_set"),
    "select": (begin.selection, "resolve"),
    "cut": (begin.slices, "cut"),
    "compare": (begin, "work_out"),
    "again": (carry_out, "work_out"),
    "undo": (apply, "save_before"),
    "write": (apply, "write"),
    "prove": (apply, "prove"),
}


def main():
    """Run the module; its exit is ours."""
    seconds = {}
    for part, (place, name) in PARTS.items():
        setattr(place, name, _clocked(getattr(place, name), seconds, part))
    try:
        agent_restore.main()
    finally:
        with open(os.environ["LETTA_BENCH_TIMES"], "w", encoding="utf-8") as stream:
            json.dump({"seconds": seconds, "peak_memory_bytes": peak_memory()}, stream)


def _clocked(function, seconds, part):
    def timed(*args, **named):
        began = time.perf_counter()
        try:
            return function(*args, **named)
        finally:
            seconds[part] = seconds.get(part, 0) + time.perf_counter() - began

    return timed


if __name__ == "__main__":
    main()
