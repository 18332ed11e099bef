# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an agent is shown of a file, as Letta 0.16.8 writes it (read in its line chunker): numbered lines, or sentences, of a window."""
from __future__ import annotations

import re

TRUNCATED = "...[TRUNCATED]\n# NOTE: This block is truncated, use functions to view the full content."
LINES, INDENTED, SENTENCES = "lines", "indented lines", "sentences"
_SENTENCES = {"text/markdown"}
_INDENTED = {
    "text/x-python", "text/javascript", "text/x-typescript", "text/x-java-source", "text/x-c++", "text/x-c", "text/x-csharp", "text/x-php",
    "text/x-ruby", "text/x-go", "text/x-rust", "text/x-swift", "text/x-kotlin", "text/x-scala", "text/x-r", "text/x-objective-c",
    "text/html", "text/x-vue", "text/x-jsx", "text/x-tsx", "text/x-shellscript", "text/x-powershell", "text/x-batch", "text/x-dockerfile",
    "text/x-sql",
}  # fmt: skip
# Ending of the name -> how it is split, where the file has no type; every other ending goes by lines.
_ENDINGS = dict.fromkeys((".md", ".markdown"), SENTENCES)
_ENDINGS.update(dict.fromkeys((
    ".py", ".js", ".ts", ".java", ".cpp", ".cxx", ".c", ".h", ".cs", ".php", ".rb", ".go", ".rs", ".swift", ".kt", ".scala", ".r", ".m",
    ".html", ".htm", ".vue", ".jsx", ".tsx", ".sh", ".bash", ".ps1", ".bat", ".cmd", ".dockerfile", ".sql",
), INDENTED))  # fmt: skip


def _kind(file_type, name):
    if file_type:
        return SENTENCES if file_type in _SENTENCES else INDENTED if file_type in _INDENTED else LINES
    found = re.search(r"[^/.][^/]*(\.[^./]*)$", name or "")
    return _ENDINGS.get(found.group(1), LINES) if found else LINES


def _split(text, kind):
    if kind == SENTENCES:
        parts = (re.sub(r"\s+", " ", part.strip()) for part in re.split(r"(?<=[.!?])\s+(?=[A-Z])", text.strip()))
    elif kind == INDENTED:
        parts = (line.rstrip() for line in text.splitlines())
    else:
        parts = (line.strip() for line in text.splitlines())
    return [part for part in parts if part]


def shown(text, file_type, name, start=None, end=None):
    """Return what the agent is shown of a file.

    :param text: of the whole file. :param file_type: MIME type or None. :param name: of the file.
    :param start: first line, from 1, or None; :param end: last line, or None.
    :returns: text; None when the window begins beyond the end of the file.
    """
    if not text:
        return ""
    kind = _kind(file_type, name)
    lines = _split(text, kind)
    total, word, first = len(lines), "sentences" if kind == SENTENCES else "lines", (start or 1) - 1
    if start is not None and first >= total:
        return None
    last = min(end, total) if end is not None else None
    if start is not None and last is not None:
        head = "[Viewing %s %d to %d (out of %d %s)]" % (word, first + 1, last, total, word)
    elif start is not None:
        head = "[Viewing %s %d to end (out of %d %s)]" % (word, first + 1, total, word)
    else:
        head = "[Viewing file start (out of %d %s)]" % (total, word)
    return "\n".join([head] + ["%d: %s" % (number + first + 1, line) for number, line in enumerate(lines[first:last])])


def refreshed(content, whole, limit):
    """Return what a view is to hold: None when it fits already.

    :param content: what it holds. :param whole: of :func:`shown`. :param limit: characters that the agent is shown of a file.
    :returns: text, cut as Letta's REST API does where it was cut before; else whole, and Letta cuts it when it is read.
    """
    cut = content.endswith(TRUNCATED)
    if content == whole or (cut and whole.startswith(content[: -len(TRUNCATED)])):
        return None
    if cut and len(whole) > limit:
        return whole[: max(0, limit - len(TRUNCATED))] + TRUNCATED
    return whole
