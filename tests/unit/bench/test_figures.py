"""The bench's arithmetic: gaps, ratios, the table."""
from __future__ import annotations

import pytest

from tests.bench import ROOT, data, figures, lines, page
from tests.bench.__main__ import arguments
from tests.bench.prober import longest_gap

NAMES = {"backup", "pg_dump", "stage", "stage.create", "stage.load", "stage.prove", "pg_restore"}
NAMES |= {"procedure", "assess", "validate", "swap", "finish"}
NAMES |= {"playbook", "playbook.stage", "playbook.validate", "downtime_reads", "downtime_servers"}
NAMES |= {name for name, _words in lines.MEMORY}
LOADED = {name for name, _words in lines.LOAD + lines.MEMORY[:1]}
ALONE = {name for name, _words in lines.PARTIAL + lines.PARTIAL_MEMORY}
FILED = ALONE | {name for name, _words in lines.AGENT_FILE}


def one_round(**figures_of):
    return figures.complete(dict(dict.fromkeys(NAMES, 1.0), **figures_of))


def reads(*moments):
    """Reads of 10 ms that end at these moments; a negative moment is a read that failed."""
    return [{"began": abs(moment) - 0.01, "ended": abs(moment), "read": moment > 0} for moment in moments]


def test_the_gap_runs_from_the_last_read_before_the_swap_to_the_first_one_after_it():
    assert longest_gap(reads(1.0, 1.1, -1.2, -1.3, -1.4, 1.5, 1.6), began=1.15, ended=1.45) == pytest.approx(0.4)


def test_a_gap_that_only_begins_or_ends_in_the_swap_counts_whole():
    assert longest_gap(reads(1.0, 2.0, 2.1, 3.0), began=1.9, ended=2.2) == pytest.approx(1.0)


def test_a_gap_elsewhere_does_not_count():
    assert longest_gap(reads(1.0, 5.0, 5.1, 5.2, 9.0), began=5.05, ended=5.15) == pytest.approx(0.1)


@pytest.mark.parametrize("moments", [(-1.0, -2.0), (1.0, 1.1, -1.2, -1.3), (-1.0, -1.1, 1.4, 1.5), ()])
def test_a_prober_without_reads_on_both_sides_has_nothing_to_tell(moments):
    with pytest.raises(RuntimeError, match="no successful reads"):
        longest_gap(reads(*moments), began=1.05, ended=1.3)


def test_ratios_are_taken_within_a_round_so_that_a_change_of_load_does_not_move_them():
    quiet, busy = one_round(stage=12.0, pg_restore=10.0), one_round(stage=24.0, pg_restore=20.0)
    summary = figures.summarise([quiet, busy, busy])
    assert summary["ratios"]["stage_to_pg_restore"] == {"median": 1.2, "lowest": 1.2, "highest": 1.2}
    assert summary["medians"]["stage"] == 24.0
    assert summary["samples"]["stage"] == [12.0, 24.0, 24.0]


def test_a_figure_that_one_round_lacks_is_left_out_with_its_ratio():
    counted = one_round(**{"stage.instructions": 2.0, "pg_restore.zstd.instructions": 1.0})
    assert "stage_instructions_to_zstd_instructions" in figures.summarise([counted])["ratios"]
    summary = figures.summarise([counted, one_round()])
    assert "stage.instructions" not in summary["medians"]
    assert "stage_instructions_to_zstd_instructions" not in summary["ratios"]


def test_ansibles_share_is_what_the_engine_did_not_do():
    sample = one_round(**{"playbook": 20.0, "playbook.stage": 12.0, "playbook.validate": 1.0, "assess": 2.0, "swap": 0.5, "finish": 0.5})
    assert sample["ansible"] == 4.0


