"""What an old installation holds besides its turns: people, tools, blocks, agents, folders, memory, providers, secrets."""
from __future__ import annotations

from .old import ORGANISATION, USER, at, make_id, vector
from .seed import ADD_NUMBERS, NASTY

# One batch of Letta's own encrypting migration is a thousand rows.
MANY = 1010

LLM = {
    "model": "gpt-4o-mini", "model_endpoint_type": "openai", "model_endpoint": "https://api.openai.com/v1", "provider_name": "openai",
    "provider_category": "base", "model_wrapper": None, "context_window": 32000, "put_inner_thoughts_in_kwargs": True,
    "handle": "openai/gpt-4o-mini", "temperature": 0.7, "max_tokens": 4096, "enable_reasoner": False, "reasoning_effort": None,
    "max_reasoning_tokens": 0, "frequency_penalty": None,
}
EMBEDDING = {
    "embedding_endpoint_type": "openai", "embedding_endpoint": "https://api.openai.com/v1", "embedding_model": "text-embedding-3-small",
    "embedding_dim": 1536, "embedding_chunk_size": 300, "handle": "openai/text-embedding-3-small", "batch_size": 32,
    "azure_endpoint": None, "azure_version": None, "azure_deployment": None,
}
# name: (type, project, tags, labels of its blocks); the folder, secrets and memory hang on "support".
AGENTS = {
    "support": ("memgpt_agent", None, ["support", "it's {{ x }}"], ["human", "persona", "company"]),
    "helper": ("memgpt_v2_agent", None, ["helper"], ["human", "persona", "company"]),
    "sleeper": ("sleeptime_agent", None, [], ["human", "persona", "company", "memory_persona"]),
    "template": ("react_agent", "templates-shop", [], ["human"]),
    "sub": ("workflow_agent", None, ["role:subagent"], ["human"]),
}
# The sleeptime partner works on the blocks of its manager.
BLOCK_OWNER = {"sleeper": "support"}
BLOCK_TEXT = {
    "human": "The user of %s is called Ann O'Neil. " + NASTY["unicode"],
    "persona": "I am %s. " + NASTY["quotes"],
    "company": "The company sells tea. " + NASTY["copy_end"],
    "memory_persona": "I tidy the memory for %s.",
}
SCHEMA = {
    "name": "add_numbers", "description": "Add two numbers.",
    "parameters": {"type": "object", "properties": {"first": {"type": "integer"}, "second": {"type": "integer"}},
                   "required": ["first", "second"]},
}
TOOLS = {
    "send_message": "letta_core", "conversation_search": "letta_core", "archival_memory_insert": "letta_core",
    "archival_memory_search": "letta_core", "core_memory_append": "letta_memory_core", "open_files": "letta_files_core",
    "grep_files": "letta_files_core", "semantic_search_files": "letta_files_core", "add_numbers": "custom", "forecast": "external_mcp",
}
RULES = [
    {"tool_name": "send_message", "type": "exit_loop", "prompt_template": None},
    {"tool_name": "add_numbers", "type": "max_count_per_step", "prompt_template": None, "max_count_limit": 3},
    {"tool_name": "conversation_search", "type": "continue_loop", "prompt_template": None},
]
FOLDER = "Hand'book 支持"
FILES = {
    "guide.md": "# Guide\n\nRefunds take five days.\n\n" + NASTY["controls"],
    "hours.txt": "Open from nine to five. " + NASTY["copy_end"],
}


def agent_id(name):
    return make_id("agent", name)


def block_id(agent, label):
    """Return the id of an agent's block; "company" is one block for all."""
    return make_id("block", label if label == "company" else "%s of %s" % (label, _owner(agent, label)))


def block_text(agent, label):
    """Return a block's value."""
    text = BLOCK_TEXT[label]
    return text % _owner(agent, label) if "%s" in text else text


def _owner(agent, label):
    return agent if label == "memory_persona" else BLOCK_OWNER.get(agent, agent)


def tool_id(name):
    return make_id("tool", name)


def write(writer):
    """Write everything of this module; see :class:`.old.Writer`."""
    for step in (_people, _providers, _tools, _agents, _blocks, _folder, _memory, _identities, _groups, _secrets):
        step(writer)


def _people(writer):
    writer.put("organizations", id=ORGANISATION, name="default_org", privileged_tools=False)
    writer.put("users", id=USER, name="default_user")
    writer.put("prompts", id=make_id("prompt", "first"), prompt=NASTY["jinja"])


def _providers(writer):
    own = make_id("provider", "own")
    writer.put("providers", id=own, name="own-openai", provider_type="openai", provider_category="byok", base_url="https://api.openai.com/v1",
               **writer.secret("api_key", "sk-invented-of-the-lab"))
    models = [(own, ORGANISATION, "own-openai")]
    if writer.has("provider_models"):
        base = make_id("provider", "base")
        writer.put("providers", id=base, name="openai", organization_id=None, provider_type="openai", provider_category="base",
                   **writer.secret("api_key", ""))
        models.append((base, None, "openai"))
    for provider, organisation, name in models:
        for model, kind in (("gpt-4o-mini", "llm"), ("text-embedding-3-small", "embedding")):
            writer.put("provider_models", id=make_id("model", "%s %s" % (name, model)), handle="%s/%s" % (name, model), display_name=model,
                       name=model, provider_id=provider, organization_id=organisation, model_type=kind, enabled=True,
                       model_endpoint_type="openai", max_context_window=32000 if kind == "llm" else None, supports_token_streaming=True,
                       supports_tool_calling=kind == "llm", embedding_dim=1536 if kind == "embedding" else None)


