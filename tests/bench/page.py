"""The result as Markdown: tables, bars, and the blocks of ``docs/performance.md`` that hold them."""
from __future__ import annotations

import re

from tests.bench import lines as told
from tests.bench.lines import MIB, PARTS, RATIOS

BAR = 48  # characters
BEGIN, END = "<!-- bench %s: begin, written by `make bench WRITE=1` -->", "<!-- bench %s: end -->"


def table(result):
    """Return the whole result: what was used, then for each part one line per figure and one column per size."""
    parts = _measured(result)
    lines = _head(result, parts)
    # Of a part that could not be measured at all there is a note, and nothing else.
    lines += _notes(result, [part for part in result["notes"] if part not in parts])
    return "\n".join([*lines, *(line for part in parts for line in _body(result, part))])


def block(result, part):
    """Return what stands between the two marks of a part."""
    return "\n".join([*_head(result, [part]), *_body(result, part)])


def missing(text, parts):
    """Return the parts that a page has no place for."""
    return [part for part in parts if not _place(part).search(text)]


def rewritten(text, result):
    """Return a page with the blocks of every part of the result made anew; all else of it stays.

    :raises ValueError: when a part has no place there.
    """
    parts = _measured(result)
    if missing(text, parts):
        raise ValueError("the page has no marks for: %s" % ", ".join(missing(text, parts)))
    for part in parts:
        new = "\n\n".join([BEGIN % part, block(result, part), END % part])
        text = _place(part).sub(lambda _found, new=new: new, text)
    return text


def chart(sizes, figures):
    """Return a block of text with a bar per figure and size, as long as it took; within one size all to one scale."""
    figures = [(name, words.replace("`", "")) for name, words in figures]
    width = max(len(words) for _name, words in figures)
    lines = ["", "```text"]
    for size in sizes:
        longest = max(size["medians"][name] for name, _words in figures)
        lines.append(_title(size))
        for name, words in figures:
            bar = "█" * max(1, round(BAR * size["medians"][name] / longest))
            lines.append("  %s  %s %.2f s" % (words.ljust(width), bar, size["medians"][name]))
    return [*lines, "```"]


def _measured(result):
    return [part for part in PARTS if part in result]


def _place(part):
    return re.compile("%s.*?%s" % (re.escape(BEGIN % part), re.escape(END % part)), re.DOTALL)


def _body(result, part):
    """Return the lines of one part: its table, then its chart."""
    sizes, (figures, memory, bars) = result[part], PARTS[part]
    there = sizes[0]["medians"]  # tools may lack a compression
    figures = [line for line in figures if line[0] in there]
    lines = ["", "| | %s | goal |" % " | ".join(map(_title, sizes)), "| --- |%s --- |" % (" ---: |" * len(sizes))]
    for name, words in figures:
        lines.append(_line(words, [_cell(size["medians"], name) for size in sizes], "< 2 s" if name in told.GOALS else ""))
    for name in sizes[0]["ratios"]:
        cells = ["**%.2f** (%.2f–%.2f)" % tuple(size["ratios"][name][key] for key in ("median", "lowest", "highest")) for size in sizes]
        lines.append(_line(RATIOS[name][0], cells, _goal(RATIOS[name][3], part)))
    for name, words in memory:
        # the highest, not the median: a limit is a limit
        lines.append(_line(words, ["%.0f MiB" % (max(size["samples"][name]) / MIB) for size in sizes], "< 200 MiB"))
    shown = [(name, dict(figures)[name]) for name in bars if name in there]
    return lines + (chart(sizes, shown) if shown else [])


def _cell(medians, name):
    """Return seconds, and in brackets what was used of the processor where that is known."""
    if name in told.COUNTS:
        return "%d" % medians[name]
    beside = ["%.2f s cpu" % medians[name + told.CPU]] if name + told.CPU in medians else []
    if name + told.INSTRUCTIONS in medians:
        beside.append("%.1f G" % (medians[name + told.INSTRUCTIONS] / 1e9))
    return "%.2f s%s" % (medians[name], " (%s)" % ", ".join(beside) if beside else "")


def _title(size):
    shape = size.get("shape", "mixed")
    return "%s%.0f MB" % (shape + ", " if shape in ("vectors", "messages") else "", size["bytes"] / 1e6)


def _goal(goal, part):
    if isinstance(goal, tuple):  # of that part's two sizes
        if part != "partial":
            return ""
        return " and ".join("≤ %.2f" % one for one in goal)
    if isinstance(goal, str):
        return goal
    return "≤ %.1f at the full size" % goal if goal else ""


def _line(words, cells, goal):
    return "| %s | %s | %s |" % (words, " | ".join(cells), goal)


def _head(result, parts):
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
    ]  # fmt: skip
    for size in {size["bytes"]: size for part in parts for size in result[part]}.values():
        lines.append(
            "%.0f MB: %d agents, %d messages, %d passages of 4096 dimensions, %d rows in %d tables; set %.0f MB"
            % (
                size["bytes"] / 1e6, size["agents"], size["messages"], size["passages"], size["rows"], size["tables"],
                size["archive_bytes"] / 1e6,
            )
        )  # fmt: skip
    return ["- " + line for line in lines] + _notes(result, parts)


def _notes(result, parts):
    return ["- " + note for note in dict.fromkeys(note for part in parts for note in result["notes"].get(part, ()))]
