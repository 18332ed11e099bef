# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of Letta's data, declared: what must hold, which tables it needs, and the SQL that names offenders.

A probe is one statement over one table (and what it refers to) and serves one or several checks.
It returns rows ``(check id, id of an offending row)`` and none when all is well. ``{s}`` stands for
Letta's schema. The needed columns are looked up first: where a release has them not, the checks do
not apply. JSON is looked into only after its type was tested, so that odd values are found, not
stumbled over. Sources: Letta 0.16.8, by reading and by running.
"""
from __future__ import annotations

from dataclasses import dataclass

from ..findings import FAIL, WARN
from ..letta.entities import RUNNING_WORK


@dataclass(frozen=True)
class Check:
    """One thing that must hold.

    :param id: stable dotted name.
    :param passed: sentence when it holds.
    :param failed: sentence when it does not; ``{count}`` rows offend.
    :param severity: ``fail`` when it breaks use, ``warn`` when it only looks suspicious.
    """

    id: str
    passed: str
    failed: str
    severity: str = FAIL


@dataclass(frozen=True)
class Probe:
    """One statement.

    :param checks: the checks it serves; the first column of its rows names one of them.
    :param needs: table -> columns it reads.
    :param sql: the statement; ``%`` is literal.
    """

    checks: tuple
    needs: dict
    sql: str


MESSAGE_IDS = Probe(
    checks=(
        Check(
            "agents.message_ids_empty",
            "every agent has messages in context",
            "{count} agents have no messages in context: sending to them fails",
        ),
        Check(
            "agents.message_ids_system",
            "every context begins with a system message",
            "{count} agents whose context does not begin with a system message",
        ),
        Check(
            "agents.message_ids_missing",
            "every message in context exists and belongs to its agent",
            "{count} messages named in an agent's context are missing, deleted or another agent's: Letta drops them silently",
        ),
    ),
    needs={"agents": ("id", "message_ids", "is_deleted"), "messages": ("id", "agent_id", "role", "is_deleted")},
    sql="""
        with contexts as materialized (
            select id, case when json_typeof(message_ids) = 'array' then message_ids else '[]'::json end as ids
            from {s}.agents where not is_deleted),
        entries as materialized (
            select c.id as agent, e.message_id, e.place, m.role,
                   m.id is not null and m.agent_id = c.id and not m.is_deleted as sound
            from contexts c cross join lateral json_array_elements_text(c.ids) with ordinality as e(message_id, place)
            left join {s}.messages m on m.id = e.message_id)
        select 'agents.message_ids_empty', id from contexts where json_array_length(ids) = 0
        union all select 'agents.message_ids_system', agent from entries where place = 1 and role is distinct from 'system'
        union all select 'agents.message_ids_missing', coalesce(agent || ' ' || message_id, agent) from entries where not sound""",
)

AGENT_JSON = Probe(
    checks=(
        Check(
            "agents.json_columns",
            "the JSON columns of every agent have the shape Letta reads",
            "{count} JSON columns of agents have a shape Letta cannot read: such an agent cannot be loaded",
        ),
    ),
    needs={"agents": ("id", "is_deleted", "llm_config", "embedding_config", "tool_rules", "metadata_")},
    sql="""
        select 'agents.json_columns', a.id || ' ' || c.name
        from {s}.agents a cross join lateral (values
            ('llm_config', coalesce(json_typeof(llm_config) = 'object'
                and case when json_typeof(llm_config) = 'object' then json_typeof(llm_config->'model') = 'string' end, false)),
            ('embedding_config', coalesce(json_typeof(embedding_config) in ('object', 'null'), true)),
            ('tool_rules', coalesce(json_typeof(tool_rules) in ('array', 'null'), true)),
            ('metadata_', coalesce(json_typeof(metadata_) in ('object', 'null'), true))) as c(name, sound)
        where not a.is_deleted and not c.sound""",
)

ONE_ARCHIVE = Probe(
    checks=(
        Check(
            "archives.one_per_agent",
            "no agent has more than one archive",
            "{count} agents have more than one archive: Letta reads only one of them",
        ),
    ),
    needs={"archives_agents": ("agent_id", "archive_id")},
    sql="select 'archives.one_per_agent', agent_id from {s}.archives_agents group by agent_id having count(*) > 1",
)

GROUP_MEMBERS = Probe(
    checks=(
        Check(
            "groups.members",
            "the two lists of members of every group agree",
            "{count} groups whose agent_ids and groups_agents name different agents",
        ),
    ),
    needs={"groups": ("id", "agent_ids"), "groups_agents": ("group_id", "agent_id")},
    sql="""
        select 'groups.members', g.id from {s}.groups g
        where array(select distinct e from json_array_elements_text(
                  case when json_typeof(g.agent_ids) = 'array' then g.agent_ids else '[]'::json end) as t(e) order by 1)
              is distinct from
              array(select distinct ga.agent_id::text from {s}.groups_agents ga where ga.group_id = g.id order by 1)""",
)

# Files of before 0.8.10 have no chunk counter and the older of them no stored text: legitimate, and NULL here.
FILE_CONTENTS = Probe(
    checks=(
        Check("files.contents", "every completed file has its text", "{count} completed files have no text: they cannot be opened"),
    ),
    needs={"files": ("id", "processing_status", "total_chunks", "is_deleted"), "file_contents": ("file_id",)},
    sql="""
        select 'files.contents', f.id from {s}.files f
        where f.processing_status = 'completed' and f.total_chunks is not null and not f.is_deleted
          and not exists (select from {s}.file_contents c where c.file_id = f.id)""",
)

# chunks_embedded stays 0 on files that came by an agent file: count passages. External vector stores keep their own.
FILE_PASSAGES = Probe(
    checks=(
        Check(
            "files.passages",
            "every completed file has as many passages as chunks",
            "{count} completed files have another number of passages than of chunks: searches miss text",
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


def _work_probe(work):
    values = ", ".join("'%s'" % value for value in work.open_values)
    check = "work.%s" % work.table
    return Probe(
        checks=(
            Check(
                check,
                "nothing is left unfinished in %s" % work.table,
                "{count} rows of %s say they are unfinished (%s): Letta never finishes them by itself"
                % (work.table, ", ".join(work.open_values)),
                severity=WARN,
            ),
        ),
        needs={work.table: ("id", work.column)},
        sql="select '%s', id from {s}.%s where %s::text in (%s)" % (check, work.table, work.column, values),
    )


DATA_PROBES = (
    MESSAGE_IDS,
    AGENT_JSON,
    ONE_ARCHIVE,
    GROUP_MEMBERS,
    FILE_CONTENTS,
    FILE_PASSAGES,
) + tuple(_work_probe(work) for work in RUNNING_WORK)
