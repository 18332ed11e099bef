"""The tests of faults on other servers than the default ones: what was noted of their runs, and the table of them in docs/faults.md.

Which servers there are and how one is chosen is tests/lab/servers.py. Noted is, for each server and file of tests, how its last run ended.
"""
from __future__ import annotations

import datetime
import importlib
import json
import os
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import Any

from common import ROOT

sys.path.insert(0, str(ROOT))
servers: Any = importlib.import_module("tests.lab.servers")

RESULTS = ROOT / "tests" / "faults" / "servers.json"
OUTCOMES = {"failure": "failed", "error": "failed", "skipped": "skipped"}
COUNTED = ("passed", "skipped", "failed")
NAMES = {servers.POSTGRES: "PostgreSQL", servers.REDIS: "Redis"}
INTRO = """## Servers

All of the above are results on PostgreSQL 18 and Valkey. `make faults-matrix` runs the same tests on the other servers that
`tests/lab/servers.py` knows, one after the other, and notes here what came of it. PostgreSQL 15 is that of Debian 12's packages, with
pgvector built from the source package of a newer Debian in a folder of the checkout; where apt, gcc or make is missing it is left out.
"""


def known() -> dict[str, dict[str, str]]:
    """Every other server as {name of its row: the environment that chooses it}."""
    return {f"{NAMES[variable]} {other.release}": {**dict.fromkeys(servers.OTHERS, ""), variable: name}
            for variable, others in servers.OTHERS.items() for name, other in others.items()}  # fmt: skip


def chosen() -> str:
    """Name of the row of the servers that this environment chooses, empty for the default ones."""
    others = [row for row, choice in known().items() for variable, name in choice.items() if name and os.environ.get(variable) == name]
    return ", ".join(others)


def read() -> dict[str, dict[str, dict[str, Any]]]:
    """All that was noted: {row: {file of tests: {"on": day, outcome: how many}}}."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def counts(report: Any) -> dict[str, dict[str, Any]]:
    """What a JUnit file says: {file of tests: {"on": today, outcome: how many}}."""
    found: dict[str, dict[str, Any]] = {}
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    for case in ET.parse(report).iter("testcase"):
        name = case.get("classname", "").replace(".", "/") + ".py"
        outcome = next((OUTCOMES[child.tag] for child in case if child.tag in OUTCOMES), "passed")
        entry = found.setdefault(name, {"on": today})
        entry[outcome] = entry.get(outcome, 0) + 1
    return found


def note(report: Any, row: str) -> None:
    """Takes a JUnit file into what is known of a server; files that were not run keep what was known of them, files that are gone go."""
    noted = read()
    kept = {**noted.get(row, {}), **counts(report)}
    noted[row] = {name: entry for name, entry in kept.items() if (ROOT / name).exists()}
    lines = []
    for server in sorted(noted):
        files = [f"    {json.dumps(name)}: {json.dumps(noted[server][name], sort_keys=True)}" for name in sorted(noted[server])]
        lines.append(f"  {json.dumps(server)}: {{\n" + ",\n".join(files) + "\n  }")
    RESULTS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def concerned(row: str, declared: dict[str, int]) -> dict[str, int]:
    """Those of the files that a server is asked about: on another Redis those of Redis, all others never reach it."""
    return {name: count for name, count in declared.items() if not row.startswith(NAMES[servers.REDIS]) or "redis" in name}


def arguments(row: str) -> list[str]:
    """What pytest is told in order to run no more than these."""
    return ["-k", "redis"] if row.startswith(NAMES[servers.REDIS]) else []


def rows(declared: dict[str, int]) -> Iterable[tuple[object, ...]]:
    """Rows of the table, a server each.

    :param declared: {file of tests: how many of it show a fault}, of which each row says how many were run.
    """
    noted = read()
    for row in [*known(), *(name for name in noted if name not in known())]:
        ran, whole = noted.get(row, {}), sum(concerned(row, declared).values())
        total = {outcome: sum(entry.get(outcome, 0) for entry in ran.values()) for outcome in COUNTED}
        days = sorted(entry["on"] for entry in ran.values())
        yield (row, f"{sum(total.values())} of {whole}", *total.values(), days[0] if days else "not run")


def missing(declared: dict[str, int]) -> list[str]:
    """For each server the files of which nothing was run yet, in a sentence."""
    said = []
    for row, ran in read().items():
        left = sorted(name.removeprefix("tests/") for name in concerned(row, declared) if name not in ran)
        said += [f"Not run yet on {row}: {', '.join(f'`{name}`' for name in left)}.", ""] if left else []
    return said