def _tools(writer):
    server = make_id("mcp_server", "weather")
    for name, kind in TOOLS.items():
        custom = name == "add_numbers"
        meta = {"mcp": {"server_name": "weather", "server_id": server}} if kind == "external_mcp" else {}
        writer.put("tools", id=tool_id(name), name=name, description="Does %s." % name, tool_type=kind, source_type="python",
                   source_code=ADD_NUMBERS if custom else None, json_schema={**SCHEMA, "name": name}, metadata_=meta,
                   return_char_limit=50000,
                   tags=["lab", "it's"] if custom else ["mcp:weather"] if kind == "external_mcp" else [kind],
                   pip_requirements=[{"name": "requests", "version": None}] if custom else None, npm_requirements=None,
                   default_requires_approval=None, enable_parallel_execution=False)
    sealed = "sealed" if writer.release >= (0, 16) or (0, 12) <= writer.release < (0, 13) else None
    writer.put("mcp_server", id=server, server_name="weather", server_type="streamable_http", server_url="https://mcp.example.org/mcp",
               metadata_={}, **writer.secret("token", "tok-invented", sealed),
               **writer.secret("custom_headers", {"X-Lab": "it's \"quoted\""}, sealed))
    writer.put("mcp_tools", id=make_id("mcp-tool-mapping", "forecast"), mcp_server_id=server, tool_id=tool_id("forecast"))
    writer.put("mcp_oauth", id=make_id("mcp-oauth", "weather"), state="state-invented", server_id=server, user_id=USER,
               server_url="https://mcp.example.org/mcp", server_name="weather", token_type="Bearer", status="authorized", client_id="lab",
               **writer.secret("access_token", "access-invented", sealed), **writer.secret("refresh_token", "refresh-invented", sealed),
               **writer.secret("client_secret", "client-invented", sealed), **writer.secret("authorization_code", "code-invented"))


def _agents(writer):
    for number, (name, (kind, project, tags, _labels)) in enumerate(AGENTS.items()):
        support, newer = name == "support", name == "helper" and writer.release >= (0, 13)
        writer.put("agents", id=agent_id(name), name="%s O'Neil 支持" % name, description=NASTY["quotes"], message_ids=[],
                   agent_type="letta_v1_agent" if newer else kind, system="You are %s." % name,
                   llm_config=LLM, embedding_config=EMBEDDING, metadata_={"nasty": NASTY["jinja"]},
                   tool_rules=RULES if support else [], project_id=project, message_buffer_autoclear=name == "sub",
                   enable_sleeptime=support, response_format={"type": "text"} if support else None, timezone="Europe/Berlin",
                   created_at=at(number), last_run_completion=at(90) if support else None, last_run_duration_ms=1200 if support else None,
                   max_files_open=5, per_file_view_window_char_limit=15000,
                   # Later releases wrote this themselves; before 0.10 the column was not there.
                   hidden=True if name == "template" else None, last_stop_reason="end_turn" if support else None)
        for tag in tags:
            writer.put("agents_tags", agent_id=agent_id(name), tag=tag)
        for tool, tool_type in TOOLS.items():
            if support or tool_type == "letta_core":
                writer.put("tools_agents", agent_id=agent_id(name), tool_id=tool_id(tool))


def _blocks(writer):
    written = set()
    for name, (_kind, _project, _tags, labels) in AGENTS.items():
        for label in labels:
            block = block_id(name, label)
            if block not in written:
                writer.put("block", id=block, label=label, value=block_text(name, label), limit=5000, is_template=False, version=1,
                           read_only=label == "company", preserve_on_migration=False, description="About %s" % label, metadata_={})
                written.add(block)
            writer.put("blocks_agents", agent_id=agent_id(name), block_id=block, block_label=label)
    shared = block_id("support", "company")
    for number, value in enumerate(("The company sells coffee.", block_text("support", "company")), 1):
        writer.put("block_history", id=make_id("block_hist", number), block_id=shared, sequence_number=number, label="company", value=value,
                   limit=5000, metadata_={}, actor_type="letta_user", actor_id=USER, created_at=at(number))
    now = make_id("block_hist", 2)
    writer.cursor.execute("UPDATE letta.block SET current_history_entry_id = %s, version = 3 WHERE id = %s", (now, shared))
    writer.put("blocks_tags", block_id=shared, tag="shared")


