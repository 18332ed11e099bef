"""How each check of Letta's data is broken: check -> (statements, the examples it must give)."""
from __future__ import annotations

import json

from tests.integration.validate_kit import (
    AGENT,
    ARCHIVE,
    BATCH,
    BLOCK,
    CALL,
    CONVERSATION,
    EMBEDDING,
    FILE,
    FOREIGN_ORG,
    GIVEN,
    GROUP,
    HISTORY,
    ITEM,
    JOB,
    LLM,
    MCP_TOOL,
    MODEL,
    OTHER,
    PASSAGE,
    PROVIDER,
    RETURN,
    RUN,
    SOURCE,
    STEP,
    TAG,
    TALK,
    TOOL,
    M,
    entity,
    insert,
    vector,
)  # fmt: skip


def _config(**changes):
    return json.dumps(dict(EMBEDDING, **changes))


def _context(agent, *messages):
    return "update agents set message_ids = '%s' where id = '%s'" % (json.dumps(messages), agent)


def _foreign(table, key):
    return "update %s set organization_id = '%s' where id = '%s'" % (table, FOREIGN_ORG, key)


BREAKS = {
    # contexts
    "agents.message_ids_empty": (_context(OTHER), [OTHER]),
    "agents.message_ids_system": (_context(OTHER, M[4], M[3]), [OTHER]),
    "agents.message_ids_missing": ("delete from messages where id = '%s'" % M[5], ["%s %s" % (OTHER, M[5])]),
    "agents.message_ids_conversation": (
        "update messages set conversation_id = '%s' where id = '%s'" % (CONVERSATION, M[5]),
        ["%s %s" % (OTHER, M[5])],
    ),
    "agents.tool_calls": (_context(AGENT, M[0], M[1], CALL), [AGENT + " call-1"]),
    "agents.tool_returns": (_context(AGENT, M[0], M[1], RETURN), [AGENT + " call-1"]),
    "conversations.system": ("update conversation_messages set in_context = false where message_id = '%s'" % TALK[0], [CONVERSATION]),
    "conversations.positions": ("update conversation_messages set position = 2 where message_id = '%s'" % TALK[1], [CONVERSATION]),
    "conversations.messages_missing": (
        "update messages set is_deleted = true where id = '%s'" % TALK[1],
        ["%s %s" % (CONVERSATION, TALK[1])],
    ),
    "conversations.tool_calls": (
        "update messages set role = 'user' where id = '%s'" % TALK[3],
        [CONVERSATION + " call-assistant"],
    ),
    "conversations.tool_returns": (
        "update messages set role = 'tool' where id = '%s'" % TALK[1],
        [CONVERSATION + " without id"],
    ),
    # agents and their messages
    "agents.json_columns": ("update agents set tool_rules = '{\"a\": 1}' where id = '%s'" % OTHER, [OTHER + " tool_rules"]),
    "messages.json_columns": ("update messages set content = '[{\"type\": \"text\"}]' where id = '%s'" % M[5], [M[5] + " content"]),
    "agents.prompt_stale": ("update block set value = 'Ann' || chr(10) || 'likes coffee'", [AGENT + " human"]),
    "agents.sleeptime": ("update agents set enable_sleeptime = true where id = '%s'" % OTHER, [OTHER]),
    # blocks
    "blocks.limit": ("update block set \"limit\" = 4", [BLOCK]),
    "blocks.history_pointer": ("update block set current_history_entry_id = '%s'" % entity("block_hist", 7), [BLOCK]),
    "blocks.history_sequence": ("update block_history set sequence_number = 3 where id = '%s'" % HISTORY[1], [BLOCK]),
    "blocks.labels": (
        ("update blocks_agents set block_label = 'persona'",),
        [AGENT + " persona"],
    ),
    # memory
    "archives.one_per_agent": (
        (
            "alter table archives_agents drop constraint unique_agent_archive",
            "insert into archives_agents (agent_id, archive_id, is_owner) values ('%s', '%s', false)" % (AGENT, entity("archive", 1)),
        ),
        [AGENT],
    ),
    "passages.tags": ("update archival_passages set tags = '[\"a\"]' where id = '%s'" % PASSAGE, [PASSAGE]),
    "passages.tag_archive": ("update passage_tags set archive_id = '%s' where id = '%s'" % (entity("archive", 1), TAG), [TAG]),
    "archives.json_columns": ("update archives set embedding_config = '[1]'", [ARCHIVE]),
    "sources.json_columns": ("update sources set embedding_config = '[1]'", [SOURCE]),
    "vectors.archival_passages_config": (
        "update archival_passages set embedding_config = '%s' where id = '%s'" % (_config(embedding_model="e4"), PASSAGE),
        [PASSAGE],
    ),
    "vectors.archival_passages_padding": (
        "update archival_passages set embedding = '%s' where id = '%s'" % (vector(4096, 1537), PASSAGE),
        [PASSAGE],
    ),
    "vectors.source_passages_config": (
        "update source_passages set embedding_config = '%s' where id = '%s'" % (_config(embedding_dim=3072), entity("passage", 0)),
        [entity("passage", 0)],
    ),
    "vectors.source_passages_padding": (
        "update source_passages set embedding = '%s' where id = '%s'" % (vector(4096), entity("passage", 1)),
        [entity("passage", 1)],
    ),
    # files
    "files.contents": ("delete from file_contents", [FILE]),
    "files.error_message": ("update files set processing_status = 'error' where id = '%s'" % FILE, [FILE]),
    "files.passages": ("delete from source_passages where id = '%s'" % entity("passage", 1), [FILE]),
    "files_agents.attached": ("delete from sources_agents", [GIVEN]),
    "files_agents.file_name": ("update files_agents set file_name = 'other/a'", [GIVEN]),
    "files_agents.source": (
        (
            "update files_agents set source_id = '%s'" % entity("source", 1),
            "insert into sources_agents (agent_id, source_id) values ('%s', '%s')" % (AGENT, entity("source", 1)),
        ),
        [GIVEN],
    ),
    "files_agents.open_limit": ("update agents set max_files_open = 0 where id = '%s'" % AGENT, [AGENT]),
    # groups
    "groups.members": ("delete from groups_agents", [GROUP]),
    "groups.turns_counter": ("update groups set turns_counter = null", [GROUP]),
    "groups.last_processed": ("update groups set last_processed_message_id = '%s'" % entity("message", 99), [GROUP]),
    # organisations
    "organisation.messages": (_foreign("messages", M[5]), [M[5]]),
    "organisation.block": (_foreign("block", BLOCK), [BLOCK]),
    "organisation.tools": (
        (_foreign("tools", TOOL), "update agents set tool_rules = '[]'"),
        [TOOL],
    ),
    "organisation.sources": (
        (_foreign("sources", SOURCE), "update files set organization_id = '%s'" % FOREIGN_ORG,
         "update source_passages set organization_id = '%s'" % FOREIGN_ORG),
        [SOURCE],
    ),
    "organisation.archives": (
        (_foreign("archives", ARCHIVE), "update archival_passages set organization_id = '%s'" % FOREIGN_ORG),
        [ARCHIVE],
    ),
    "organisation.archival_passages": (_foreign("archival_passages", PASSAGE), [PASSAGE]),
    "organisation.source_passages": (_foreign("source_passages", entity("passage", 0)), [entity("passage", 0)]),
    "organisation.files": (_foreign("files", FILE), [FILE]),
    "organisation.provider_models": (_foreign("provider_models", MODEL), [MODEL]),
    # tools and models
    "tools.custom_source": ("update tools set source_code = null", [TOOL]),
    "tools.json_columns": ("update tools set tags = '{}'", [TOOL]),
    "tools.mcp_links": ("delete from mcp_server", [MCP_TOOL]),
    "tools.rules": ("update tools set name = 'subtract'", [AGENT + " add"]),
    "models.available": (
        "update agents set llm_config = '%s' where id = '%s'" % (json.dumps(dict(LLM, handle="x/y")), AGENT),
        [AGENT + " x/y"],
    ),
    "models.conversations": ("update conversations set model = 'x/y'", [CONVERSATION + " x/y"]),
    # secrets in the plain column alone
    **{
        "secrets." + table: ([lambda cursor, table=table, row=row: insert(cursor, table, **row)], [row["id"] + " " + column])
        for table, column, row in (
            ("agent_environment_variables", "value_enc", dict(id=entity("agent-env", 9), agent_id=AGENT, key="K", value="plain")),
            ("sandbox_environment_variables", "value_enc", dict(id=entity("sandbox-env", 9), key="K", value="plain")),
            ("mcp_oauth", "refresh_token_enc", dict(id=entity("mcp-oauth", 9), state="s", refresh_token="plain")),
            (
                "mcp_server",
                "custom_headers_enc",
                dict(id=entity("mcp_server", 9), server_name="n", server_type="sse", custom_headers={"X-Key": "plain"}),
            ),
        )
    },
    "secrets.providers": ("update providers set api_key = 'plain'", [PROVIDER + " api_key_enc"]),
    # unfinished work
    "work.runs": ("update runs set status = 'created'", [RUN]),
    "work.steps": ("update steps set status = 'PENDING' where id = '%s'" % STEP, [STEP]),
    "work.jobs": ("update jobs set status = 'pending'", [JOB]),
    "work.llm_batch_job": ("update llm_batch_job set status = 'running'", [BATCH]),
    "work.llm_batch_items": ("update llm_batch_items set request_status = 'created'", [ITEM]),
    "work.files": ("update files set processing_status = 'embedding' where id = '%s'" % FILE, [FILE]),
}


