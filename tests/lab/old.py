"""Databases of old Letta releases: the schema by Letta's own migrations up to that release's head, rows as that release wrote them."""
from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
import uuid
from contextlib import closing
from datetime import datetime, timedelta, timezone

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg2 import sql
from psycopg2.extras import Json

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta.releases import head_of
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect

from .letta import migrate_by_steps
from .seed import SAMPLE_KEY

RELEASES = ("0.8.17", "0.11.7", "0.12.1", "0.13.0", "0.14.0", "0.16.4")
TRAPS = ("soft_deleted_passages", "many_secrets")
ORGANISATION = "org-00000000-0000-4000-8000-000000000000"
USER = "user-00000000-0000-4000-8000-000000000000"
START = datetime(2025, 6, 1, 12, 0, tzinfo=timezone.utc)
# What some release lacks; naming anything else that a database does not have is a mistake.
NOT_EVERYWHERE = {
    "tables": {"agent_passages", "archival_passages", "archives", "archives_agents", "blocks_conversations", "blocks_tags", "conversations",
               "conversation_messages", "job_messages", "mcp_oauth", "mcp_tools", "passage_tags", "prompts", "provider_models",
               "provider_trace_metadata", "run_metrics", "runs", "step_metrics"},
    "columns": {"access_token_enc", "agent_tags", "api_key_enc", "approvals", "authorization_code_enc", "background", "call_type",
                "client_secret_enc", "conversation_id", "custom_headers_enc", "default_requires_approval", "embedding_config",
                "enable_parallel_execution", "end_line", "hidden", "job_id", "last_stop_reason", "last_synced", "llm_config",
                "llm_request_start_ns", "max_files_open", "npm_requirements", "org_id", "per_file_view_window_char_limit",
                "prompt_tokens_details", "refresh_token_enc", "request_id", "run_id", "source", "start_line", "status", "step_start_ns",
                "stop_reason", "tags", "token_enc", "tools_used", "total_duration_ns", "ttft_ns", "user_id", "value_enc",
                "vector_db_provider"},
}


def old_schemas(postgres, password, key=SAMPLE_KEY, releases=RELEASES):
    """Make an empty database with the schema of each of some :data:`RELEASES`, in that order, by Letta's own migrations; 12 s for all.

    :returns: {release: name of its database}; clone them, never connect to them.
    """
    climbing = postgres.create_letta_database("old_climbing", password=password, schema="letta")
    made = {}
    with tempfile.TemporaryDirectory() as home:
        for release, _head in zip(releases, migrate_by_steps(climbing, home, key, [head_of(release) for release in releases])):
            made[release] = postgres.clone_database("old_schema_" + release, climbing.dbname, password=password).dbname
    postgres.drop_database(climbing.dbname)
    return made


def make_old_database(postgres, name, release, schemas, password, traps=(), key=SAMPLE_KEY):
    """Make a database as a Letta of an old release left it; about 1 s.

    :param postgres: the running :class:`~.postgres.EmbeddedPostgres`. :param name: of the new database.
    :param release: one of :data:`RELEASES`. :param schemas: see :func:`old_schemas`.
    :param password: of role ``letta``, without what a URI has to encode.
    :param traps: names of :data:`TRAPS` to put in: ``soft_deleted_passages`` (before 0.11 only) makes Letta's own upgrade fail,
        ``many_secrets`` adds more sandbox variables than one batch of Letta's encrypting migration.
    :param key: the encryption key of the installation; releases before 0.12 did not use one.
    :returns: engine :class:`Server` for role ``letta``; the tables are in schema ``letta``.
    """
    from . import old_rows, old_turns

    unknown = set(traps) - set(TRAPS)
    if release not in RELEASES or unknown:
        raise ValueError("no old database of %s with traps %s" % (release, sorted(traps)))
    if "soft_deleted_passages" in traps and release != "0.8.17":
        raise ValueError("%s deletes passages for good: there are no soft-deleted ones" % release)
    server = postgres.clone_database(name, schemas[release], password=password)
    with closing(connect(server, autocommit=False)) as conn, conn.cursor() as cursor:
        writer = Writer(cursor, release, key, traps)
        old_rows.write(writer)
        old_turns.write(writer)
        conn.commit()
    return server


