# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files, their texts and passages, and the agents that have them open."""
from __future__ import annotations

from .base import Check, Probe

# Files of before 0.8.10 have no chunk counter and the older of them no stored text: legitimate, and NULL here.
FILE_CONTENTS = Probe(
    checks=(
        Check(
            "files.contents",
            "every completed file has its text",
            "{count} completed files have no text: they cannot be opened",
            "restore the file (restore-partial.yml), or upload it again",
            step="relations",
        ),
        Check(
            "files.error_message",
            "every file in error says why",
            "{count} files in error have no message: Letta refuses to read such a row",
            "give it an error_message",
            step="relations",
            needs={"files": ("error_message",)},
        ),
    ),
    needs={"files": ("id", "processing_status", "total_chunks", "is_deleted"), "file_contents": ("file_id",)},
    maybe={"message": ("files", "error_message", "''::text")},
    sql="""
        select 'files.contents', f.id from {s}.files f
        where f.processing_status = 'completed' and f.total_chunks is not null and not f.is_deleted
          and not exists (select from {s}.file_contents c where c.file_id = f.id)
        union all
        select 'files.error_message', id from {s}.files where processing_status = 'error' and not is_deleted and {message} is null""",
)

# chunks_embedded stays 0 on files that came by an agent file: count passages. External vector stores keep their own.
FILE_PASSAGES = Probe(
    checks=(
        Check(
            "files.passages",
            "every completed file has as many passages as chunks",
            "{count} completed files have another number of passages than of chunks: searches miss text",
            "restore the file's passages; Letta has no call that embeds an existing file again",
            step="relations",
        ),
    ),
    needs={
        "files": ("id", "source_id", "processing_status", "total_chunks", "is_deleted"),
        "sources": ("id", "vector_db_provider"),
        "source_passages": ("file_id",),
    },
    sql="""
        with counted as materialized (
            select file_id, count(*) as passages from {s}.source_passages where file_id is not null group by file_id)
        select 'files.passages', f.id from {s}.files f
        join {s}.sources src on src.id = f.source_id and src.vector_db_provider::text = 'NATIVE'
        left join counted p on p.file_id = f.id
        where f.processing_status = 'completed' and f.total_chunks is not null and not f.is_deleted
          and f.total_chunks <> coalesce(p.passages, 0)""",
)

# max_files_open NULL means what Letta derives from the context window. Rows of detached folders are soft-deleted and stay.
FILES_AGENTS = Probe(
    checks=(
        Check(
            "files_agents.attached",
            "every file of an agent lies in a folder attached to it",
            "{count} files are given to agents whose folders do not hold them: the agent sees a file it cannot search",
            "attach the folder to the agent, or detach the file",
            step="relations",
        ),
        Check(
            "files_agents.file_name",
            "every file of an agent is known by the file's own name",
            "{count} files are known to their agents by another name than their own: open_files does not find them",
            "set files_agents.file_name to files.file_name",
            step="relations",
        ),
        Check(
            "files_agents.source",
            "every file of an agent is booked under the file's own folder",
            "{count} files are booked under another folder than their own: detaching the folder leaves them behind",
            "set files_agents.source_id to files.source_id",
            step="relations",
        ),
        Check(
            "files_agents.open_limit",
            "no agent has more files open than it may",
            "{count} agents have more files open than they may: their context is larger than Letta plans for",
            "close files of the agent through the API, or raise max_files_open",
            step="relations",
        ),
    ),
    needs={
        "files_agents": ("id", "agent_id", "file_id", "source_id", "file_name", "is_open", "is_deleted"),
        "files": ("id", "source_id", "file_name"),
        "sources_agents": ("agent_id", "source_id"),
        "agents": ("id", "llm_config"),
    },
    maybe={"limit": ("agents", "max_files_open", "null::int")},
    sql="""
        with given as materialized (select * from {s}.files_agents where not is_deleted)
        select 'files_agents.attached', g.id from given g
        where not exists (select from {s}.sources_agents sa where sa.agent_id = g.agent_id and sa.source_id = g.source_id)
        union all
        select 'files_agents.file_name', g.id from given g join {s}.files f on f.id = g.file_id
        where f.file_name is distinct from g.file_name
        union all
        select 'files_agents.source', g.id from given g join {s}.files f on f.id = g.file_id where f.source_id <> g.source_id
        union all
        select 'files_agents.open_limit', o.agent_id
        from (select agent_id, count(*) as files from given where is_open group by agent_id) as o
        join (select id, {limit} as own, case when json_typeof(llm_config->'context_window') = 'number'
                         then (llm_config->>'context_window')::numeric end as window from {s}.agents) as a on a.id = o.agent_id
        where o.files > coalesce(a.own, case when a.window is null then 5 when a.window <= 8000 then 3 when a.window <= 32000 then 5
                                             when a.window <= 200000 then 10 else 15 end)""",
)

PROBES = (FILE_CONTENTS, FILE_PASSAGES, FILES_AGENTS)
