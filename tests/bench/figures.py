"""From samples to medians, ratios and the table. Pure."""
from __future__ import annotations

from statistics import median

MIB = 1 << 20
LOADS = ("load", "load-four")
# name of the ratio: (numerator, denominator, goal for the largest size or for each)
RATIOS = {
    "stage_to_pg_restore": ("stage", "pg_restore", 1.3),
    "playbook_stage_to_pg_restore": ("playbook.stage", "pg_restore", 1.3),
    "playbook_to_pg_restore": ("playbook", "pg_restore", None),
    "ansible_of_playbook": ("ansible", "playbook", None),
    "backup_to_pg_dump": ("backup", "pg_dump", None),
    "partial_to_scratch": ("partial", "scratch", (0.25, 0.10)),
    "wiped_to_scratch": ("wiped", "scratch", (0.25, 0.10)),
    "stage_to_zstd": ("stage", "pg_restore.zstd", "≤ 0.50 vectors, ≤ 1.05 messages"),
    "stage_to_gzip": ("stage", "pg_restore.gzip", "≤ 0.50 vectors"),
    "stage_to_psql": ("stage", "psql", None),
    "stage_to_floor": ("stage", "floor", "≤ 1.60 vectors"),
    "backup_to_zstd": ("backup", "pg_dump.zstd", "≤ 1.20"),
    "backup_to_gzip": ("backup", "pg_dump.gzip", "≤ 0.30"),
}
GOALS = {"downtime_reads": 2.0, "downtime_servers": 2.0}
MEMORY_GOAL = 200 * MIB
# What the playbook has the engine do besides staging and validating, which tell their own seconds.
_ENGINE_REST = ("assess", "swap", "finish")

