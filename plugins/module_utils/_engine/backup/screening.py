# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an archive would run when it is restored: every object by its kind, its name, and its very statements.

The table of contents says what an object *is*; the statement beside it is what ``pg_restore`` *sends*. Whoever writes an archive by
hand can write ``TABLE`` over anything. So the statements are held against what ``pg_dump`` writes for a Letta database, and the
functions they call against a list of harmless ones: the session that runs them belongs to an administrator, and ``SET ROLE`` is no
wall against an expression that takes it back.
"""
from __future__ import annotations

import io
import re

from ..errors import RecoveryError
from ..postgres import planner
from ..postgres.load import is_prepared
from . import plainsql

# What Letta's schema consists of. Anything else can carry code or reach out of the database, and is refused by name.
ALLOWED_TYPES = frozenset(
    (
        "ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES", "SCHEMA", "COMMENT", "TABLE",
        "TABLE DATA", "TABLE ATTACH", "SEQUENCE", "SEQUENCE SET", "SEQUENCE OWNED BY", "DEFAULT", "CONSTRAINT",
        "FK CONSTRAINT", "CHECK CONSTRAINT", "INDEX", "INDEX ATTACH", "ACL", "DEFAULT ACL", "STATISTICS DATA",
    )
)
ALLOWED_EXTENSIONS = frozenset(("vector", "plpgsql"))
NEVER_RUN = ("DATABASE PROPERTIES",)  # with what load.is_prepared tells: made by ourselves, from checked names
# Kinds whose name is Letta's own choice: letters, digits and underscores, with the table before it for some.
_NAMED_BY_LETTA = frozenset(
    ("TABLE", "TABLE DATA", "SEQUENCE", "SEQUENCE SET", "SEQUENCE OWNED BY", "DEFAULT", "CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT",
     "INDEX", "TYPE")
)  # fmt: skip
_PLAIN_NAME = re.compile(r"[\w .$-]+")
_ID, _NAME = plainsql.ID, plainsql.NAME
_COPY = re.compile(r"COPY %s(?: \(%s(?:, %s)*\))? FROM stdin;\s*" % (_NAME, _ID, _ID))
_PARAMETERS = r"\([a-z_.]+='?[\w.+-]+'?(?:, [a-z_.]+='?[\w.+-]+'?)*\)"
_TABLE_PARAMETERS = re.compile(r"(CREATE (?:UNLOGGED )?TABLE .*\))\s*WITH %s;" % _PARAMETERS, re.DOTALL)
# What somebody may have tuned in a live database, beyond what a filtered SQL dump is allowed.
_TUNING = tuple(
    re.compile(pattern)
    for pattern in (
        r"ALTER TABLE (ONLY )?%s ALTER COLUMN %s SET (STATISTICS -?\d+|STORAGE [A-Z]+|COMPRESSION [a-z0-9]+);" % (_NAME, _ID),
        r"ALTER TABLE (ONLY )?%s ALTER COLUMN %s SET %s;" % (_NAME, _ID, _PARAMETERS),
        r"ALTER TABLE (ONLY )?%s REPLICA IDENTITY (FULL|NOTHING|DEFAULT|USING INDEX %s);" % (_NAME, _ID),
        r"ALTER TABLE (ONLY )?%s CLUSTER ON %s;" % (_NAME, _ID),
        r"ALTER INDEX %s ALTER COLUMN \d+ SET STATISTICS \d+;" % _NAME,
        r"ALTER DEFAULT PRIVILEGES FOR ROLE %s( IN SCHEMA %s)? (GRANT|REVOKE) [A-Z ,]+ ON [A-Z]+ +(TO|FROM) %s( WITH GRANT OPTION)?;"
        % (_ID, _ID, _ID),
    )
)
# The planner's statistics: names and texts, each with its type. Texts are the values of rows, with whatever is in them.
_FACT = r"\s*''(?:::\w+(?:\[\])?)?"
_STATISTICS = re.compile(r"SELECT \* FROM pg_catalog\.pg_restore_(relation|attribute)_stats\(%s(?:,%s)*\s*\);" % (_FACT, _FACT))
_ONLY_STATISTICS = re.compile(r"(?:\s*%s)*\s*" % _STATISTICS.pattern)
_SEARCH_PATH = "SELECT pg_catalog.set_config('search_path', '', false);"
_STRING = re.compile(r"\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'", re.DOTALL)
_CALL = re.compile(r"(?:\b(TABLE|REFERENCES)\s+)?(%s(?:\s*\.\s*%s)*)\s*\(" % (_ID, _ID))
_HARMLESS = frozenset(
    (
        # words of SQL before a parenthesis
        "check", "key", "unique", "in", "values", "any", "all", "and", "or", "not", "where", "with", "include", "as", "array",
        "distinct", "identity", "default", "using", "on", "then", "else", "when", "case", "enum",
        # types
        "varying", "character", "varchar", "char", "numeric", "decimal", "vector", "halfvec", "sparsevec", "bit", "timestamp",
        "time", "interval", "float",
        # access methods of indexes
        "btree", "hash", "gin", "gist", "brin", "spgist", "hnsw", "ivfflat",
        # pure functions, and the sequence's own
        "now", "clock_timestamp", "statement_timestamp", "transaction_timestamp", "timezone", "date_trunc", "gen_random_uuid",
        "uuid_generate_v4", "uuidv7", "nextval", "setval", "coalesce", "nullif", "greatest", "least", "lower", "upper",
        "length", "char_length", "octet_length", "btrim", "ltrim", "rtrim", "trim", "replace", "md5", "abs",
        "json_build_object", "jsonb_build_object", "json_build_array", "jsonb_build_array", "json_array_length",
        "jsonb_array_length", "json_typeof", "jsonb_typeof", "array_length", "cardinality", "to_tsvector", "vector_dims",
        "pg_restore_relation_stats", "pg_restore_attribute_stats",
    )
)  # fmt: skip


def refused_entries(archive):
    """Return ``[(type, "schema.name")]`` of what an archive holds beyond tables, sequences, indexes, constraints and enums.

    :returns: empty when everything is on the allow-list.
    """
    refused = []
    for entry in archive.entries:
        allowed = entry.type in ALLOWED_TYPES
        if entry.type == "EXTENSION":
            allowed = entry.name in ALLOWED_EXTENSIONS
        elif entry.type == "TYPE":
            allowed = entry.definition.lstrip().startswith("CREATE TYPE ") and " AS ENUM (" in entry.definition
        if not allowed:
            refused.append((entry.type, "%s.%s" % (entry.schema, entry.name) if entry.schema else entry.name))
    return refused


def refused(archive):
    """Return ``[(type, name)]`` of what an archive holds that no Letta database has, and of what runs more than its kind says.

    :param archive: :class:`~..postgres.archive.Archive`.
    :returns: empty when nothing is refused; a name carries the reason where the kind alone does not tell it.
    """
    found = refused_entries(archive)
    known = set(found)
    for entry in archive.entries:
        name = "%s.%s" % (entry.schema, entry.name) if entry.schema else entry.name
        if (entry.type, name) in known:
            continue
        reason = _odd_name(entry) or _odd_statement(entry)
        if reason:
            found.append((entry.type, "%s (%s)" % (name if name.isprintable() else repr(name), reason)))
    return found


def _odd_name(entry):
    # A line break in a name has carried commands into scripts made from archives (CVE-2025-8715).
    if not (entry.name + entry.schema + entry.owner).isprintable():
        return "a control character in its name"
    if entry.type in _NAMED_BY_LETTA and not _PLAIN_NAME.fullmatch(entry.name):
        return "a name that Letta gives to nothing"
    return None


def _odd_statement(entry):
    if entry.copy and not _COPY.fullmatch(entry.copy):
        return "its COPY statement is not one of rows"
    if entry.type in NEVER_RUN or is_prepared(entry):
        return None
    if entry.type == planner.KIND and _ONLY_STATISTICS.fullmatch(_STRING.sub("''", entry.definition)):
        return None  # most of the entries of an archive: one pattern for each, instead of the scanner
    if planner.is_too_long(entry):  # we never load it, but whoever restores the archive by hand does; the scanner takes no such lengths
        return "a statement of another kind"
    return _scanned(entry.definition)


def _scanned(definition):
    try:
        for text, number in plainsql.Script(io.BytesIO(definition.encode("utf-8", "surrogateescape"))).texts():
            reason = _judge(text, number)
            if reason:
                return reason
    except RecoveryError as exc:  # of the scanner: what it refuses is a line, here it is the object that matters
        return exc.details["reason"]
    return None


def _judge(text, number):
    if text == _SEARCH_PATH:
        return None
    calls = sorted(name for name in _calls(text) if name not in _HARMLESS)
    if calls:
        return "it calls %s()" % calls[0]
    if any(pattern.fullmatch(text) for pattern in _TUNING) or _STATISTICS.fullmatch(_STRING.sub("''", text)):
        return None
    tuned = _TABLE_PARAMETERS.fullmatch(text)
    plain = (tuned.group(1) + ";" if tuned else text).replace("CREATE UNLOGGED ", "CREATE ", 1)
    step = plainsql.classify(plain, number)
    return "a statement of another kind" if step is not None and step.kind not in ("run", "schema") else None


def _calls(text):
    """Return the names before parentheses, without those of tables that are made or referred to."""
    for keyword, name in _CALL.findall(_STRING.sub("''", text)):
        if not keyword:
            last = re.split(r'\.\s*(?=(?:[^"]*"[^"]*")*[^"]*$)', name)[-1].strip()
            yield plainsql.unquote(last) if last.startswith('"') else last.lower()
