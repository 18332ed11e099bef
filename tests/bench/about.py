"""On what was measured, with what, and what could not be had."""
from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.catalog import database_facts
from tests.bench import community, effort
from tests.lab.letta_install import letta_home

# Of the server, told with the result.
SETTINGS = ("shared_buffers", "max_wal_size", "fsync", "synchronous_commit", "wal_level")
LOADS = ("load", "load-four")
BESIDE = "Processor seconds of client and server together are beside the times"
COMPRESSIONS = ("zstd", "gzip", "lz4")


def used(target):
    """Return what was measured with: versions, tools, compression, settings of the server."""
    facts = database_facts(target.admin.database(target.name))
    return {
        "server": facts["server_version"],
        "pgvector": next(item["version"] for item in facts["extensions"] if item["name"] == "vector"),
        "tools": target.tools.version_text,
        "compression": target.compression,
        "jobs": target.jobs,
        "ansible_core": version("ansible-core"),
        "python": platform.python_version(),
        "settings": {name: target.postgres.execute("SHOW " + name)[0][0] for name in SETTINGS},
    }


def machine():
    """Return cores, processor, memory and system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cores": os.cpu_count(), "processor": _processor(), "memory_bytes": memory, "system": platform.platform()}


def load():
    """Return the load of the last minute."""
    return round(os.getloadavg()[0], 2)


def wants(parts, tools):
    """Look what the parts may use: returns ({"community": …, "instructions": …, "letta": …: there or not}, {part: [what is missing]})."""
    notes = {part: [BESIDE] if part != "full" else [] for part in parts}
    there = {"community": True, "letta": True, "instructions": False}
    loads = [part for part in parts if part in LOADS]
    if loads:
        there["instructions"] = effort.countable()
        why = _refused(community.collections)
        there["community"] = not why
        for part in loads:
            notes[part] = _of_loads(tools, there, why)
    if "agent-file" in parts:
        why = _refused(letta_home)
        there["letta"] = not why
        if why:
            notes["agent-file"] = ["Letta's own agent file was not measured: Letta cannot be installed here: %s" % why]
    return there, notes


def _of_loads(tools, there, why):
    notes = []
    lacking = [name for name in COMPRESSIONS if name not in tools.compressions]
    if lacking:
        left = ", ".join(name for name in COMPRESSIONS if name in tools.compressions)
        notes.append("These client tools do not know %s: compared with %s alone" % (" and ".join(lacking), left))
    if why:
        notes.append("`postgresql_db` was not measured: its collection cannot be had here: %s" % why)
    if there["instructions"]:
        return [*notes, BESIDE + ", and the instructions of the programs in 10⁹ (G)"]
    return [*notes, BESIDE + "; instructions are not counted here (no `perf`, or a machine without a counter for them)"]


def _refused(get):
    """Return why something cannot be had in one line, or None."""
    try:
        get()
    except (RuntimeError, OSError, subprocess.SubprocessError) as exc:
        return " ".join(str(exc).split())[:300] or type(exc).__name__
    return None


def _processor():
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux: the architecture has to do
    return platform.machine()
