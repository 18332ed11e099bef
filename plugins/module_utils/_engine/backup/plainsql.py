# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain SQL dumps, behind an explicit flag: read by our own scanner, never by psql, and only as far as pg_dump itself writes.

The scanner cuts the text into statements, refuses by line number what is not on its short list, and hands the rest to a
scratch database as an unprivileged role. Backslash commands never run: nothing here knows how to run them.
"""
from __future__ import annotations

import io
import re

from ..errors import RecoveryError

MAX_STATEMENT = 4 << 20  # bytes; DDL is short, so anything longer is no DDL
ID = r'(?:"(?:[^"]|"")+"|[A-Za-z_][A-Za-z0-9_$]*)'
NAME = r"%s(?:\.%s)?" % (ID, ID)
_RUN = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"CREATE TABLE %s \(.*\);" % NAME,
        r"CREATE SEQUENCE %s\b.*;" % NAME,
        r"CREATE TYPE %s AS ENUM \(.*\);" % NAME,
        r"CREATE (UNIQUE )?INDEX %s ON (ONLY )?%s USING .*;" % (ID, NAME),
        r"ALTER TABLE (ONLY )?%s\s+ADD CONSTRAINT .*;" % NAME,
        r"ALTER TABLE (ONLY )?%s ALTER COLUMN %s (SET DEFAULT|ADD GENERATED) .*;" % (NAME, ID),
        r"ALTER SEQUENCE (IF EXISTS )?%s OWNED BY (%s|NONE)(\.%s)?;" % (NAME, NAME, ID),
        r"COMMENT ON (TABLE|COLUMN|INDEX|CONSTRAINT|SEQUENCE|TYPE) .*;",
        r"SELECT pg_catalog\.setval\('[^']+', \d+, (true|false)\);",
    )
)
_SKIP = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"SET [a-z_]+ (=|TO) ('[^']*'|[A-Za-z0-9_]+);",
        r"SELECT pg_catalog\.set_config\('search_path', '', false\);",
        r"ALTER (TABLE|SEQUENCE|TYPE|SCHEMA|INDEX) (ONLY )?%s OWNER TO %s;" % (NAME, ID),
        r"(GRANT|REVOKE) [A-Z ,]+ ON .* (TO|FROM) .*;",
        r"COMMENT ON (EXTENSION|SCHEMA) .*;",
    )
)
_SCHEMA = re.compile(r"CREATE SCHEMA (?:IF NOT EXISTS )?(%s);" % ID)
_EXTENSION = re.compile(r"CREATE EXTENSION (?:IF NOT EXISTS )?(?:vector|\"vector\") WITH SCHEMA (%s);" % ID)
_COPY = re.compile(r"COPY %s \(%s(?:, %s)*\) FROM stdin;" % (NAME, ID, ID))
_SETTING = re.compile(r"SET ([a-z_]+) (?:=|TO) '?([^';]*)'?;")
# What a lexer has to look at: outside of quotes, and inside of those of a name, a text, and a text with backslashes.
_OUTSIDE = re.compile(r"""['"$\\;]|--|/\*""")
_INSIDE = {
    ('"', False): re.compile(r'["\r\n]'),
    ("'", False): re.compile(r"'"),
    ("'", True): re.compile(r"\\.?|'", re.DOTALL),
}
_RESTRICT = re.compile(rb"\\restrict ([A-Za-z0-9]+)\n?$")


def refused(number, why):
    """Return the error for a line of a plain dump."""
    return RecoveryError(
        "usage",
        "the SQL dump is refused at line %d: %s" % (number, why),
        now="nothing was adopted, nothing of that line or after it was run",
        next_step="make an archive instead (pg_dump -Fc or -Fd), or have someone read that line",
        details={"line": number, "reason": why},
    )


class Statement:
    """One step of a plain dump: ``kind`` is ``run``, ``schema``, ``extension`` or ``copy``.

    :ivar text: the statement. :ivar name: the schema (``schema``, ``extension``). :ivar data: for ``copy``: a binary file-like
        object over its rows, to be read to its end before the next step is asked for.
    """

    def __init__(self, kind, text, number, name="", data=None):
        self.kind, self.text, self.number, self.name, self.data = kind, text, number, name, data


class Script:
    """The steps of a plain dump, one by one.

    :param stream: binary stream at the beginning of the dump.
    """

    def __init__(self, stream):
        self._stream, self._number = stream, 0
        self._token, self._closed, self._began = None, False, False

    def texts(self):
        """Yield (statement, number of its first line), unjudged. :raises RecoveryError: as :meth:`steps`."""
        while True:
            text, number = self._next_statement()
            if text is None:
                return
            yield text, number

    def steps(self):
        """Yield :class:`Statement`. :raises RecoveryError: ``usage`` with the line that is refused."""
        while True:
            text, number = self._next_statement()
            if text is None:
                return
            step = classify(text, number)
            if step is None:
                continue
            if step.kind == "copy":
                step.data = _Rows(self)
                yield step
                step.data.drain()
            else:
                yield step

    def read_line(self):
        """Return the next line with its end, or ``b""``."""
        line = self._stream.readline(1 << 30)
        self._number += bool(line)
        return line

    @property
    def number(self):
        """Number of the line read last."""
        return self._number

    def _next_statement(self):
        parts, lexer, start, size = [], _Lexer(), 0, 0
        while True:
            line = self.read_line()
            if not line:
                if parts:
                    raise refused(start, "the dump ends in the middle of a statement")
                return None, self._number
            if not parts and self._is_between(line):
                continue
            start = start or self._number
            size += len(line)
            if size > MAX_STATEMENT:
                raise refused(start, "a statement longer than pg_dump writes")
            text = self._decode(line)
            parts.append(text)
            if lexer.feed(text, self._number):
                return "".join(parts).strip(), start

    def _is_between(self, line):
        if line.startswith(b"\\"):
            self._meta(line)
            return True
        plain = line.strip()
        if not plain or plain.startswith(b"--"):
            return True
        if self._closed:
            raise refused(self._number, "a statement after \\unrestrict")
        self._began = True
        return False

    def _meta(self, line):
        # pg_dump wraps its output in one pair of \restrict and \unrestrict with the same token. Nothing else is its own.
        match = _RESTRICT.match(line)
        if match and self._token is None and not self._began:
            self._token = match.group(1)
        elif self._token is not None and not self._closed and line.rstrip(b"\n") == b"\\unrestrict " + self._token:
            self._closed = True
        else:
            raise refused(self._number, "a psql command (a line that begins with a backslash)")

    def _decode(self, line):
        if b"\0" in line:
            raise refused(self._number, "a NUL byte")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            raise refused(self._number, "text that is not UTF-8") from None


class _Lexer:
    """Finds the end of a statement across lines: outside of quotes, at a semicolon that ends its line."""

    def __init__(self):
        self._quote, self._escapes = "", False

    def feed(self, text, number):
        """Return whether the statement ends with this line. :raises RecoveryError: for what pg_dump does not write."""
        position, last = 0, len(text.rstrip()) - 1
        while True:
            match = (_INSIDE[self._quote, self._escapes] if self._quote else _OUTSIDE).search(text, position)
            if match is None:
                return False
            found, position = match.group(), match.end()
            if self._quote:
                if found in "\r\n":
                    raise refused(number, "a name with a line break in it")
                if found == self._quote:
                    self._quote, self._escapes = "", False
            elif found in "'\"":
                before = match.start() - 1
                self._quote = found
                self._escapes = found == "'" and text[max(before, 0)] in "eE" and not _word_before(text, before)
            elif found == ";":
                if match.start() != last:
                    raise refused(number, "more than one statement on a line")
                return True
            else:
                near = text[match.start() : match.start() + 2].strip()
                raise refused(number, "text that pg_dump does not write inside a statement (%s)" % near)


def _word_before(text, position):
    return position > 0 and (text[position - 1].isalnum() or text[position - 1] in '_"')


class _Rows(io.RawIOBase):
    """The rows of one COPY, up to the line that ends them, as a file that psycopg2 can read."""

    def __init__(self, script):
        super().__init__()
        self._script, self._rest, self._ended = script, b"", False

    def readable(self):
        return True

    def read(self, size=-1):
        """Return up to ``size`` bytes of whole or partial lines; ``b""`` at the end of the rows."""
        while not self._ended and (size < 0 or len(self._rest) < size):
            line = self._script.read_line()
            if not line:
                raise refused(self._script.number, "the dump ends in the middle of a table's rows")
            if line.rstrip(b"\r\n") == b"\\.":
                self._ended = True
            else:
                self._rest += line
        size = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def drain(self):
        """Read to the end, so that the script goes on behind the rows."""
        while self.read(1 << 16):
            continue


def classify(text, number):
    """Return the :class:`Statement` of a text, None for one that is skipped.

    :raises RecoveryError: ``usage`` when it is neither.
    """
    for pattern, kind in ((_SCHEMA, "schema"), (_EXTENSION, "extension")):
        match = pattern.fullmatch(text)
        if match:
            return Statement(kind, text, number, unquote(match.group(1)))
    if _COPY.fullmatch(text):
        return Statement("copy", text, number)
    if any(pattern.fullmatch(text) for pattern in _RUN):
        if text.startswith("CREATE TABLE") and not _is_one_body(text):
            raise refused(number, "a CREATE TABLE with more than its columns")
        return Statement("run", text, number)
    setting = _SETTING.fullmatch(text)
    if setting:
        _check_setting(setting.group(1), setting.group(2), number)
    if any(pattern.fullmatch(text) for pattern in _SKIP):
        return None
    first = " ".join(text.split()[:3])[:60]
    raise refused(number, "a statement that no dump of a Letta database needs (%s …)" % first)


def _is_one_body(text):
    # What CREATE TABLE … AS or PARTITION OF would add stands behind the parenthesis that closes the columns.
    plain, depth = re.sub(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"", "x", text), 0
    for position, char in enumerate(plain):
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == ")" and depth == 0:
            return plain[position + 1 :].strip() == ";"
    return False


def _check_setting(name, value, number):
    wanted = {"client_encoding": ("UTF8", "UTF-8"), "standard_conforming_strings": ("on",)}.get(name)
    if wanted and value not in wanted:
        raise refused(number, "%s is %s; only %s can be read" % (name, value, wanted[0]))
    if name in ("session_authorization", "role"):
        raise refused(number, "it changes the role")


def unquote(name):
    """Return an SQL identifier without its quotes."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