# figure: (words, unit, in MiB)
LINES = (
    ("backup", "Backup: dump, digests, checksums"),
    ("pg_dump", "Bare `pg_dump -Fd -j`, same compression"),
    ("pg_restore", "Bare `pg_restore -j`, same archive"),
    ("stage", "Stage: side database, load, analyse, proof"),
    ("stage.create", "· create the side database"),
    ("stage.load", "· load"),
    ("stage.prove", "· analyse and prove, together"),
    ("assess", "Assess: checksums, plan"),
    ("validate", "Validate: every check"),
    ("swap", "Swap, engine only: fence, rename, read back"),
    ("procedure", "Whole restore by the engine alone"),
    ("playbook", "Whole `restore-full.yml`"),
    ("playbook.stage", "· its stage"),
    ("ansible", "· Ansible's share"),
    ("downtime_reads", "Longest gap between two reads around the swap"),
    ("downtime_servers", "Servers stopped until started (no-op commands)"),
)
PARTIAL_LINES = (
    ("partial", "One agent back by `agent_restore`, deleted as Letta does"),
    ("partial.planned", "· `planned`"),
    ("partial.check", "·· choose the set, check every file of it"),
    ("partial.select", "·· find the agent in the archive"),
    ("partial.cut", "·· cut its rows out of the archive"),
    ("partial.compare", "·· compare them with live"),
    ("partial.applied", "· `applied`"),
    ("partial.again", "·· compare again, under locks"),
    ("partial.undo", "·· write the undo"),
    ("partial.write", "·· write"),
    ("partial.prove", "·· prove"),
    ("partial.finished", "· `finished`"),
    ("partial.held", "New work of this agent kept waiting"),
    ("wiped", "One agent back by `agent_restore`, its archive and blocks gone too"),
    ("wiped.planned", "· `planned`"),
    ("wiped.cut", "·· cut its rows out of the archive"),
    ("wiped.applied", "· `applied`"),
    ("wiped.held", "New work of this agent kept waiting"),
    ("scratch", "`pg_restore -j` into a scratch database, COPY of its rows"),
    ("scratch.load", "· `pg_restore -j`"),
    ("scratch.copy", "· COPY"),
)
LOAD_LINES = (
    ("backup", "Backup: dump, vectors, digests, checksums"),
    ("pg_dump.zstd", "`pg_dump -Fd -j`, zstd"),
    ("pg_dump.gzip", "`pg_dump -Fd -j`, gzip (its default)"),
    ("stage", "Stage: side database, load, analyse, proof"),
    ("stage.load", "· load"),
    ("stage.prove", "· analyse and prove, together"),
    ("pg_restore.zstd", "`pg_restore -j`, zstd"),
    ("pg_restore.gzip", "`pg_restore -j`, gzip"),
    ("pg_restore.lz4", "`pg_restore -j`, lz4"),
    ("psql", "`psql`, plain script"),
    ("floor", "Floor: binary COPY without compression, indexes after"),
)
CHART = ("stage", "pg_restore.zstd", "pg_restore.gzip", "pg_restore.lz4", "psql", "floor")
BAR = 48  # characters
PARTIAL_MEMORY_LINES = (
    ("memory_partial", "Peak memory of `agent_restore`, deleted as Letta does"),
    ("memory_wiped", "Peak memory of `agent_restore`, archive and blocks gone too"),
)
MEMORY_LINES = (
    ("memory_backup", "Peak memory of the backup's Python"),
    ("memory_restore", "Peak memory of the restore's Python"),
    ("memory_pg_restore", "Peak memory of module `pg_restore`"),
    ("memory_playbook", "Peak memory of `ansible-playbook`, largest process"),
)
RATIO_LINES = {
    "stage_to_pg_restore": "Stage with proof ÷ bare `pg_restore -j`",
    "playbook_stage_to_pg_restore": "The playbook's stage ÷ bare `pg_restore -j`",
    "playbook_to_pg_restore": "Whole playbook ÷ bare `pg_restore -j`",
    "ansible_of_playbook": "Ansible's share of the playbook",
    "backup_to_pg_dump": "Backup ÷ bare `pg_dump -Fd -j`",
    "partial_to_scratch": "`agent_restore`, deleted as Letta does ÷ scratch database and COPY",
    "wiped_to_scratch": "`agent_restore`, archive and blocks gone too ÷ scratch database and COPY",
    "stage_to_zstd": "Stage with proof ÷ `pg_restore -j` from zstd",
    "stage_to_gzip": "Stage with proof ÷ `pg_restore -j` from gzip",
    "stage_to_psql": "Stage with proof ÷ `psql`",
    "stage_to_floor": "Stage with proof ÷ floor",
    "backup_to_zstd": "Backup ÷ `pg_dump -Fd -j` with zstd",
    "backup_to_gzip": "Backup ÷ `pg_dump -Fd -j` with gzip",
}


def complete(sample):
    """Return one round's figures of one size with what follows from them.

    Ansible's share is the playbook's time without the seconds its modules report for staging and validating, and without what the same
    steps took when the engine did them alone in the same round.
    """
    if "playbook" not in sample:
        return sample
    engine = sample["playbook.stage"] + sample["playbook.validate"] + sum(sample[name] for name in _ENGINE_REST)
    return dict(sample, ansible=sample["playbook"] - engine)


def summarise(rounds):
    """Return ``samples``, ``medians`` and ``ratios`` of the rounds of one size.

    A ratio is taken within each round, where both sides met the same load; its median and its range are kept.

    :param rounds: [{figure: value}], as :func:`complete` returns them.
    """
    samples = {name: [one[name] for one in rounds] for name in rounds[0]}
    ratios = {}
    for name, (above, below, _goal) in RATIOS.items():
        if above not in samples or below not in samples:
            continue
        values = [one[above] / one[below] for one in rounds]
        ratios[name] = {"median": median(values), "lowest": min(values), "highest": max(values)}
    return {"samples": samples, "medians": {name: median(values) for name, values in samples.items()}, "ratios": ratios}


