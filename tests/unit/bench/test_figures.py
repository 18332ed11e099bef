"""The bench's arithmetic: gaps, ratios, the table."""
from __future__ import annotations

import pytest

from tests.bench import data, figures
from tests.bench.__main__ import arguments
from tests.bench.prober import longest_gap

NAMES = {"backup", "pg_dump", "stage", "stage.create", "stage.load", "stage.prove", "pg_restore"}
NAMES |= {"procedure", "assess", "validate", "swap", "finish"}
NAMES |= {"playbook", "playbook.stage", "playbook.validate", "downtime_reads", "downtime_servers"}
NAMES |= {name for name, _words in figures.MEMORY_LINES}
LOADED = {name for name, _words in figures.LOAD_LINES + figures.MEMORY_LINES[:1]}
ALONE = {name for name, _words in figures.PARTIAL_LINES + figures.PARTIAL_MEMORY_LINES}


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


def test_ansibles_share_is_what_the_engine_did_not_do():
    sample = one_round(**{"playbook": 20.0, "playbook.stage": 12.0, "playbook.validate": 1.0, "assess": 2.0, "swap": 0.5, "finish": 0.5})
    assert sample["ansible"] == 4.0


def result(**figures_of):
    size = dict(size_mb=750.0, bytes=777e6, agents=300, messages=300000, passages=15000, rows=683659, tables=49, archive_bytes=2e8)
    full = dict(size, **figures.summarise([one_round(**figures_of)]))
    alone = dict(size, **figures.summarise([figures.complete(dict(dict.fromkeys(ALONE, 1.0), partial=2.5, scratch=10.0))]))
    large = dict(alone, size_mb=3000.0, bytes=3.1e9)
    loaded = dict(size, shape="vectors", **figures.summarise([figures.complete(dict(dict.fromkeys(LOADED, 1.0), stage=0.5, psql=2.0))]))
    machine = dict(cores=2, processor="P", memory_bytes=1 << 34, load_before=0.1, load_after=2.0)
    used = dict(server="18.6", pgvector="0.8.6", tools="18.6", compression="gzip:1", jobs=2, ansible_core="2.19", python="3.11")
    return dict(date="d", command="make bench", rounds=1, machine=machine, used=used, full=[full], partial=[alone, large], load=[loaded])


def test_the_table_has_a_line_for_every_figure_and_names_what_was_used():
    text = figures.table(result(stage=12.5, pg_restore=10.0, memory_restore=50 << 20))
    assert "| Stage with proof ÷ bare `pg_restore -j` | **1.25** (1.25–1.25) | ≤ 1.3 at the full size |" in text
    assert "| Peak memory of the restore's Python | 50 MiB | < 200 MiB |" in text
    ratio = "| `agent_restore`, deleted as Letta does ÷ scratch database and COPY | **0.25** (0.25–0.25) | **0.25** (0.25–0.25) |"
    assert ratio + " ≤ 0.25 and ≤ 0.10 |" in text
    assert "| Stage with proof ÷ `pg_restore -j` from zstd | **0.50** (0.50–0.50) | ≤ 0.50 vectors, ≤ 1.05 messages |" in text
    lines = figures.LINES + figures.MEMORY_LINES + figures.PARTIAL_LINES + figures.PARTIAL_MEMORY_LINES
    lines += figures.LOAD_LINES + figures.MEMORY_LINES[:1]
    assert text.count("\n| ") == 3 * 2 + len(lines) + len(figures.RATIO_LINES)
    assert [line for line in text.splitlines() if line.startswith("- 3100 MB")], "the third size is named"
    for used in ("18.6", "0.8.6", "gzip:1", "2 cores", "300000 messages", "make bench"):
        assert used in text


def test_the_chart_has_a_bar_for_each_way_to_load_and_the_longest_fills_it():
    bars = {line.split("  ")[1]: line for line in figures.table(result()).splitlines() if "█" in line}
    assert [line.count("█") for line in bars.values()] == [12, 24, 24, 24, 48, 24]
    assert bars["psql, plain script"].endswith(" 2.00 s")


def test_a_part_that_was_not_measured_has_no_table():
    measured = result()
    del measured["full"], measured["load"]
    assert "Backup" not in figures.table(measured)
    assert "`agent_restore`" in figures.table(measured)


def test_every_figure_that_is_compared_has_a_line():
    assert set(figures.RATIO_LINES) == set(figures.RATIOS)
    assert {name for name, _words in figures.LINES} >= {"stage", "pg_restore", "backup", "pg_dump", *figures.GOALS}


def test_the_default_size_is_that_of_the_figures_to_start_from():
    assert data.counts(750) == {"agents": 301, "messages": 300_600, "passages": 15_030}
    assert data.wanted_agent(data.counts(750)) == "agent-300"


def test_the_statements_take_the_numbers_and_keep_the_casts():
    text = data.fill_statements({"agents": 3, "messages": 800, "passages": 40})
    assert "generate_series(1, 800 - 600) n" in text
    assert not [name for name in (":agents", ":messages", ":passages", ":own_") if name in text]
    assert "::vector(4096)" in text


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
