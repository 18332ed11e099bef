"""The bench on a database of a few megabytes: every figure is measured, nothing is left. How fast it was is not judged here."""
from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.bench import ROOT, figures
from tests.lab import places

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """The finished bench: its process, its result and its folder."""
    folder = tmp_path_factory.mktemp("bench")
    environment = dict(os.environ, KEEP="0")
    argv = [sys.executable, "-m", "tests.bench", "--size", "5", "--rounds", "1"]
    argv += ["--folder", folder / "lab", "--output", folder / "bench.json"]
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stderr[-4000:]
    return done, json.loads((folder / "bench.json").read_text(encoding="utf-8")), folder / "lab"


def test_every_figure_of_both_sizes_was_measured(bench):
    _done, result, _folder = bench
    parts = {
        "full": ([0.5, 5], figures.LINES + figures.MEMORY_LINES),
        "partial": ([5, 20], figures.PARTIAL_LINES + figures.PARTIAL_MEMORY_LINES),
        "load": ([1.25, 5, 1.25, 5], figures.LOAD_LINES),
    }
    for part, (sizes, lines) in parts.items():
        assert [size["size_mb"] for size in result[part]] == sizes
        for size in result[part]:
            assert {name for name, _words in lines} <= set(size["medians"])
            assert all(value > 0 for name, value in size["medians"].items()), size["medians"]
            assert [len(samples) for samples in size["samples"].values()] == [1] * len(size["samples"])
            assert all(ratio["lowest"] > 0 for ratio in size["ratios"].values())
    full, alone, load = (set(result[part][0]["ratios"]) for part in parts)
    assert alone == {"partial_to_scratch", "wiped_to_scratch"}
    assert load == {name for name in figures.RATIOS if name.startswith(("stage_to_", "backup_to_"))} - full
    assert full | alone | load == set(figures.RATIOS)


def test_the_parts_of_bringing_one_agent_back_are_within_it(bench):
    _done, result, _folder = bench
    for size in result["partial"]:
        seconds = {name.partition(".")[2]: value for name, value in size["medians"].items() if name.startswith("partial.")}
        assert sum(seconds[name] for name in ("check", "select", "cut", "compare")) < seconds["planned"]
        assert sum(seconds[name] for name in ("again", "undo", "write", "prove")) < seconds["applied"]


def test_the_larger_database_is_larger_and_holds_what_was_asked_for(bench):
    _done, result, _folder = bench
    small, large = result["full"]
    assert (large["messages"], large["passages"], large["tables"]) == (2600, 130, 49)
    assert (small["messages"], small["passages"], small["tables"]) == (800, 40, 49)
    assert large["bytes"] > small["bytes"]
    assert large["archive_bytes"] > small["archive_bytes"] > 0


def test_the_result_names_server_tools_and_machine(bench):
    _done, result, _folder = bench
    assert all(result["used"].values()), result["used"]
    assert result["used"]["settings"]["fsync"] == "on"
    assert result["machine"]["cores"] == os.cpu_count()
    assert result["command"] == "make bench SIZE=5 ROUNDS=1"


def test_what_is_printed_is_the_table_of_the_result(bench):
    done, result, _folder = bench
    assert done.stdout.strip() == figures.table(result)


def test_no_server_and_no_set_is_left(bench):
    _done, _result, folder = bench
    home = places.home_for(folder, "postgresql")  # made anew by asking for it
    assert list(home.iterdir()) == []
    home.rmdir()
    assert [path.name for path in folder.iterdir()] == ["bench.lock"]
