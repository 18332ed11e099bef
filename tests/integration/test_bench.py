"""The bench on a database of a few megabytes: every figure is measured, nothing is left. How fast it was is not judged here."""
from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import find_tools
from tests.bench import ROOT, about, community, data, lines, page
from tests.bench.agent_file import AgentFile
from tests.bench.target import Target
from tests.lab import places

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """The finished bench: its process, its result and its folder."""
    folder = tmp_path_factory.mktemp("bench")
    environment = dict(os.environ, KEEP="0")
    argv = [sys.executable, "-m", "tests.bench", "--size", "5", "--rounds", "1"]
    # The part with a real Letta is measured below, on a smaller agent.
    argv += ["--folder", folder / "lab", "--output", folder / "bench.json", "--only", "full", "partial", "load", "choices"]
    argv += ["--write", folder / "page.md"]
    marks = [text for part in lines.PARTS for text in (page.BEGIN % part, "nothing yet", page.END % part)]
    (folder / "page.md").write_text("\n".join(["A page.", *marks, "Its end."]), encoding="utf-8")
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stderr[-4000:]
    return done, json.loads((folder / "bench.json").read_text(encoding="utf-8")), folder / "lab"


def test_every_figure_of_both_sizes_was_measured(bench):
    _done, result, _folder = bench
    for part, sizes in {"full": [0.5, 5], "partial": [5, 20], "load": [1.25, 5, 1.25, 5], "choices": [5, 5]}.items():
        assert [size["size_mb"] for size in result[part]] == sizes
        for size in result[part]:
            assert {name for kind in lines.PARTS[part][:2] for name, _words in kind} - absent(result, part) <= set(size["medians"])
            assert all(value > 0 for name, value in size["medians"].items()), size["medians"]
            assert [len(samples) for samples in size["samples"].values()] == [1] * len(size["samples"])
            assert all(ratio["lowest"] > 0 for ratio in size["ratios"].values())
    full, alone, load, undone = (set(result[part][0]["ratios"]) for part in ("full", "partial", "load", "choices"))
    assert alone == {"partial_to_scratch", "wiped_to_scratch"}
    assert load == {name for name in lines.RATIOS if name.startswith(("stage_", "backup_"))} - full - absent(result, "load")
    assert undone == {name for name in lines.RATIOS if name.endswith(("_to_stage", "_to_backup"))}
    rest = set(lines.RATIOS) - full - alone - load - undone
    assert {name for name in lines.RATIOS if "_to_file" in name} == rest - absent(result, "load")


def absent(result, part):
    """Return figures and ratios that a machine may lack, for which there is a sentence then."""
    if part != "load":
        return set()
    said = " ".join(result["notes"]["load"])
    names = {*lines.RATIOS, *(name for name, _words in lines.LOAD)}
    lacking = {name for name in names if "instructions" in name} if "instructions are not counted" in said else set()
    return lacking | ({name for name in names if "postgresql_db" in name} if "cannot be had" in said else set())


def test_what_each_way_to_load_used_of_the_processor_is_known(bench):
    _done, result, _folder = bench
    for size in result["load"]:
        medians = size["medians"]
        for name in lines.CHART:
            if name in medians:
                # Two workers and the server's processes on all cores; a wrong process would show as hours.
                assert 0 < medians[name + lines.CPU] < medians[name] * os.cpu_count() + 5, name


def test_the_page_has_the_parts_that_were_measured(bench):
    _done, result, folder = bench
    text = (folder.parent / "page.md").read_text(encoding="utf-8")
    assert all(page.block(result, part) in text for part in ("full", "partial", "load", "choices"))
    assert (text.count("nothing yet"), text[:7], text[-8:]) == (2, "A page.", "Its end.")


def test_a_real_letta_carries_the_agent_over_without_its_passages(pg, rich_bin_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "LARGE_OWN", {"own_messages": 80, "own_passages": 12})
    name = "bench_file_%s" % secrets.token_hex(4)
    target = Target(pg, tmp_path / "target", name, 1, secrets.token_urlsafe(12), find_tools(rich_bin_dir), 2, "zstd:3", "agent")
    try:
        target.prepare()
        # The other ways with one agent are measured above.
        monkeypatch.setattr(AgentFile, "steps", lambda self: [("file", self.file, None)])
        with AgentFile(target) as measured:
            things = measured._things()
            sample = measured.measure_once(turned=True)
            assert measured._things() == things, "an import leaves nothing for the next round"
    finally:
        target.tidy()
        pg.drop_database(name)
    assert {figure for figure, _words in set(lines.AGENT_FILE) - set(lines.PARTIAL)} | {"file" + lines.CPU} == set(sample)
    assert sample["file" + lines.CPU] > 0
    # All but the four of its conversation.
    assert (sample["file.messages"], sample["file.passages"]) == (76, 0)
    assert sample["file"] == sample["file.export"] + sample["file.import"] > 0


def test_what_cannot_be_had_is_left_out_and_said_in_a_sentence(monkeypatch, rich_bin_dir, pg):
    def nothing():
        raise RuntimeError("uv failed:\n  no network")

    monkeypatch.setattr(community, "collections", nothing)
    monkeypatch.setattr(about, "letta_home", nothing)
    there, notes = about.wants(["load", "agent-file"], find_tools(str(pg.bin_dir)))
    assert (there["community"], there["letta"]) == (False, False)
    assert notes["agent-file"] == ["Letta's own agent file was not measured: Letta cannot be installed here: uv failed: no network"]
    assert notes["load"][0] == "These client tools do not know zstd and lz4: compared with gzip alone"
    assert notes["load"][1] == "`postgresql_db` was not measured: its collection cannot be had here: uv failed: no network"
    _there, notes = about.wants(["load"], find_tools(rich_bin_dir))
    assert not [note for note in notes["load"] if "do not know" in note]


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
    assert result["command"] == "make bench SIZE=5 ROUNDS=1 ARGS='--only full partial load choices'"


def test_what_is_printed_is_the_table_of_the_result(bench):
    done, result, _folder = bench
    assert done.stdout.strip() == page.table(result)


def test_no_server_and_no_set_is_left(bench):
    _done, _result, folder = bench
    home = places.home_for(folder, "postgresql")  # made anew by asking for it
    assert list(home.iterdir()) == []
    home.rmdir()
    assert [path.name for path in folder.iterdir()] == ["bench.lock"]
