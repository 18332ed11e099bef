# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof that a database holds exactly what a manifest says was saved."""
from __future__ import annotations

from contextlib import closing

from ..findings import FAIL, PASS, WARN, Finding
from ..postgres import catalog
from ..postgres.connection import connect, sql
from ..postgres.digest import digest_database
from ..postgres.rowsums import form_of, in_words
from ..postgres.sidedb import split_names
from ..progress import Progress

# Table-of-contents types and the catalog query that must count as many after the load.
_OBJECTS = {
    "INDEX": "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = ANY(%s)"
    " AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))",
    "CONSTRAINT": "SELECT count(*) FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace"
    " WHERE n.nspname = ANY(%s) AND k.contype IN ('p', 'u', 'x') AND k.conrelid <> 0",
    "FK CONSTRAINT": "SELECT count(*) FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace"
    " WHERE n.nspname = ANY(%s) AND k.contype = 'f'",
}


def content_of(server, jobs=2, like=None):
    """Return the content of a database as it is now, in the words of a manifest: ``{"tables": {…}, "sequences": {…}}``.

    A later run compares with it, to tell that nothing changed since.

    :param like: ``tables`` of what it will be compared with, whose form the digests take; None: any.
    """
    found = digest_database(server, jobs=jobs, form=form_of(like) if like else None)
    return {"tables": in_words(found), "sequences": catalog.sequences(server)}


def compare_tables(expected, found):
    """Compare the manifest's tables with what a database holds.

    :param expected: manifest ``tables``: {name: {"rows", "digest"}}.
    :param found: {name: TableDigest}.
    :returns: report rows: [{"name", "rows_expected", "rows_restored", "digest": equal|differs, "explanation"}]
    """
    rows = []
    for name in sorted(set(expected) | set(found)):
        want, have = expected.get(name), found.get(name)
        row = {
            "name": name,
            "rows_expected": want["rows"] if want else None,
            "rows_restored": have.rows if have else None,
            "digest": "equal",
            "explanation": "",
        }
        if want is None or have is None:
            row.update(digest="differs", explanation="not in the backup" if want is None else "not in the database")
        elif want["digest"] != have.digest or want["rows"] != have.rows:
            row.update(digest="differs", explanation="%d rows saved, %d found" % (want["rows"], have.rows))
            if want["rows"] == have.rows:
                row["explanation"] = "as many rows, other content"
        rows.append(row)
    return rows


def prove_database(server, manifest, archive=None, jobs=2, progress=None, found=None):
    """Compare a database with a manifest: rows, content, sequences, settings, and the number of indexes and constraints.

    :param server: :class:`Server` whose default database is the one to prove.
    :param archive: the opened archive, for the count of objects; None leaves that out.
    :param found: digests of its tables, {name: TableDigest}, where they were taken already.
    :returns: (report rows of tables, [Finding])
    """
    progress = progress or Progress(None)
    if found is None:
        found = digest_database(server, jobs=jobs, progress=progress, form=form_of(manifest["tables"]))
    tables = compare_tables(manifest["tables"], found)
    findings = [_tables_finding(tables)]
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        findings += _settings(cursor, manifest)
        if archive is not None:
            findings.append(_objects(cursor, archive))
    findings.append(_sequences(catalog.sequences(server), manifest))
    return tables, findings


def _tables_finding(tables):
    bad = [row["name"] for row in tables if row["digest"] != "equal"]
    if bad:
        return Finding("content.digest", FAIL, "%d of %d tables differ from the backup" % (len(bad), len(tables)), len(bad), bad)
    return Finding("content.digest", PASS, "%d tables, %d rows: equal" % (len(tables), sum(r["rows_restored"] for r in tables)))


def _sequences(found, manifest):
    bad = []
    for name, want in manifest["sequences"].items():
        have = found.get(name)
        if have is None or (have["last_value"], have["is_called"]) != (want["last_value"], want["is_called"]):
            bad.append(name)
    if bad:
        return Finding("content.sequences", FAIL, "sequences do not stand where the backup left them: %s" % ", ".join(bad), len(bad), bad)
    return Finding("content.sequences", PASS, "%d sequences stand where the backup left them" % len(manifest["sequences"]))


def _settings(cursor, manifest):
    """Compare database-level settings; a setting of a role this server lacks is a warning, not a failure."""
    cursor.execute(
        "SELECT coalesce(pg_get_userbyid(nullif(s.setrole, 0)), ''), c FROM pg_db_role_setting s, unnest(s.setconfig) c"
        " WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    have = {(role, text.partition("=")[0], _value(text.partition("=")[2])) for role, text in cursor.fetchall()}
    wanted = {(item.get("role") or "", item["name"], _value(item["value"])) for item in manifest["database"].get("settings") or []}
    cursor.execute("SELECT rolname FROM pg_roles")
    roles = {row[0] for row in cursor.fetchall()} | {""}
    missing = sorted(wanted - have)
    lost = [name for role, name, _value_wanted in missing if role in roles]
    if lost:
        return [Finding("content.settings", FAIL, "database settings are missing or differ: %s" % ", ".join(lost), len(lost), lost)]
    if missing:
        names = ["%s of role %s" % (name, role) for role, name, _value_wanted in missing]
        return [Finding("content.settings", WARN, "settings of roles this server lacks: %s" % ", ".join(names), len(names), names)]
    return [Finding("content.settings", PASS, "%d database settings carried over" % len(wanted))]


def _value(text):
    """Return a setting's value so that two spellings of one list of names compare equal."""
    return tuple(split_names(text))


def _objects(cursor, archive):
    """Compare the number of indexes and constraints with the table of contents.

    A load that stopped early leaves most rows and no constraint and no index at all.
    """
    schemas = list(archive.schemas()) or ["public"]
    short = []
    for kind, statement in _OBJECTS.items():
        wanted = sum(1 for entry in archive.entries if entry.type == kind)
        cursor.execute(sql.SQL(statement), (schemas,))
        have = cursor.fetchone()[0]
        if have < wanted:
            short.append("%s: %d of %d" % (kind.lower(), have, wanted))
    if short:
        return Finding("content.objects", FAIL, "indexes or constraints are missing: %s" % ", ".join(short), len(short), short)
    return Finding("content.objects", PASS, "every index and constraint of the archive is there")
