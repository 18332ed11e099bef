"""What the tests of validation share: a small sound Letta database to break, and what is found in it."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from contextlib import closing
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate import validate_database

HEAD = "1c28e167b74f"
ORG, FOREIGN_ORG = "org-00000000-0000-4000-8000-000000000000", "org-00000000-0000-4000-8000-000000000001"
USER = "user-00000000-0000-4000-8000-000000000000"
PASSWORD = "letta's lab pass%word"


def entity(prefix, number):
    """Return an id as Letta writes them."""
    return "%s-%s" % (prefix, uuid.UUID(int=number + 1, version=4))


AGENT, OTHER = entity("agent", 0), entity("agent", 1)
M = [entity("message", n) for n in range(6)]
CALL, RETURN = entity("message", 6), entity("message", 7)
CONVERSATION, TALK = entity("conv", 0), [entity("message", n) for n in range(8, 12)]
# How many messages there are: their sequence is there, too.
MESSAGES = 12
GROUP, ARCHIVE, SOURCE, FILE = entity("group", 0), entity("archive", 0), entity("source", 0), entity("file", 0)
BLOCK, HISTORY = entity("block", 0), [entity("block_hist", n) for n in range(2)]
TOOL, MCP, MCP_TOOL = entity("tool", 0), entity("mcp_server", 0), entity("mcp-tool-mapping", 0)
PROVIDER, MODEL, GIVEN = entity("provider", 0), entity("model", 0), entity("file_agent", 0)
PASSAGE, TAG, IDENTITY = entity("passage", 9), entity("passage-tag", 0), entity("identity", 0)
RUN, STEP, JOB = entity("run", 0), entity("step", 0), entity("job", 0)
BATCH, ITEM = entity("batch_req", 0), entity("batch_item", 0)
LLM = {"model": "gpt-4o-mini", "model_endpoint_type": "openai", "context_window": 8192, "handle": "openai/gpt-4o-mini"}
EMBEDDING = {"embedding_endpoint_type": "openai", "embedding_model": "e3", "embedding_dim": 1536, "handle": "openai/gpt-4o-mini"}
RULES = [
    {"type": "constrain_child_tools", "tool_name": "add", "children": ["add"]},
    {"type": "max_count_per_step", "tool_name": "add", "max_count_limit": 3},
    {"type": "conditional", "tool_name": "add", "default_child": "add", "child_output_mapping": {"1": "add"}},
]


def call(name):
    """Return the tool_calls of a message with one call."""
    return [{"id": name, "type": "function", "function": {"name": "add", "arguments": '{"text": "\\u0000"}'}}]


def returned(name):
    """Return the tool_returns of a message."""
    return [{"tool_call_id": name, "status": "success", "stdout": None, "func_response": "42"}]


def vector(width, used=None):
    """Return a vector as text, zero behind the first ``used`` values."""
    used = width if used is None else used
    return "[%s]" % ",".join(["0.5"] * used + ["0"] * (width - used))


def insert(cursor, table, **values):
    """Insert a row, filling what the schema demands and the test does not care about."""
    cursor.execute(
        """select column_name, udt_name from information_schema.columns where table_schema = 'letta' and table_name = %s
           and is_nullable = 'NO' and column_default is null""",
        (table,),
    )
    filler = {"json": "{}", "bool": False, "int4": 0, "int8": 0, "varchar": "x", "text": "x", "timestamptz": "now"}
    filler.update(vectordbprovider="NATIVE", sandboxtype="LOCAL")
    row = {name: filler[kind] for name, kind in cursor.fetchall()}
    if "organization_id" in row:
        row["organization_id"] = ORG
    row.update({name: json.dumps(value) if isinstance(value, (dict, list)) else value for name, value in values.items()})
    names = ", ".join('"%s"' % name for name in row)
    cursor.execute("insert into letta.%s (%s) values (%s)" % (table, names, ", ".join(["%s"] * len(row))), list(row.values()))


def fill(cursor):
    """A small sound world: two agents that talk, a group, memory, a folder with a file, a conversation, finished work."""
    cursor.execute("insert into letta.alembic_version values (%s)", (HEAD,))
    for org in (ORG, FOREIGN_ORG):
        insert(cursor, "organizations", id=org, name="org")
    insert(cursor, "users", id=USER, name="user")
    _models_and_tools(cursor)
    _agents(cursor)
    _memory(cursor)
    _folder(cursor)
    _conversation(cursor)
    _work(cursor)


def _models_and_tools(cursor):
    insert(cursor, "providers", id=PROVIDER, name="openai", provider_type="openai", provider_category="base", organization_id=None)
    insert(cursor, "provider_models", id=MODEL, handle="openai/gpt-4o-mini", provider_id=PROVIDER, model_type="llm", organization_id=None)
    insert(cursor, "tools", id=TOOL, name="add", tags=[], tool_type="custom", source_type="python", source_code="def add(): pass",
           json_schema={"name": "add"})
    insert(cursor, "mcp_server", id=MCP, server_name="weather", server_type="sse")
    insert(cursor, "mcp_tools", id=MCP_TOOL, mcp_server_id=MCP, tool_id=TOOL)
    insert(cursor, "identities", id=IDENTITY, identity_type="user")


def _agents(cursor):
    for agent, messages in ((AGENT, [*M[:3], CALL, RETURN]), (OTHER, M[3:])):
        insert(cursor, "agents", id=agent, message_ids=messages, llm_config=LLM, tool_rules=RULES if agent == AGENT else [],
               embedding_config="null", agent_type="letta_v1_agent", response_format={"type": "text"}, compaction_settings={"mode": "all"})
    for agent, messages in ((AGENT, M[:3]), (OTHER, M[3:])):
        for number, message in enumerate(messages):
            # What a model wrote may hold what PostgreSQL's JSON operators cannot decode.
            text = "You see Ann\n1. likes tea" if not number else "hello \u0000"
            insert(cursor, "messages", id=message, agent_id=agent, role="user" if number else "system",
                   content=[{"type": "text", "text": text}, {"type": "of the future"}])
    insert(cursor, "messages", id=CALL, agent_id=AGENT, role="assistant", tool_calls=call("call-1"))
    insert(cursor, "messages", id=RETURN, agent_id=AGENT, role="tool", tool_call_id="call-1", tool_returns=returned("call-1"))
    insert(cursor, "groups", id=GROUP, manager_agent_id=AGENT, agent_ids=[OTHER], manager_type="sleeptime", sleeptime_agent_frequency=5,
           turns_counter=-1, last_processed_message_id=M[2])
    insert(cursor, "groups_agents", group_id=GROUP, agent_id=OTHER)
    insert(cursor, "tools_agents", agent_id=AGENT, tool_id=TOOL)
    cursor.execute("update letta.agents set enable_sleeptime = true where id = %s", (AGENT,))


def _memory(cursor):
    insert(cursor, "block", id=BLOCK, label="human", value="Ann\nlikes tea", limit=100)
    for number, entry in enumerate(HISTORY, 1):
        insert(cursor, "block_history", id=entry, block_id=BLOCK, sequence_number=number, actor_type="letta_user")
    cursor.execute("update letta.block set current_history_entry_id = %s", (HISTORY[1],))
    insert(cursor, "blocks_agents", agent_id=AGENT, block_id=BLOCK, block_label="human")
    insert(cursor, "archives", id=ARCHIVE, embedding_config=EMBEDDING)
    insert(cursor, "archives_agents", agent_id=AGENT, archive_id=ARCHIVE, is_owner=True)
    insert(cursor, "archival_passages", id=PASSAGE, archive_id=ARCHIVE, embedding=vector(4096, 1536), embedding_config=EMBEDDING,
           tags=["b", "a"])
    insert(cursor, "archival_passages", id=entity("passage", 8), archive_id=ARCHIVE, embedding=None)
    for number, tag in enumerate(("a", "b")):
        insert(cursor, "passage_tags", id=entity("passage-tag", number), passage_id=PASSAGE, archive_id=ARCHIVE, tag=tag)


def _folder(cursor):
    insert(cursor, "sources", id=SOURCE, name="folder", embedding_config=EMBEDDING)
    insert(cursor, "sources_agents", agent_id=AGENT, source_id=SOURCE)
    insert(cursor, "files", id=FILE, source_id=SOURCE, processing_status="completed", total_chunks=2, chunks_embedded=0,
           file_name="folder/a")
    insert(cursor, "file_contents", id=entity("file_content", 0), file_id=FILE)
    for number in range(2):
        insert(cursor, "source_passages", id=entity("passage", number), source_id=SOURCE, file_id=FILE, embedding=vector(4096, 1536),
               embedding_config=EMBEDDING)
    # As an old release left it: completed, without counters or text.
    insert(cursor, "files", id=entity("file", 1), source_id=SOURCE, processing_status="completed", file_name="folder/b")
    insert(cursor, "files_agents", id=GIVEN, file_id=FILE, agent_id=AGENT, source_id=SOURCE, file_name="folder/a", is_open=True)


def _conversation(cursor):
    """Ends with a request for approval, which waits beside a call of the same answer that needs none."""
    insert(cursor, "conversations", id=CONVERSATION, agent_id=AGENT, model="openai/gpt-4o-mini")
    for number, (message, role) in enumerate(zip(TALK, ("system", "user", "assistant", "approval"))):
        calls = call("call-%s" % role) if number > 1 else []
        insert(cursor, "messages", id=message, agent_id=AGENT, role=role, conversation_id=CONVERSATION, tool_calls=calls)
        insert(cursor, "conversation_messages", id=entity("conv_msg", number), conversation_id=CONVERSATION, agent_id=AGENT,
               message_id=message, position=number, in_context=True)


def _work(cursor):
    insert(cursor, "runs", id=RUN, agent_id=AGENT, status="completed", stop_reason="end_turn")
    insert(cursor, "run_metrics", id=RUN, agent_id=AGENT)
    insert(cursor, "steps", id=STEP, run_id=RUN, status="SUCCESS", stop_reason="end_turn")
    insert(cursor, "steps", id=entity("step", 1), status=None)
    insert(cursor, "jobs", id=JOB, user_id=USER, status="completed", job_type="batch")
    insert(cursor, "llm_batch_job", id=BATCH, letta_batch_job_id=JOB, status="completed", llm_provider="anthropic")
    insert(cursor, "llm_batch_items", id=ITEM, llm_batch_id=BATCH, agent_id=AGENT, request_status="completed", step_status="completed")


@pytest.fixture(scope="session")
def sound_template(pg):
    """A sound database to copy from; one load of the schema for all tests of validation."""
    name = "validate_template"
    owner = pg.create_letta_database(name, "letta", PASSWORD, "letta")
    with closing(connect(owner)) as conn, conn.cursor() as cursor:
        cursor.execute((Path(__file__).parent / "letta-0.16.8-schema.sql").read_text(encoding="utf-8"))
        fill(cursor)
    yield name
    pg.drop_database(name)


@pytest.fixture
def sound_database(pg, sound_template):
    """A copy of the sound database, as Letta's role sees it."""
    name = "validate_" + uuid.uuid4().hex[:8]
    yield pg.clone_database(name, sound_template, "letta", PASSWORD, "letta")
    pg.drop_database(name)


def broken(server, **options):
    """Return {check: finding} of everything that is not a pass."""
    return {finding.id: finding for finding in validate_database(server, **options) if finding.status != "pass"}


def superuser(pg, database, *statements):
    """Run statements as the superuser in a database."""
    for statement in statements:
        pg.execute(statement, database.dbname)


def run_module(name, server, check=False, **arguments):
    """Run a module that logs in to PostgreSQL as Ansible does; returns its result."""
    login = dict(login_host=server.host, login_port=server.port, login_user=server.user, login_password=server.password)
    return run_plain_module(name, check, server.password, **arguments, **login)


def run_plain_module(name, check=False, secret=None, **arguments):
    """Run a module as Ansible does; returns its result. It may not say the secret."""
    done = subprocess.run(
        [sys.executable, "-c", "from ansible_collections.letta_ops.recovery.plugins.modules import %s as m; m.main()" % name],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": dict(arguments, _ansible_check_mode=check)}),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "playbooks" / "collections")},
    )
    assert secret is None or secret not in done.stdout + done.stderr
    return json.loads(done.stdout)
