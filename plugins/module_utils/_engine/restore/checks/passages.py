# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives, folders and the passages in them: tags, embeddings and how they were made."""
from __future__ import annotations

from ...findings import WARN
from ...letta import shapes
from ...letta.entities import VECTOR_DIMS
from .base import Check, Probe, array
from .shapes import empty_or_shape, is_shape

ONE_ARCHIVE = Probe(
    checks=(
        Check(
            "archives.one_per_agent",
            "no agent has more than one archive",
            "{count} agents have more than one archive: Letta reads only one of them",
            "detach all but one; the unique constraint that forbids this is missing",
            step="relations",
        ),
    ),
    needs={"archives_agents": ("agent_id", "archive_id")},
    sql="select 'archives.one_per_agent', agent_id from {s}.archives_agents group by agent_id having count(*) > 1",
)

# Both lists are compared sorted: their orders differ in sound databases.
TAGS = Probe(
    checks=(
        Check(
            "passages.tags",
            "the two lists of tags of every passage agree",
            "{count} passages whose column tags and rows of passage_tags differ: searches by tag miss or invent them",
            "make passage_tags anew from the column tags",
            step="relations",
        ),
        Check(
            "passages.tag_archive",
            "every tag of a passage names the passage's archive",
            "{count} tags name another archive than their passage's",
            "set passage_tags.archive_id to the passage's",
            step="relations",
        ),
    ),
    needs={"archival_passages": ("id", "archive_id", "tags", "is_deleted"), "passage_tags": ("id", "passage_id", "archive_id", "tag")},
    sql="""
        with listed as (
            select p.id, (select string_agg(distinct t.tag, chr(1) order by t.tag) from json_array_elements_text(%s) as t(tag)) as tags
            from {s}.archival_passages p where not p.is_deleted),
        kept as (select passage_id, string_agg(distinct tag, chr(1) order by tag) as tags from {s}.passage_tags group by passage_id)
        select 'passages.tags', l.id from listed l left join kept k on k.passage_id = l.id where l.tags is distinct from k.tags
        union all
        select 'passages.tag_archive', t.id from {s}.passage_tags t join {s}.archival_passages p on p.id = t.passage_id
        where p.archive_id is distinct from t.archive_id"""
    % array("p.tags"),
)


def _configs(table, nullable):
    sound = (empty_or_shape if nullable else is_shape)("embedding_config", shapes.EMBEDDING_CONFIG)
    check = "%s.json_columns" % table
    return Probe(
        checks=(
            Check(
                check,
                "the embedding configuration of all %s has the shape Letta reads" % table,
                "{count} %s have an embedding configuration that Letta cannot read" % table,
                "set it to what Letta writes; another row made with the same model has it",
                step="tools",
            ),
        ),
        needs={table: ("id", "embedding_config")},
        sql="select '%s', id from {s}.%s where not %s" % (check, table, sound),
    )


# (table of passages, its owner's table, the column that names it); the owner's configuration is NULL in old rows.
_OWNERS = (("archival_passages", "archives", "archive_id"), ("source_passages", "sources", "source_id"))


def _vectors(table, owner, column):
    """How the vectors of a table were made. Their width is a check of its own, cheap where the column declares it."""
    config, padding = "vectors.%s_config" % table, "vectors.%s_padding" % table
    return Probe(
        checks=(
            Check(
                config,
                "every passage of %s was embedded as its %s says" % (table, owner[:-1]),
                "{count} passages of %s were embedded with another model or width than their %s names: searches rank them by chance"
                % (table, owner[:-1]),
                "embed them anew with the model of the %s" % owner[:-1],
                step="relations",
                severity=WARN,
            ),
            Check(
                padding,
                "the vectors of %s are zero beyond the width of their model" % table,
                "{count} vectors of %s have values beyond the width that their configuration names" % table,
                "look at how they were made: the configuration or the vector is wrong",
                step="relations",
                severity=WARN,
            ),
        ),
        needs={table: ("id", column, "embedding", "embedding_config"), owner: ("id", "embedding_config")},
        # As an array: pgvector's own function for a part of a vector came with 0.7 only.
        sql="""
            with passages as materialized (
                select p.id, p.%(column)s as owner, p.embedding is not null as embedded, p.embedding_config->>'embedding_model' as model,
                       case when json_typeof(p.embedding_config->'embedding_dim') = 'number'
                            then (p.embedding_config->>'embedding_dim')::numeric end as dim
                from {s}.%(table)s p where json_typeof(p.embedding_config) = 'object')
            select '%(config)s', p.id from passages p join {s}.%(owner)s o on o.id = p.owner
            where p.embedded and json_typeof(o.embedding_config) = 'object'
              and (o.embedding_config->>'embedding_model' is distinct from p.model
                   or o.embedding_config->>'embedding_dim' is distinct from p.dim::text)
            union all
            select '%(padding)s', p.id from passages p join {s}.%(table)s v on v.id = p.id
            where p.embedded and p.dim between 1 and %(last)d
              and 0 <> any((v.embedding::real[])[p.dim::int + 1:])"""
        % dict(table=table, owner=owner, column=column, config=config, padding=padding, last=VECTOR_DIMS - 1),
    )


PROBES = (ONE_ARCHIVE, TAGS, _configs("archives", True), _configs("sources", False)) + tuple(_vectors(*names) for names in _OWNERS)