def _agent(column, value):
    return ("update agents set %s = %%s where id = '%s'" % (column, AGENT), (json.dumps(value) if value is not None else None,))


def _message(column, value):
    return ("update messages set %s = %%s where id = '%s'" % (column, M[5]), (json.dumps(value),))


UNREADABLE = [
    ("llm_config", None), ("llm_config", []), ("llm_config", {}), ("llm_config", {"model": None}),
    ("llm_config", dict(LLM, context_window="x")),
    ("llm_config", dict(LLM, model_endpoint_type="abacus")), ("llm_config", dict(LLM, provider_category="own")),
    ("embedding_config", [1]), ("embedding_config", dict(EMBEDDING, embedding_dim=None)), ("tool_rules", [{"type": "exit_loop"}]),
    ("tool_rules", [{"type": "sometimes", "tool_name": "add"}]), ("tool_rules", [{"type": "max_count_per_step", "tool_name": "add"}]),
    ("tool_rules", "add"), ("response_format", {"type": "xml"}), ("response_format", {"type": "json_schema"}), ("metadata_", [1]),
    ("compaction_settings", {"mode": "none"}), ("compaction_settings", "all"),
]  # fmt: skip
UNREADABLE_MESSAGES = [
    ("content", "hello"), ("content", ["hello"]), ("content", [{"type": "reasoning", "reasoning": "x"}]),
    ("content", [{"type": "tool_return", "tool_call_id": "x", "content": "x"}]), ("tool_calls", {"id": "x"}),
    ("tool_calls", [{"id": "x", "type": "function", "function": {"name": "add"}}]), ("tool_calls", [{"id": "x", "type": "function"}]),
    ("tool_calls", [{"id": "x", "function": {"name": "add", "arguments": "{}"}}]),
    ("tool_returns", [{"tool_call_id": "x"}]), ("tool_returns", [{"status": "success", "stdout": "text"}]), ("approvals", ["yes"]),
]  # fmt: skip

