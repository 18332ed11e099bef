# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passages for files that have text and none: cut, embedded as their source says, and laid down as rows to come."""
from __future__ import annotations

import hashlib
import json
import re
import uuid

from ..errors import LIVE_UNTOUCHED, RecoveryError
from ..letta.entities import ID_PREFIXES
from .rows import escape

TABLE = "source_passages"
WIDTH = 4096  # of Letta's vector columns; shorter vectors are followed by zeros
TOKEN = 4  # characters, roughly
_ENDS = (r"(?<=\n\n)", r"(?<=\n)", r"(?<=[.!?])(?=\s)", r"(?<=\s)")


def chunks(text, size):
    """Cut a text at paragraphs, else lines, else sentences, else words, into pieces of at most ``size`` characters that are not blank."""
    pieces, current = [], ""
    for part in _parts(text, size, _ENDS):
        if current and len(current) + len(part) > size:
            pieces.append(current)
            current = ""
        current += part
    return [piece.strip() for piece in [*pieces, current] if piece.strip()]


def _parts(text, size, ends):
    if len(text) <= size:
        return [text]
    if not ends:
        return [text[start : start + size] for start in range(0, len(text), size)]
    return [part for piece in re.split(ends[0], text) for part in _parts(piece, size, ends[1:])]


def passages(bench, cut, files, embed):
    """Write the passages of files into a slice.

    :param bench: for reading only. :param cut: :class:`~.slices.Slice`; it is saved again. :param files: ids.
    :param embed: function (texts, model, dimensions) -> vectors; it is called without a transaction that anybody waits for.
    :returns: number of passages. :raises RecoveryError: what ``embed`` raises; ``preflight`` for a source without a usable model.
    """
    columns, count = list(bench.tables[TABLE].columns), 0
    rows = bench.rows(
        "select f.id, f.file_name, f.source_id, f.organization_id, f._created_by_id, s.embedding_config, c.text from %s f"
        " join %s s on s.id = f.source_id join %s c on c.file_id = f.id where f.id = any(%%s) order by 1"
        % (bench.live("files"), bench.live("sources"), bench.live("file_contents")), (files,),
    )  # fmt: skip
    now = bench.rows("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00')")[0][0]
    bench.cursor.connection.rollback()
    with cut.create(TABLE) as stream:
        for file, name, source, organization, creator, config, text in rows:
            model, dimensions, size = _settings(source, config)
            texts = chunks(text, size)
            for number, (piece, vector) in enumerate(zip(texts, embed(texts, model, dimensions))):
                values = {
                    "id": _identity(file, number, piece), "text": piece, "embedding_config": json.dumps(config), "metadata_": "{}",
                    "embedding": json.dumps(list(vector) + [0] * (WIDTH - len(vector))), "created_at": now, "updated_at": now,
                    "is_deleted": "f", "_created_by_id": creator, "_last_updated_by_id": creator, "organization_id": organization,
                    "file_id": file, "source_id": source, "file_name": name,
                }  # fmt: skip
                fields = [b"link"] + [b"\\N" if values.get(column) is None else escape(values[column]) for column in columns]
                stream.write(b"\t".join(fields) + b"\n")
                count += 1
    cut.tables[TABLE] = {"columns": columns, "rows": count}
    cut.save()
    return count


def _settings(source, config):
    model, dimensions = (config or {}).get("embedding_model"), (config or {}).get("embedding_dim")
    if not model or not dimensions or dimensions > WIDTH:
        raise RecoveryError(
            "preflight", "source %s does not say which model its files are embedded with" % source, now=LIVE_UNTOUCHED,
            next_step="name the agents whose files are to be embedded, or leave embedding_url out",
        )  # fmt: skip
    return model, dimensions, (config.get("embedding_chunk_size") or 300) * TOKEN


def _identity(file, number, text):
    digest = hashlib.md5(("%s %d %s" % (file, number, text)).encode(), usedforsecurity=False).digest()
    return "%s-%s" % (ID_PREFIXES[TABLE][0], uuid.UUID(bytes=digest, version=4))
