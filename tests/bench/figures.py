"""From samples to medians, ratios and the table. Pure."""
from __future__ import annotations

from statistics import median

MIB = 1 << 20
# name of the ratio: (numerator, denominator, goal for the largest size)
RATIOS = {
    "stage_to_pg_restore": ("stage", "pg_restore", 1.3),
    "playbook_stage_to_pg_restore": ("playbook.stage", "pg_restore", 1.3),
    "playbook_to_pg_restore": ("playbook", "pg_restore", None),
    "ansible_of_playbook": ("ansible", "playbook", None),
    "backup_to_pg_dump": ("backup", "pg_dump", None),
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
}


def complete(sample):
    """Return one round's figures of one size with what follows from them.

    Ansible's share is the playbook's time without the seconds its modules report for staging and validating, and without what the same
    steps took when the engine did them alone in the same round.
    """
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
        values = [one[above] / one[below] for one in rounds]
        ratios[name] = {"median": median(values), "lowest": min(values), "highest": max(values)}
    return {"samples": samples, "medians": {name: median(values) for name, values in samples.items()}, "ratios": ratios}


def table(result):
    """Return the result as Markdown: what was used, then one line per figure and one column per size."""
    sizes = result["sizes"]
    titles = ["%.0f MB" % (size["bytes"] / 1e6) for size in sizes]
    lines = _head(result) + ["", "| | %s | goal |" % " | ".join(titles), "| --- |%s --- |" % (" ---: |" * len(sizes))]
    for name, words in LINES:
        lines.append(_line(words, ["%.2f s" % size["medians"][name] for size in sizes], "< 2 s" if name in GOALS else ""))
    for name, words in RATIO_LINES.items():
        cells = ["**%.2f** (%.2f–%.2f)" % tuple(size["ratios"][name][key] for key in ("median", "lowest", "highest")) for size in sizes]
        goal = RATIOS[name][2]
        lines.append(_line(words, cells, "≤ %.1f at the full size" % goal if goal else ""))
    for name, words in MEMORY_LINES:
        # the highest, not the median: a limit is a limit
        lines.append(_line(words, ["%.0f MiB" % (max(size["samples"][name]) / MIB) for size in sizes], "< 200 MiB"))
    return "\n".join(lines)


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
    for size in result["sizes"]:
        lines.append(
            "%.0f MB: %d agents, %d messages, %d passages of 4096 dimensions, %d rows in %d tables; archive %.0f MB"
            % (
                size["bytes"] / 1e6, size["agents"], size["messages"], size["passages"], size["rows"], size["tables"],
                size["archive_bytes"] / 1e6,
            )
        )
    return ["- " + line for line in lines]
