"""Writes docs/faults.md of tests/faults/families.yml, the marks of the tests, their last results and the guards seen to matter.

Usage: faults.py run [ARGUMENT OF PYTEST ...]     run every test that is marked, note the results, write the page
       faults.py matrix [ARGUMENT OF PYTEST ...]  the same on every other server in turn (tests/lab/servers.py)
       faults.py write                            write the page only
       faults.py check                            say what is missing or out of date; exit 1 if anything is
"""
from __future__ import annotations

import contextlib
import datetime
import io
import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import Any

import fault_guards
import fault_servers
import pytest
import yaml
from common import CACHE, ROOT, run

FAMILIES = ROOT / "tests" / "faults" / "families.yml"
RESULTS = ROOT / "tests" / "faults" / "results.json"
KILLS = ROOT / "tests" / "faults" / "kills.json"
PAGE = ROOT / "docs" / "faults.md"

INTRO = """# Faults: what happens, and what is true afterwards

Each row is a family of things that go wrong. None of them loses data, and each has tests that bring the fault about on purpose; they are
named [below](#the-tests-of-each-fault). `make faults` runs all of them (`make test` does too) and writes this page anew from
`tests/faults/families.yml`, the marks of the tests and `tests/faults/results.json`. The classes of failures are explained in
[failures.md](failures.md). Last result: of the tests of that row, and the day of the oldest of their last runs.
"""
KILLED = """## Kill points

Every operation is killed with SIGKILL: its controller alone, its module at work alone, PostgreSQL with all its processes, the whole process
group. First at every step of its journal, then at moments drawn over the time it takes; the next run comes when all is quiet, or while what
outlived its controller still works. After each kill live is the old database or the new one, by digests of its content; the next run ends
well, and leaves no database, role, lock, open journal, session, process or temporary file behind. Pruning and Redis do not touch
PostgreSQL, which is not killed there.
"""
ALL_POINTS = 2000
VICTIMS = ("controller", "module", "postgres", "group")
Marks = dict[str, list[tuple[int, tuple[str, ...]]]]


class Collector:
    """A plugin of pytest that keeps the marks of everything collected."""

    def __init__(self) -> None:
        self.marks: Marks = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            marks = item.iter_markers("fault")
            self.marks[item.nodeid] = [(int(mark.args[0]), tuple(map(str, mark.args[1:]))) for mark in marks]


def collect() -> Marks:
    """Node id -> the faults it shows, of every test there is."""
    collector, said = Collector(), io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main(["--collect-only", "-q", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"),
                            *(str(ROOT / "tests" / name) for name in ("unit", "meta", "integration", "faults"))], plugins=[collector])
    if code:
        sys.exit(f"The tests cannot be collected:\n{said.getvalue()[-3000:]}")
    return collector.marks


def read(path: Any, empty: Any) -> Any:
    """The content of a YAML or JSON file, which is YAML too."""
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else empty


def families() -> list[dict]:
    """All families, in their order."""
    return [family for group in read(FAMILIES, {})["groups"] for family in group["families"]]


def shown(marks: Marks) -> dict[tuple[int, str], dict[str, int]]:
    """(Number, case) -> {test: how many of it there are}. A test of many parameters is named once when all of them show the same."""
    whole: dict[str, set[str]] = {}
    for node in marks:
        whole.setdefault(node.split("[")[0], set()).add(node)
    found: dict[tuple[int, str], set[str]] = {}
    for node, faults in marks.items():
        for number, cases in faults:
            for case in cases or ("",):
                found.setdefault((number, case), set()).add(node)
    tests: dict[tuple[int, str], dict[str, int]] = {}
    for key, nodes in found.items():
        named = {node.split("[")[0] if whole[node.split("[")[0]] <= nodes else node for node in nodes}
        tests[key] = {name: sum(1 for node in nodes if node == name or node.split("[")[0] == name) for name in sorted(named)}
    return tests