def _folder(writer):
    folder = make_id("source", "handbook")
    writer.put("sources", id=folder, name=FOLDER, description=NASTY["shell"], instructions="Read it.", embedding_config=EMBEDDING,
               metadata_={"nasty": NASTY["rtl"]}, vector_db_provider="NATIVE")
    writer.put("sources_agents", agent_id=agent_id("support"), source_id=folder)
    for number, (name, text) in enumerate(FILES.items()):
        file, full = make_id("file", name), "%s/%s" % (FOLDER, name)
        writer.put("files", id=file, source_id=folder, file_name=full, original_file_name=name, file_type="text/plain",
                   file_size=len(text.encode()), processing_status="completed", total_chunks=2, chunks_embedded=2)
        writer.put("file_contents", id=make_id("file_content", name), file_id=file, text=text)
        for part in range(2):
            writer.put("source_passages", id=make_id("passage", "%s %d" % (name, part)), text=text[part * 40:part * 40 + 40] or name,
                       embedding_config=EMBEDDING, metadata_={}, embedding=vector("%s %d" % (name, part)), file_id=file, source_id=folder,
                       file_name=full, tags=None)
        writer.put("files_agents", id=make_id("file_agent", name), file_id=file, agent_id=agent_id("support"), source_id=folder,
                   file_name=full, is_open=number == 0, visible_content=text if number == 0 else None, start_line=None, end_line=None,
                   last_accessed_at=at(30))
    writer.put("files", id=make_id("file", "broken"), source_id=folder, file_name="%s/broken.pdf" % FOLDER, original_file_name="broken.pdf",
               file_type="application/pdf", file_size=9, processing_status="error", error_message="no text was found")


def _memory(writer):
    for name, texts in {"support": ["Ann likes tea.", NASTY["copy_end"], NASTY["unicode"]], "helper": ["Bob likes coffee.", "x"]}.items():
        archive = make_id("archive", name)
        writer.put("archives", id=archive, name="%s O'Neil 支持's Archive" % name, description=NASTY["quotes"], vector_db_provider="NATIVE",
                   embedding_config=EMBEDDING)
        writer.put("archives_agents", agent_id=agent_id(name), archive_id=archive, is_owner=True)
        for number, text in enumerate(texts):
            passage = make_id("passage", "%s %d" % (name, number))
            row = {"id": passage, "text": text, "embedding_config": EMBEDDING, "metadata_": {"n": number}, "created_at": at(number),
                   "embedding": vector("%s %d" % (name, number))}
            writer.put("agent_passages", agent_id=agent_id(name), **row)
            writer.put("archival_passages", archive_id=archive, tags=["ann"] if number == 0 else None, **row)
            if number == 0:
                writer.put("passage_tags", id=make_id("passage-tag", name), tag="ann", passage_id=passage, archive_id=archive)
    writer.put("archives", id=make_id("archive", "empty"), name="empty", vector_db_provider="NATIVE", embedding_config=EMBEDDING)
    if "soft_deleted_passages" in writer.traps:
        writer.put("agent_passages", id=make_id("passage", "deleted"), text="Forget this.", embedding_config=EMBEDDING, metadata_={},
                   embedding=vector("deleted"), agent_id=agent_id("support"), is_deleted=True)


def _identities(writer):
    ann = make_id("identity", "ann")
    writer.put("identities", id=ann, identifier_key="ann@example.org'", name="Ann %s" % NASTY["rtl"], identity_type="user",
               properties=[{"key": "note", "value": NASTY["quotes"], "type": "string"}])
    writer.put("identities_agents", identity_id=ann, agent_id=agent_id("support"))
    writer.put("identities_blocks", identity_id=ann, block_id=block_id("support", "human"))


def _groups(writer):
    pair = {"round": ("round_robin", None, ["helper", "sub"]), "sleeptime": ("sleeptime", agent_id("support"), ["sleeper"])}
    for key, (kind, manager, members) in pair.items():
        group = make_id("group", key)
        sleeptime = kind == "sleeptime"
        writer.put("groups", id=group, description=NASTY["jinja"], manager_type=kind, manager_agent_id=manager,
                   agent_ids=[agent_id(member) for member in members], max_turns=None if sleeptime else 2, hidden=None,
                   sleeptime_agent_frequency=5 if sleeptime else None, turns_counter=1 if sleeptime else None)
        for member in members:
            writer.put("groups_agents", group_id=group, agent_id=agent_id(member))
    writer.put("groups_blocks", group_id=make_id("group", "round"), block_id=block_id("helper", "company"))


def _secrets(writer):
    for name, value in {"API_TOKEN": "tok-12345-invented", "DB_PASSWORD": "p@ss 'word' {{ y }}\n🚀"}.items():
        writer.put("agent_environment_variables", id=make_id("agent-env", name), key=name, agent_id=agent_id("support"),
                   **writer.secret("value", value))
    sandbox = make_id("sandbox", "local")
    config = {"sandbox_dir": "~/tool_execution", "use_venv": False, "venv_name": "venv", "pip_requirements": []}
    writer.put("sandbox_configs", id=sandbox, type="LOCAL", config=config)
    for number in range(MANY if "many_secrets" in writer.traps else 1):
        writer.put("sandbox_environment_variables", id=make_id("sandbox-env", number), key="REGION_%d" % number, sandbox_config_id=sandbox,
                   **writer.secret("value", "eu-%d" % number))