def result(**figures_of):
    size = dict(size_mb=750.0, bytes=777e6, agents=300, messages=300000, passages=15000, rows=683659, tables=49, archive_bytes=2e8)
    full = dict(size, **figures.summarise([one_round(**figures_of)]))
    alone = dict(size, **figures.summarise([figures.complete(dict(dict.fromkeys(ALONE, 1.0), partial=2.5, scratch=10.0))]))
    large = dict(alone, size_mb=3000.0, bytes=3.1e9)
    effort_of = {"stage.cpu": 3.0, "pg_restore.zstd.cpu": 2.0, "stage.instructions": 6e9, "pg_restore.zstd.instructions": 3e9}
    sample = dict(dict.fromkeys(LOADED, 1.0), stage=0.5, psql=2.0, **effort_of)
    loaded = dict(size, shape="vectors", **figures.summarise([sample]))
    filed = dict(size, **figures.summarise([dict(dict.fromkeys(FILED, 1.0), partial=3.0, **{"file.messages": 2996, "file.passages": 0})]))
    machine = dict(cores=2, processor="P", memory_bytes=1 << 34, load_before=0.1, load_after=2.0)
    used = dict(server="18.6", pgvector="0.8.6", tools="18.6", compression="gzip:1", jobs=2, ansible_core="2.19", python="3.11")
    parts = {"full": [full], "partial": [alone, large], "load": [loaded], "agent-file": [filed]}
    return dict(parts, date="d", command="make bench", rounds=1, machine=machine, used=used, notes={"load": ["a note of it"]})


def test_the_table_has_a_line_for_every_figure_and_names_what_was_used():
    text = page.table(result(stage=12.5, pg_restore=10.0, memory_restore=50 << 20))
    assert "| Stage with proof ÷ bare `pg_restore -j` | **1.25** (1.25–1.25) | ≤ 1.3 at the full size |" in text
    assert "| Peak memory of the restore's Python | 50 MiB | < 200 MiB |" in text
    ratio = "| `agent_restore`, deleted as Letta does ÷ scratch database and COPY | **0.25** (0.25–0.25) | **0.25** (0.25–0.25) |"
    assert ratio + " ≤ 0.25 and ≤ 0.10 |" in text
    assert "| Stage with proof ÷ `pg_restore -j` from zstd | **0.50** (0.50–0.50) | ≤ 0.50 vectors, ≤ 1.05 messages |" in text
    shown = [line for part in ("full", "partial", "load", "agent-file") for kind in lines.PARTS[part][:2] for line in kind]
    ratios = sum(len(size[0]["ratios"]) for size in (result()[part] for part in ("full", "partial", "load", "agent-file")))
    assert text.count("\n| ") == 4 * 2 + len(shown) + ratios
    assert [line for line in text.splitlines() if line.startswith("- 3100 MB")], "the third size is named"
    for used in ("18.6", "0.8.6", "gzip:1", "2 cores", "300000 messages", "make bench", "- a note of it"):
        assert used in text


def test_what_the_processor_did_is_beside_the_seconds_and_has_ratios_of_its_own():
    text = page.table(result())
    assert "| Stage: side database, load, analyse, proof | 0.50 s (3.00 s cpu, 6.0 G) |" in text
    assert "| `pg_restore -j`, gzip | 1.00 s |" in text
    assert "| Stage with proof ÷ `pg_restore -j` from zstd, processor seconds | **1.50** (1.50–1.50) |" in text
    assert "| Stage with proof ÷ `pg_restore -j` from zstd, instructions | **2.00** (2.00–2.00) |" in text


def test_what_an_agent_file_carries_is_counted_and_the_goal_is_its_time():
    text = page.block(result(), "agent-file")
    assert "| · messages that the imported agent has | 2996 |" in text
    assert "| · passages that the imported agent has | 0 |" in text
    assert "÷ export and import, which lose the passages | **3.00** (3.00–3.00) | ≤ 1.00 |" in text
    assert "≤ 0.25 and" not in text


def test_the_chart_has_a_bar_for_each_way_to_load_and_the_longest_fills_it():
    bars = {line.split("  ")[1]: line for line in page.block(result(), "load").splitlines() if "█" in line}
    assert [line.count("█") for line in bars.values()] == [12, 24, 24, 24, 48, 24, 24, 24]
    assert bars["psql, plain script"].endswith(" 2.00 s")


def test_a_part_that_was_not_measured_has_no_table_and_its_note_says_why():
    measured = result()
    del measured["full"], measured["load"]
    assert "Backup" not in page.table(measured)
    assert "`agent_restore`" in page.table(measured)
    assert "- a note of it" in page.table(measured)


