# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Columns and their types, out of the DDL that an archive carries."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter

from ..errors import RecoveryError
from .toc import split_top_level, unquote

# What may follow a type in a column definition as pg_dump writes it.
_AFTER_TYPE = re.compile(
    r"\s(?:COLLATE|NOT NULL|NULL|DEFAULT|GENERATED|CONSTRAINT|PRIMARY KEY|UNIQUE|CHECK|REFERENCES|STORAGE|COMPRESSION|OPTIONS)\b"
)
_TABLE_CLAUSE = re.compile(r"^(?:CONSTRAINT|CHECK|PRIMARY|UNIQUE|FOREIGN|EXCLUDE|LIKE|NOT NULL)\b")
_DOMAIN = re.compile(r"^\s*CREATE DOMAIN (.+?) AS ", re.DOTALL)
_EXTENSION = re.compile(r"^CREATE EXTENSION (?:IF NOT EXISTS )?(.+?) WITH SCHEMA (.+);", re.DOTALL)
_QUOTED = re.compile(r'"(?:[^"]|"")*"|[^".]+')


def table_columns(entries):
    """Return ``{"schema.table": {column: type}}`` of all tables, with inherited columns, without generated ones.

    Types are written as pg_dump writes them (``character varying(10)``, ``letta.vector(4096)``).

    :raises RecoveryError: ``backup_corrupt`` when a table is its own ancestor, which no dump can say.
    """
    own, parents, names = {}, {}, {}
    for entry in entries:
        if entry.type == "TABLE":
            label = "%s.%s" % (entry.schema, entry.name)
            own[label], parents[label] = _parse_table(entry.definition)
            names[(entry.schema, entry.name)] = label
    result = {}
    known = {label: [names[parent] for parent in above if parent in names] for label, above in parents.items()}
    try:
        for label in TopologicalSorter(known).static_order():
            result[label] = {}
            for columns in [result[parent] for parent in known[label]] + [own[label]]:
                result[label].update(columns)
    except CycleError:
        raise RecoveryError("backup_corrupt", "a table of the archive inherits from itself") from None
    return {label: {name: kind for name, kind in result[label].items() if kind is not None} for label in own}


def _parse_table(definition):
    """Return ({column: type, None for a generated one}, [(schema, name) of each parent])."""
    body, rest = _body(definition)
    columns = {}
    for part in map(str.strip, split_top_level(body)):
        if not part or _TABLE_CLAUSE.match(part):
            continue
        name, kind = _split_name(part)
        after = _AFTER_TYPE.search(_blank_quotes(kind))
        tail = kind[after.start() :] if after else ""
        generated = "GENERATED ALWAYS AS (" in _blank_quotes(tail)
        columns[unquote(name)] = None if generated else (kind[: after.start()] if after else kind).strip()
    inherits = re.match(r"\s*INHERITS \((.*?)\)", rest, re.DOTALL)
    parents = [split_name(part.strip()) for part in split_top_level(inherits.group(1))] if inherits else []
    return columns, parents


def _blank_quotes(text):
    """Return ``text`` with the inside of quotes replaced by ``x``, positions kept."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", lambda match: "x" * len(match.group()), text)


def _body(definition):
    """Return (what is between the outermost parentheses of a CREATE TABLE, what follows them)."""
    blank = _blank_quotes(definition)
    start = blank.find("(")
    if start < 0 or " OF " in blank[:start]:
        return "", ""
    depth = 0
    for position in range(start, len(blank)):
        depth += {"(": 1, ")": -1}.get(blank[position], 0)
        if depth == 0:
            return definition[start + 1 : position], definition[position + 1 :]
    return "", ""


def _split_name(part):
    found = re.match(r'"(?:[^"]|"")*"|\S+', part)
    end = found.end() if found else 0
    return part[:end], part[end:]


def split_name(text):
    """Return (schema, name) of a qualified SQL name; schema ``""`` when it is not qualified."""
    parts = [unquote(part) for part in _QUOTED.findall(text)]
    return (parts[-2] if len(parts) > 1 else "", parts[-1]) if parts else ("", "")


def domains(entries):
    """Return ``{qualified SQL name as written: type it stands for}`` of all domains."""
    result = {}
    for entry in entries:
        match = _DOMAIN.match(entry.definition) if entry.type == "DOMAIN" else None
        if match:
            kind = entry.definition[match.end() :].rstrip().rstrip(";")
            after = _AFTER_TYPE.search(_blank_quotes(kind))
            result[match.group(1)] = (kind[: after.start()] if after else kind).strip()
    return result


def extensions(entries):
    """Return ``{extension: schema it is installed in}``."""
    result = {}
    for entry in entries:
        match = _EXTENSION.match(entry.definition) if entry.type == "EXTENSION" else None
        if match:
            result[unquote(match.group(1))] = unquote(match.group(2))
        elif entry.type == "EXTENSION":
            result[entry.name] = ""
    return result


def value_kind(written, known_domains, vector_schema):
    """Reduce a written type to what its text form depends on.

    :returns: (base, is array): base without type modifiers, domains followed, and pgvector's types as ``vector``, ``halfvec``
        or ``sparsevec``; any other type of a user schema as written.
    """
    array = False
    for _unused in range(32):  # a domain over a domain over …; a cycle cannot be created, but an archive can be forged
        text = re.sub(r"\([^()]*\)", "", written).strip()
        while text.endswith("[]"):
            text, array = text[:-2].strip(), True
        if text not in known_domains:
            break
        written = known_domains[text]
    schema, name = split_name(text)
    if schema and name in ("vector", "halfvec", "sparsevec") and schema == vector_schema:
        return name, array
    return text, array