def make_id(prefix, name):
    """Return an id as Letta writes them (prefix and a lower-case UUID of version 4), the same for the same name."""
    return "%s-%s" % (prefix, uuid.UUID(bytes=hashlib.md5(("%s %s" % (prefix, name)).encode()).digest(), version=4))


def at(minutes):
    """Return a moment so many minutes after the start of the story."""
    return START + timedelta(minutes=minutes)


def vector(seed, dimensions=1536):
    """Return an embedding as text, the same for the same seed: padded with zeros to 4096 as Letta stores them."""
    stream = hashlib.shake_128(str(seed).encode()).digest(dimensions)
    return "[%s]" % ",".join(["%.4f" % (byte / 255 - 0.5) for byte in stream] + ["0"] * (4096 - dimensions))


def seal(text, key, salt=None):
    """Return text encrypted as Letta does (AES-256-GCM, the key by PBKDF2, salt and nonce in front, base64)."""
    salt, nonce = salt or os.urandom(16), os.urandom(12)
    derived = hashlib.pbkdf2_hmac("sha256", key.encode(), salt, 100000, 32)
    return base64.b64encode(salt + nonce + AESGCM(derived).encrypt(nonce, text.encode(), None)).decode()


class Writer:
    """Writes rows into the tables and columns that a database has, whatever release made it."""

    def __init__(self, cursor, release, key, traps):
        self.cursor, self.key, self.traps = cursor, key, traps
        self.release = tuple(int(part) for part in release.split("."))
        cursor.execute("SELECT table_name, column_name, udt_name FROM information_schema.columns WHERE table_schema = 'letta'")
        self._columns = {}
        for table, column, kind in cursor.fetchall():
            self._columns.setdefault(table, {})[column] = kind

    def has(self, table, column=None):
        """Tell whether this database has the table (and the column)."""
        return table in self._columns and (column is None or column in self._columns[table])

    def put(self, table, **row):
        """Insert a row into the columns there are; organisation, user and moments are filled in where the row does not say."""
        columns = self._columns.get(table)
        if columns is None:
            if table not in NOT_EVERYWHERE["tables"]:
                raise ValueError("no release has a table %s" % table)
            return
        strange = set(row) - set(columns) - NOT_EVERYWHERE["columns"]
        if strange:
            raise ValueError("no release has %s in %s" % (", ".join(sorted(strange)), table))
        made = row.get("created_at") or START
        usual = {"organization_id": ORGANISATION, "created_at": made, "updated_at": made, "_created_by_id": USER,
                 "_last_updated_by_id": USER, "is_deleted": False}
        values = {name: value for name, value in {**usual, **row}.items() if name in columns}
        statement = sql.SQL("INSERT INTO letta.{} ({}) VALUES ({})").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join([sql.Placeholder()] * len(values))
        )
        self.cursor.execute(statement, [_adapted(value, columns[name]) for name, value in values.items()])

    def secret(self, column, text, style=None):
        """Return the values of a secret's plain column and of its encrypted one, as this release wrote them.

        :param style: ``plain``, ``both`` or ``sealed``; else what the release did with most secrets. The plain text stayed
            beside the encrypted one until it became empty.
        """
        style = style or ("plain" if self.release < (0, 13) else "both" if self.release < (0, 16) else "sealed")
        plain = "" if style == "sealed" and column == "value" else None if style == "sealed" else text
        if style == "plain":
            return {column: plain}
        text = text if isinstance(text, str) else json.dumps(text)
        return {column: plain, column + "_enc": seal(text, self.key)}


def _adapted(value, kind):
    return Json(value) if kind in ("json", "jsonb") and value is not None else value