# (check, statement, the examples it must give): further ways to break what is broken above.
MORE = (
    [("agents.json_columns", _agent(column, value), ["%s %s" % (AGENT, column)]) for column, value in UNREADABLE]
    # They are put into a user's message, so that no pair of call and return is missing.
    + [("messages.json_columns", _message(column, value), ["%s %s" % (M[5], column)]) for column, value in UNREADABLE_MESSAGES]
    + [
        ("agents.message_ids_missing", statement % M[5], ["%s %s" % (OTHER, M[5])])
        for statement in (
            "update messages set agent_id = '" + AGENT + "' where id = '%s'",
            "update messages set is_deleted = true where id = '%s'",
        )
    ]
    + [
        ("agents.message_ids_empty", "update agents set message_ids = %s where id = '%s'" % (value, OTHER), [OTHER])
        for value in ("null", "'null'", "'{}'", "'\"text\"'", "'7'")
    ]
    + [
        ("passages.tags", "delete from passage_tags where id = '%s'" % TAG, [PASSAGE]),
        ("passages.tags", "update archival_passages set tags = null where id = '%s'" % PASSAGE, [PASSAGE]),
        ("tools.custom_source", "update tools set json_schema = 'null'", [TOOL]),
        ("tools.mcp_links", "update mcp_tools set tool_id = 'x'", [MCP_TOOL]),
        ("organisation.provider_models", "update providers set organization_id = '%s'" % FOREIGN_ORG, [MODEL]),
        ("models.available", "update sources set embedding_config = '%s'" % _config(handle="x/y"), [SOURCE + " x/y"]),
        (
            "tools.rules",
            _agent("tool_rules", [{"type": "constrain_child_tools", "tool_name": "add", "children": ["gone"]}]),
            [AGENT + " gone"],
        ),
        (
            "tools.rules",
            _agent("tool_rules", [{"type": "conditional", "tool_name": "add", "child_output_mapping": {"1": "gone"}}]),
            [AGENT + " gone"],
        ),
        ("blocks.history_sequence", "delete from block_history where id = '%s'" % HISTORY[0], [BLOCK]),
        ("groups.members", "update groups set agent_ids = '[]'", [GROUP]),
        ("files.passages", "update files set total_chunks = 3 where id = '%s'" % FILE, [FILE]),
    ]
)
