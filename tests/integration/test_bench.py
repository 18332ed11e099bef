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
    assert [size["size_mb"] for size in result["sizes"]] == [0.5, 5]
    wanted = {name for name, _words in figures.LINES + figures.MEMORY_LINES}
    for size in result["sizes"]:
        assert wanted <= set(size["medians"])
        assert all(value > 0 for name, value in size["medians"].items()), size["medians"]
        assert [len(samples) for samples in size["samples"].values()] == [1] * len(size["samples"])
        assert {name for name, ratio in size["ratios"].items() if ratio["lowest"] > 0} == set(figures.RATIOS)


def test_the_larger_database_is_larger_and_holds_what_was_asked_for(bench):
    _done, result, _folder = bench
    small, large = result["sizes"]
    assert (large["messages"], large["passages"], large["tables"]) == (2000, 100, 49)
    assert (small["messages"], small["passages"], small["tables"]) == (200, 10, 49)
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