def missing(declared: list[dict], tests: dict[tuple[int, str], dict[str, int]]) -> list[str]:
    """What is declared and not tested, or tested and not declared."""
    said, known = [], set()
    for family in declared:
        reasons = family.get("untested", {})
        for case in family.get("cases", {"": ""}):
            known.add((family["number"], case))
            if ((family["number"], case) in tests) == (case in reasons):
                said.append(f"fault {family['number']} {case}: needs either a test or a reason why there is none")
    said += [f"fault {number} {case!r} is not declared: {', '.join(tests[number, case])}" for number, case in sorted(set(tests) - known)]
    numbers = [family["number"] for family in declared]
    return said + ([] if numbers == list(range(1, len(numbers) + 1)) else [f"the numbers of the families are {numbers}"])


def result(tests: dict[str, int], results: dict[str, dict]) -> str:
    """What is known of these tests, in a few words."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for name in tests:
        for outcome in counts:
            counts[outcome] += results.get(name, {}).get(outcome, 0)
    days = sorted(results[name]["on"] for name in tests if name in results)
    if not days:
        return "not run"
    words = [f"{counts['passed']} of {sum(tests.values())} passed"]
    words += [f"{counts[outcome]} {outcome}" for outcome in ("failed", "skipped") if counts[outcome]]
    return f"{', '.join(words)} ({days[0]})"


def row(cells: Iterable[object]) -> str:
    """A line of a table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def table(heads: str, rows: list[str]) -> list[str]:
    """A table with its head."""
    names = heads.split(",")
    return [row(names), row(["---"] * len(names)), *rows, ""]


def listing(family: dict, tests: dict[tuple[int, str], dict[str, int]]) -> list[str]:
    """The section of a family: its cases and their tests."""
    lines = [f"### Fault {family['number']}", "", f"{family['fault']}.", ""]
    for case, sentence in family.get("cases", {"": ""}).items():
        indent = "  " if case else ""
        lines += [f"- **{case}**: {sentence}"] if case else []
        lines += [f"{indent}- `{name}`" for name in tests.get((family["number"], case), {})]
        lines += [f"{indent}- no test: {family['untested'][case]}"] if case in family.get("untested", {}) else []
    return [*lines, ""]


def killed() -> list[str]:
    """The section on kill points: what was run last, and the line that runs it again."""
    done = read(KILLS, {})
    if not done:
        return [KILLED, "Not run yet: `make kills`.", ""]
    versions = ", ".join(f"{name} {version}" for name, version in done["versions"].items())
    lost = f"lost: points {', '.join(map(str, done['losses']))}" if done["losses"] else "none lost"
    counted = done["operations"].items()
    rows = [row((name, *(counts.get(victim, "") for victim in VICTIMS), sum(counts.values()))) for name, counts in counted]
    whole = "in a row" if done["points"] >= ALL_POINTS else f"of {ALL_POINTS} so far"
    text = (f"**{done['points']} points {whole}, {lost}**; {done['at_steps']} of them at steps of journals, the others at random moments. "
            f"{done['date']}, {done['seconds']} s of work ({done['seconds'] / max(done['points'], 1):.2f} s a point) on {done['machine']}; "
            f"{versions}; engine `{done['engine']}`.")
    line = f"make kills ARGS='--seed {done['seed']} --write'"
    again = f"`{line}` does all of 2 000, or what is left of them with this engine. A loss names the line that repeats its point alone."
    return [KILLED, *table(",".join(("operation", *VICTIMS, "all")), rows), text, again, ""]


def by_file(marks: Marks) -> dict[str, int]:
    """{File of tests: how many of it show a fault}."""
    found: dict[str, int] = {}
    for node, faults in marks.items():
        if faults:
            found[node.split("::")[0]] = found.get(node.split("::")[0], 0) + 1
    return found


