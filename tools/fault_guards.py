"""The guards that tests of faults stand for: which tests fall without which, what was seen of it, and their part of docs/faults.md."""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml
from common import ROOT

MUTATIONS = ROOT / "tests" / "faults" / "mutations.yml"
SEEN = ROOT / "tests" / "faults" / "mutations-seen.json"
INTRO = """## Guards that were taken away

A test that cannot fail proves nothing. Each line names a guard in the code and the tests that were seen to fall when it is taken away:
`tests/faults/mutations.yml` says how, `make mutations` does it again, in a copy of the checkout.
"""
Entries = dict[str, dict[str, Any]]
Sightings = dict[str, dict[str, str]]


def entries() -> Entries:
    """Every guard: {name: {"fault", "guard", "file", "take", "leave", "falls": [node ids of tests]}}."""
    return yaml.safe_load(MUTATIONS.read_text(encoding="utf-8"))


def seen() -> Sightings:
    """{name of a guard: {node id of a test: day on which it was last seen to fall without it}}."""
    return json.loads(SEEN.read_text(encoding="utf-8"))


def note(sightings: Sightings, known: Entries) -> None:
    """Writes what was seen, without what is no longer declared."""
    of = {name: sightings.get(name, {}) for name in known}
    kept = {name: {test: of[name][test] for test in entry["falls"] if test in of[name]} for name, entry in known.items() if of[name]}
    SEEN.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def functions(marks: Mapping[str, Iterable[object]]) -> set[str]:
    """The tests of these marks that show a fault, each once for all its parameters."""
    return {node.split("[")[0] for node, faults in marks.items() if faults}


def unguarded(marks: Mapping[str, Iterable[object]]) -> list[str]:
    """The tests that show a fault and were never seen to fall without a guard."""
    return sorted(functions(marks) - {test.split("[")[0] for tests in seen().values() for test in tests})


def counted(marks: Mapping[str, Iterable[object]]) -> str:
    """The sentence on how many tests the rows name."""
    rest, every = unguarded(marks), functions(marks)
    named = f"{len(every) - len(rest)} of the {len(every)}" if rest else f"All {len(every)}"
    return f"{named} tests of faults are among them, each counted once for all its parameters; {len(entries())} guards in all."


def rows() -> Iterator[tuple[object, ...]]:
    """The cells of each row: fault, guard, the tests that fall without it, the day on which the last of them was seen to."""
    sightings = seen()
    for name, entry in entries().items():
        place = f"`{entry['file'].removeprefix('plugins/module_utils/_engine/')}`"
        days = sightings.get(name, {})
        last = min(days.values()) if set(days) >= set(entry["falls"]) else "not yet"
        yield entry["fault"], f"{entry['guard']} ({place})", "<br>".join(f"`{test}`" for test in entry["falls"]), last