def test_a_page_gets_the_blocks_of_what_was_measured_and_keeps_all_else():
    marks = {part: (page.BEGIN % part, page.END % part) for part in lines.PARTS}
    text = "words\n\n" + "\n\nmore words\n\n".join("%s\nold %s\n%s" % (begin, part, end) for part, (begin, end) in marks.items())
    measured = {name: value for name, value in result().items() if name not in ("full", "partial", "agent-file")}
    new = page.rewritten(text, measured)
    assert page.block(measured, "load") in new
    assert "old load\n" not in new
    assert all("old %s\n" % part in new for part in ("full", "partial", "load-four", "agent-file"))
    assert (new.count("words"), new.count("<!-- bench")) == (text.count("words"), text.count("<!-- bench"))
    assert page.rewritten(new, measured) == new
    with pytest.raises(ValueError, match="no marks for: load"):
        page.rewritten(text.replace(page.END % "load", ""), measured)


def test_the_page_of_the_project_has_a_place_for_every_part():
    assert page.missing((ROOT / "docs" / "performance.md").read_text(encoding="utf-8"), lines.PARTS) == []


def test_every_figure_that_is_compared_has_a_line():
    shown = {name for part in lines.PARTS.values() for name, _words in part[0]}
    compared = {name for _words, above, below, _goal in lines.RATIOS.values() for name in (above, below)}
    assert {name.removesuffix(lines.CPU).removesuffix(lines.INSTRUCTIONS) for name in compared} <= shown
    assert {name for name, _words in lines.FULL} >= set(lines.GOALS)


def test_the_default_size_is_that_of_the_figures_to_start_from():
    assert data.counts(750) == {"agents": 301, "messages": 300_600, "passages": 15_030}
    assert data.wanted_agent(data.counts(750)) == "agent-300"


def test_the_agent_that_letta_itself_carries_over_is_a_large_one():
    assert data.counts(750, "agent") == {"agents": 301, "messages": 303_000, "passages": 17_000}
    assert "generate_series(1, 303000 - 3000) n" in data.fill_statements(data.counts(750, "agent"), "agent")


def test_the_statements_take_the_numbers_and_keep_the_casts():
    text = data.fill_statements({"agents": 3, "messages": 800, "passages": 40})
    assert "generate_series(1, 800 - 600) n" in text
    assert not [name for name in (":agents", ":messages", ":passages", ":own_") if name in text]
    assert "::vector(4096)" in text


def test_parts_come_in_their_own_order_and_four_times_the_size_only_when_asked_for():
    assert list(arguments([]).parts) == ["full", "partial", "load", "choices", "agent-file"]
    assert list(arguments(["--only", "load-four", "full"]).parts) == ["full", "load-four"]
    assert arguments(["--databases", "letta_full", "messages_whole"]).parts == {
        "full": ["letta_full"], "partial": ["letta_full"], "load": ["messages_whole"], "choices": ["messages_whole"],
    }  # fmt: skip
    with pytest.raises(SystemExit):
        arguments(["--only", "full", "--databases", "messages_whole"])
    assert arguments([]).rounds == 5


def test_a_page_without_a_place_for_a_part_is_refused_before_anything_is_measured(tmp_path, capsys):
    (tmp_path / "page.md").write_text("\n".join([page.BEGIN % "load", page.END % "load"]))
    assert arguments(["--only", "load", "--write", str(tmp_path / "page.md")]).write
    with pytest.raises(SystemExit):
        arguments(["--write", str(tmp_path / "page.md")])
    assert "marks" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--size", "0"], ["--rounds", "0"], ["--jobs", "0"], ["--size", "much"]])
def test_numbers_that_measure_nothing_are_refused(wrong, capsys):
    with pytest.raises(SystemExit) as refusal:
        arguments(wrong)
    assert refusal.value.code == 2
    assert "must be at least 1" in capsys.readouterr().err or wrong[1] == "much"


def test_keep_comes_from_the_environment_of_make(monkeypatch):
    monkeypatch.setenv("KEEP", "1")
    assert arguments([]).keep
    monkeypatch.setenv("KEEP", "0")
    assert not arguments([]).keep