def page(marks: Marks) -> str:
    """The whole page."""
    results, tests, files = read(RESULTS, {}), shown(marks), by_file(marks)
    lines = [INTRO]
    for group in read(FAMILIES, {})["groups"]:
        rows = []
        for family in group["families"]:
            number = family["number"]
            own = {name: count for key, found in tests.items() if key[0] == number for name, count in found.items()}
            link = f"[{sum(own.values())}](#fault-{number})"
            texts = (family["fault"], family["happens"], family["afterwards"], f"`{family['failure_class'].replace(', ', '` `')}`")
            rows.append(row((number, *texts, link, result(own, results))))
        lines += [f"## {group['title']}", "", *table("#,fault,what happens,what is true afterwards,class,tests,last result", rows)]
    servers = [row(cells) for cells in fault_servers.rows(files)]
    lines += [fault_servers.INTRO, *table("server,tests run,passed,skipped,failed,oldest run", servers), *fault_servers.missing(files)]
    lines += ["## The tests of each fault", ""]
    for family in families():
        lines += listing(family, tests)
    guards = table("fault,guard,tests that fall without it,last seen", [row(cells) for cells in fault_guards.rows()])
    lines += [*killed(), fault_guards.INTRO, fault_guards.counted(marks), "", *guards]
    return "\n".join(lines).rstrip() + "\n"


def note(report: Any, tests: dict[tuple[int, str], dict[str, int]]) -> None:
    """Takes the outcomes of a JUnit file into the results; what was not run keeps what was known of it, what is gone goes."""
    results, today = read(RESULTS, {}), datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    names = {name for found in tests.values() for name in found}
    ran: dict[str, dict[str, Any]] = {}
    for case in ET.parse(report).iter("testcase"):
        node = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        outcome = next((fault_servers.OUTCOMES[child.tag] for child in case if child.tag in fault_servers.OUTCOMES), "passed")
        for name in {node, node.split("[", maxsplit=1)[0]} & names:
            counts = ran.setdefault(name, {"on": today})
            counts[outcome] = counts.get(outcome, 0) + 1
    kept = {name: counts for name, counts in {**results, **ran}.items() if name in names}
    lines = [f"  {json.dumps(name)}: {json.dumps(kept[name], sort_keys=True)}" for name in sorted(kept)]
    RESULTS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def run_marked(arguments: list[str], report: Any, choice: dict[str, str] | None = None) -> int:
    """Runs every test that is marked, on the servers that the environment or ``choice`` names; returns pytest's exit code."""
    report.unlink(missing_ok=True)
    return run([sys.executable, "-m", "pytest", "-m", "fault", f"--junitxml={report}", *arguments], extra=choice)


def run_matrix(arguments: list[str], report: Any) -> int:
    """Runs them on every other server in turn; returns the last exit code that was not 0."""
    code = 0
    for server, choice in fault_servers.known().items():
        print(f"faults: on {server}", flush=True)
        code = run_marked([*arguments, *fault_servers.arguments(server)], report, choice) or code
        if report.exists():
            fault_servers.note(report, server)
    report.unlink(missing_ok=True)
    return code


def main() -> int:
    """Does what was asked for."""
    verb, *arguments = sys.argv[1:] or ["write"]
    if verb not in ("run", "matrix", "write", "check"):
        print(__doc__, file=sys.stderr)
        return 2
    code, report = 0, CACHE / "faults.xml"
    if verb == "run":
        code = run_marked(arguments, report)
    elif verb == "matrix":
        code = run_matrix(arguments, report)
    marks = collect()
    tests = shown(marks)
    said = missing(families(), tests) + [f"{test} was never seen to fall without a guard" for test in fault_guards.unguarded(marks)]
    for line in said:
        print(line)
    if verb == "check":
        stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page(marks)
        print("docs/faults.md is not what tools/faults.py writes: python tools/faults.py write" if stale else "", end="\n" if stale else "")
        return bool(said or stale)
    if report.exists() and verb == "run":
        # What other servers say is no result of these.
        if server := fault_servers.chosen():
            fault_servers.note(report, server)
        else:
            note(report, tests)
    PAGE.write_text(page(marks), encoding="utf-8")
    return code or bool(said)


if __name__ == "__main__":
    sys.exit(main())
