# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Git-backed memory as Letta 0.16.5 to 0.16.8 keeps it: which file of a repository is which block, and what it says. Pure.

Since ``services/memory_repo``: the repository of an agent with the tag :data:`GIT_TAG` lies in
``<memfs>/repository/<organisation>/<agent>/repo.git``; block ``label`` is the file ``<label>.md``, YAML between two lines of ``---`` and
then the value. The commit that ``HEAD`` names is the source of truth, rows of ``block`` are a copy.
"""
from __future__ import annotations

import hashlib
from typing import Any

try:
    import yaml as _yaml

    yaml: Any = _yaml
except ImportError:  # not every host that keeps the files has it
    yaml = None

GIT_TAG = "git-memory-enabled"
# Where repositories may lie below a folder that was backed up: ~/.letta itself, memfs in it, or the innermost folder.
PLACES = ("memfs/repository", "repository", "")
REPOSITORY = "*/agent-*/repo.git"
# {schema} -> the blocks of agents with git-backed memory; agents without blocks have one row with an empty label.
ROWS = """
SELECT a.id, a.organization_id, b.label, b.value FROM {schema}.agents_tags t JOIN {schema}.agents a ON a.id = t.agent_id
  LEFT JOIN {schema}.blocks_agents l ON l.agent_id = a.id LEFT JOIN {schema}.block b ON b.id = l.block_id AND NOT b.is_deleted
  WHERE t.tag = %s AND NOT a.is_deleted
"""
EQUAL, BEHIND, DIFFERS, MISSING, CORRUPT, UNCHECKED = "equal", "rows_behind", "differs", "missing", "corrupt", "unchecked"


def label_of(path):
    """Return the label of the block that a file is, None for a file that is no block."""
    if not path.endswith(".md"):
        return None
    if path.startswith("skills/"):
        parts = path.split("/")
        return "skills/" + parts[1] if len(parts) == 3 and parts[1] and parts[2] == "SKILL.md" else None
    return path[:-3]


def digest(text):
    """Return the digest of a block's value, as Letta would read it from git: lines end in one character, no NUL."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return hashlib.sha256(plain.encode("utf-8", "surrogateescape")).hexdigest()


def values_of(content):
    """Return the digests that the value of a file may have: one, or two where only a YAML parser could tell and there is none.

    :param content: bytes.
    """
    text = content.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n")
    front, found, body = text[4:].partition("\n---\n") if text.startswith("---\n") else ("", "", "")
    if not found:
        return [digest(text)]
    if yaml is None:
        return [digest(body), digest(text)]
    try:
        is_front = isinstance(yaml.safe_load(front), dict)
    except yaml.YAMLError:
        is_front = False
    return [digest(body if is_front else text)]


def agree(rows, files):
    """Tell whether rows are what the files say. :param rows: {label: digest}. :param files: {label: digests}."""
    return set(rows) == set(files) and all(rows[label] in files[label] for label in rows)