def table(result):
    """Return the result as Markdown: what was used, then for each part one line per figure and one column per size."""
    lines = _head(result)
    if "full" in result:
        lines += _part(result["full"], LINES, MEMORY_LINES)
    if "partial" in result:
        lines += _part(result["partial"], PARTIAL_LINES, PARTIAL_MEMORY_LINES)
    for part in LOADS:
        if part in result:
            there = result[part][0]["medians"]  # tools may lack a compression
            lines += _part(result[part], [line for line in LOAD_LINES if line[0] in there], MEMORY_LINES[:1])
            lines += chart(result[part], [(name, dict(LOAD_LINES)[name]) for name in CHART if name in there])
    return "\n".join(lines)


def chart(sizes, figures):
    """Return a block of text with a bar per figure and size, as long as it took; within one size all to one scale."""
    figures = [(name, words.replace("`", "")) for name, words in figures]
    width = max(len(words) for _name, words in figures)
    lines = ["", "```text"]
    for size in sizes:
        longest = max(size["medians"][name] for name, _words in figures)
        lines.append("%s, %.0f MB" % (size["shape"], size["bytes"] / 1e6))
        for name, words in figures:
            seconds = size["medians"][name]
            bar = "█" * max(1, round(BAR * seconds / longest))
            lines.append("  %s  %s %.2f s" % (words.ljust(width), bar, seconds))
    return [*lines, "```"]


def _part(sizes, figures, memory):
    """Return the lines of one part's table."""
    titles = ["%s%.0f MB" % (size["shape"] + " " if size.get("shape", "mixed") != "mixed" else "", size["bytes"] / 1e6) for size in sizes]
    lines = ["", "| | %s | goal |" % " | ".join(titles), "| --- |%s --- |" % (" ---: |" * len(sizes))]
    for name, words in figures:
        lines.append(_line(words, ["%.2f s" % size["medians"][name] for size in sizes], "< 2 s" if name in GOALS else ""))
    for name in sizes[0]["ratios"]:
        cells = ["**%.2f** (%.2f–%.2f)" % tuple(size["ratios"][name][key] for key in ("median", "lowest", "highest")) for size in sizes]
        lines.append(_line(RATIO_LINES[name], cells, _goal(RATIOS[name][2])))
    for name, words in memory:
        # the highest, not the median: a limit is a limit
        lines.append(_line(words, ["%.0f MiB" % (max(size["samples"][name]) / MIB) for size in sizes], "< 200 MiB"))
    return lines


def _goal(goal):
    if isinstance(goal, tuple):
        return " and ".join("≤ %.2f" % one for one in goal)
    if isinstance(goal, str):
        return goal
    return "≤ %.1f at the full size" % goal if goal else ""


def _line(words, cells, goal):
    return "| %s | %s | %s |" % (words, " | ".join(cells), goal)


def _head(result):
    machine, used = result["machine"], result["used"]
    lines = [
        "%s · %d cores (%s), %.0f GiB memory, load %s before and %s after"
        % (
            result["date"], machine["cores"], machine["processor"], machine["memory_bytes"] / (1 << 30),
            machine["load_before"], machine["load_after"],
        ),
        "PostgreSQL %s with pgvector %s, client tools %s, %s, %d jobs; ansible-core %s, Python %s"
        % (
            used["server"], used["pgvector"], used["tools"], used["compression"], used["jobs"], used["ansible_core"], used["python"],
        ),
        "%d rounds, in turn; medians, ratios taken within each round (lowest–highest); command: `%s`"
        % (result["rounds"], result["command"]),
    ]
    for size in {size["bytes"]: size for part in ("full", "partial", *LOADS) for size in result.get(part, ())}.values():
        lines.append(
            "%.0f MB: %d agents, %d messages, %d passages of 4096 dimensions, %d rows in %d tables; set %.0f MB"
            % (
                size["bytes"] / 1e6, size["agents"], size["messages"], size["passages"], size["rows"], size["tables"],
                size["archive_bytes"] / 1e6,
            )
        )
    return ["- " + line for line in lines]
