-- Schema of Letta 0.16.8 (revision 1c28e167b74f) as its own migrations leave it, for tests that need tables and no server.
-- Regenerate: pg_dump --schema-only --no-owner --no-privileges --no-comments of a database migrated to that revision,
-- without the lines that create or drop the schema, the extension, or belong to psql.
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE TYPE letta.sandboxtype AS ENUM (
    'E2B',
    'MODAL',
    'LOCAL'
);
CREATE TYPE letta.stepstatus AS ENUM (
    'PENDING',
    'SUCCESS',
    'FAILED',
    'CANCELLED'
);
CREATE TYPE letta.stopreasontype AS ENUM (
    'end_turn',
    'error',
    'invalid_tool_call',
    'max_steps',
    'no_tool_call',
    'tool_rule',
    'cancelled'
);
CREATE TYPE letta.vectordbprovider AS ENUM (
    'NATIVE',
    'TPUF',
    'PINECONE'
);
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE letta.agent_environment_variables (
    id character varying NOT NULL,
    key character varying NOT NULL,
    value character varying NOT NULL,
    description character varying,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    agent_id character varying NOT NULL,
    value_enc text
);
CREATE TABLE letta.agents (
    id character varying NOT NULL,
    name character varying,
    created_at timestamp with time zone DEFAULT now(),
    description character varying,
    message_ids json,
    system character varying,
    agent_type character varying,
    llm_config json,
    embedding_config json,
    metadata_ json,
    tool_rules json,
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    project_id character varying,
    template_id character varying,
    base_template_id character varying,
    message_buffer_autoclear boolean NOT NULL,
    enable_sleeptime boolean,
    response_format json,
    last_run_completion timestamp with time zone,
    last_run_duration_ms integer,
    timezone character varying,
    max_files_open integer,
    per_file_view_window_char_limit integer,
    hidden boolean,
    entity_id character varying,
    deployment_id character varying,
    _vector_db_namespace character varying,
    last_stop_reason character varying,
    compaction_settings json
);
CREATE TABLE letta.agents_tags (
    agent_id character varying NOT NULL,
    tag character varying NOT NULL
);
CREATE TABLE letta.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE letta.archival_passages (
    id character varying CONSTRAINT agent_passages_id_not_null NOT NULL,
    text character varying CONSTRAINT agent_passages_text_not_null NOT NULL,
    embedding_config json,
    metadata_ json CONSTRAINT agent_passages_metadata__not_null NOT NULL,
    embedding letta.vector(4096),
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false CONSTRAINT agent_passages_is_deleted_not_null NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying CONSTRAINT agent_passages_organization_id_not_null NOT NULL,
    archive_id character varying CONSTRAINT agent_passages_archive_id_not_null NOT NULL,
    tags json
);
CREATE TABLE letta.archives (
    name character varying NOT NULL,
    description character varying,
    metadata_ json,
    id character varying NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    vector_db_provider letta.vectordbprovider NOT NULL,
    _vector_db_namespace character varying,
    embedding_config json
);
CREATE TABLE letta.archives_agents (
    agent_id character varying NOT NULL,
    archive_id character varying NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    is_owner boolean NOT NULL
);
CREATE TABLE letta.block (
    id character varying NOT NULL,
    value character varying NOT NULL,
    "limit" integer NOT NULL,
    template_name character varying,
    label character varying NOT NULL,
    metadata_ json,
    description character varying,
    is_template boolean NOT NULL,
    organization_id character varying NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    current_history_entry_id character varying,
    version integer DEFAULT 1 NOT NULL,
    read_only boolean NOT NULL,
    preserve_on_migration boolean,
    project_id character varying,
    entity_id character varying,
    base_template_id character varying,
    template_id character varying,
    deployment_id character varying,
    hidden boolean
);
CREATE TABLE letta.block_history (
    description text,
    label character varying NOT NULL,
    value text NOT NULL,
    "limit" bigint NOT NULL,
    metadata_ json,
    actor_type character varying,
    actor_id character varying,
    block_id character varying NOT NULL,
    sequence_number integer NOT NULL,
    organization_id character varying NOT NULL,
    id character varying NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying
);
CREATE TABLE letta.blocks_agents (
    agent_id character varying NOT NULL,
    block_id character varying NOT NULL,
    block_label character varying NOT NULL
);
CREATE TABLE letta.blocks_conversations (
    conversation_id character varying NOT NULL,
    block_id character varying NOT NULL,
    block_label character varying NOT NULL
);
CREATE TABLE letta.blocks_tags (
    block_id character varying NOT NULL,
    tag character varying NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL
);
CREATE TABLE letta.conversation_messages (
    id character varying NOT NULL,
    conversation_id character varying,
    agent_id character varying NOT NULL,
    message_id character varying NOT NULL,
    "position" integer NOT NULL,
    in_context boolean NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL
);
CREATE TABLE letta.conversations (
    id character varying NOT NULL,
    agent_id character varying NOT NULL,
    summary character varying,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    model character varying,
    model_settings json,
    last_message_at timestamp with time zone
);
CREATE TABLE letta.file_contents (
    file_id character varying NOT NULL,
    text text NOT NULL,
    id character varying NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying
);
CREATE TABLE letta.files (
    id character varying NOT NULL,
    source_id character varying NOT NULL,
    file_name character varying,
    file_path character varying,
    file_type character varying,
    file_size integer,
    file_creation_date character varying,
    file_last_modified_date character varying,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    processing_status character varying NOT NULL,
    error_message text,
    original_file_name character varying,
    total_chunks integer,
    chunks_embedded integer
);
CREATE TABLE letta.files_agents (
    id character varying NOT NULL,
    file_id character varying NOT NULL,
    agent_id character varying NOT NULL,
    is_open boolean NOT NULL,
    visible_content text,
    last_accessed_at timestamp with time zone DEFAULT now() NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    file_name character varying NOT NULL,
    source_id character varying NOT NULL,
    start_line integer,
    end_line integer
);
CREATE TABLE letta.groups (
    id character varying NOT NULL,
    description character varying NOT NULL,
    manager_type character varying NOT NULL,
    manager_agent_id character varying,
    termination_token character varying,
    max_turns integer,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    agent_ids json NOT NULL,
    sleeptime_agent_frequency integer,
    turns_counter integer,
    last_processed_message_id character varying,
    max_message_buffer_length integer,
    min_message_buffer_length integer,
    project_id character varying,
    base_template_id character varying,
    template_id character varying,
    deployment_id character varying,
    hidden boolean
);
CREATE TABLE letta.groups_agents (
    group_id character varying NOT NULL,
    agent_id character varying NOT NULL
);
CREATE TABLE letta.groups_blocks (
    group_id character varying NOT NULL,
    block_id character varying NOT NULL
);
CREATE TABLE letta.identities (
    id character varying NOT NULL,
    identifier_key character varying NOT NULL,
    name character varying NOT NULL,
    identity_type character varying NOT NULL,
    project_id character varying,
    organization_id character varying NOT NULL,
    created_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp with time zone DEFAULT CURRENT_TIMESTAMP,
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    properties json DEFAULT '[]'::jsonb NOT NULL
);
CREATE TABLE letta.identities_agents (
    identity_id character varying NOT NULL,
    agent_id character varying NOT NULL
);
CREATE TABLE letta.identities_blocks (
    identity_id character varying NOT NULL,
    block_id character varying NOT NULL
);
CREATE TABLE letta.jobs (
    id character varying NOT NULL,
    user_id character varying NOT NULL,
    status character varying NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    completed_at timestamp without time zone,
    metadata_ json,
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    job_type character varying NOT NULL,
    request_config json,
    callback_url character varying,
    callback_sent_at timestamp without time zone,
    callback_status_code integer,
    callback_error character varying,
    ttft_ns bigint,
    total_duration_ns bigint,
    organization_id character varying,
    stop_reason character varying,
    background boolean
);
CREATE TABLE letta.llm_batch_items (
    id character varying NOT NULL,
    llm_config json NOT NULL,
    request_status character varying NOT NULL,
    step_status character varying NOT NULL,
    step_state json NOT NULL,
    batch_request_result json,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    agent_id character varying NOT NULL,
    llm_batch_id character varying NOT NULL
);
CREATE TABLE letta.llm_batch_job (
    id character varying NOT NULL,
    status character varying NOT NULL,
    llm_provider character varying NOT NULL,
    create_batch_response json NOT NULL,
    latest_polling_response json,
    last_polled_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    letta_batch_job_id character varying NOT NULL
);
CREATE TABLE letta.mcp_oauth (
    id character varying NOT NULL,
    state character varying(255) NOT NULL,
    server_id character varying(255),
    server_url text NOT NULL,
    server_name text NOT NULL,
    authorization_url text,
    authorization_code text,
    access_token text,
    refresh_token text,
    token_type character varying(50) NOT NULL,
    expires_at timestamp with time zone,
    scope text,
    client_id text,
    client_secret text,
    redirect_uri text,
    status character varying(20) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    user_id character varying NOT NULL,
    access_token_enc text,
    refresh_token_enc text,
    client_secret_enc text,
    authorization_code_enc text
);
CREATE TABLE letta.mcp_server (
    id character varying NOT NULL,
    server_name character varying NOT NULL,
    server_type character varying NOT NULL,
    server_url character varying,
    stdio_config json,
    organization_id character varying NOT NULL,
    is_deleted boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    _created_by_id character varying,
    _last_updated_by_id character varying,
    metadata_ json,
    token character varying,
    custom_headers json,
    token_enc text,
    custom_headers_enc text
);
CREATE TABLE letta.mcp_tools (
    mcp_server_id character varying NOT NULL,
    tool_id character varying NOT NULL,
    id character varying NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL
);
CREATE SEQUENCE letta.message_seq_id
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
CREATE TABLE letta.messages (
    id character varying NOT NULL,
    agent_id character varying NOT NULL,
    role character varying NOT NULL,
    text character varying,
    model character varying,
    name character varying,
    tool_calls json NOT NULL,
    tool_call_id character varying,
    created_at timestamp with time zone,
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    step_id character varying,
    otid character varying,
    tool_returns json,
    group_id character varying,
    content json,
    sequence_id bigint DEFAULT nextval('letta.message_seq_id'::regclass) NOT NULL,
    sender_id character varying,
    batch_item_id character varying,
    is_err boolean,
    approval_request_id character varying,
    approve boolean,
    denial_reason character varying,
    run_id character varying,
    approvals json,
    conversation_id character varying
);
CREATE TABLE letta.organizations (
    id character varying NOT NULL,
    name character varying NOT NULL,
    created_at timestamp with time zone,
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    privileged_tools boolean NOT NULL
);
CREATE TABLE letta.passage_tags (
    id character varying NOT NULL,
    tag character varying NOT NULL,
    passage_id character varying NOT NULL,
    archive_id character varying NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL
);
CREATE TABLE letta.prompts (
    id character varying NOT NULL,
    prompt character varying NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    project_id character varying
);
CREATE TABLE letta.provider_models (
    handle character varying NOT NULL,
    display_name character varying NOT NULL,
    name character varying NOT NULL,
    provider_id character varying NOT NULL,
    organization_id character varying,
    model_type character varying NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    model_endpoint_type character varying NOT NULL,
    max_context_window integer,
    supports_token_streaming boolean,
    supports_tool_calling boolean,
    embedding_dim integer,
    id character varying NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying
);
CREATE TABLE letta.provider_trace_metadata (
    id character varying NOT NULL,
    step_id character varying,
    agent_id character varying,
    agent_tags json,
    call_type character varying,
    run_id character varying,
    source character varying,
    org_id character varying,
    user_id character varying,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL
);
CREATE TABLE letta.provider_traces (
    id character varying NOT NULL,
    request_json json NOT NULL,
    response_json json NOT NULL,
    step_id character varying,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    agent_id character varying,
    agent_tags json,
    call_type character varying,
    run_id character varying,
    source character varying,
    org_id character varying,
    user_id character varying,
    compaction_settings json,
    llm_config json
);
CREATE TABLE letta.providers (
    name character varying NOT NULL,
    api_key character varying,
    id character varying NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying,
    provider_type character varying,
    base_url character varying,
    provider_category character varying,
    access_key character varying,
    region character varying,
    api_version character varying,
    api_key_enc text,
    access_key_enc text,
    last_synced timestamp with time zone
);
CREATE TABLE letta.run_metrics (
    id character varying NOT NULL,
    run_start_ns bigint,
    run_ns bigint,
    num_steps integer,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    project_id character varying,
    agent_id character varying NOT NULL,
    organization_id character varying NOT NULL,
    base_template_id character varying,
    template_id character varying,
    deployment_id character varying,
    tools_used json
);
CREATE TABLE letta.runs (
    id character varying NOT NULL,
    status character varying NOT NULL,
    completed_at timestamp without time zone,
    stop_reason character varying,
    background boolean,
    metadata_ json,
    request_config json,
    agent_id character varying NOT NULL,
    callback_url character varying,
    callback_sent_at timestamp without time zone,
    callback_status_code integer,
    callback_error character varying,
    ttft_ns bigint,
    total_duration_ns bigint,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    project_id character varying,
    base_template_id character varying,
    template_id character varying,
    deployment_id character varying,
    conversation_id character varying
);
CREATE TABLE letta.sandbox_configs (
    id character varying NOT NULL,
    type letta.sandboxtype NOT NULL,
    config json NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL
);
CREATE TABLE letta.sandbox_environment_variables (
    id character varying NOT NULL,
    key character varying NOT NULL,
    value character varying NOT NULL,
    description character varying,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    sandbox_config_id character varying NOT NULL,
    value_enc text
);
CREATE TABLE letta.source_passages (
    id character varying NOT NULL,
    text character varying NOT NULL,
    embedding_config json,
    metadata_ json NOT NULL,
    embedding letta.vector(4096),
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    file_id character varying,
    source_id character varying NOT NULL,
    file_name character varying NOT NULL,
    tags json
);
CREATE TABLE letta.sources (
    id character varying NOT NULL,
    name character varying NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    embedding_config json NOT NULL,
    description character varying,
    metadata_ json,
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    instructions character varying,
    vector_db_provider letta.vectordbprovider NOT NULL
);
CREATE TABLE letta.sources_agents (
    agent_id character varying NOT NULL,
    source_id character varying NOT NULL
);
CREATE TABLE letta.step_metrics (
    id character varying NOT NULL,
    organization_id character varying,
    provider_id character varying,
    llm_request_ns bigint,
    tool_execution_ns bigint,
    step_ns bigint,
    base_template_id character varying,
    template_id character varying,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    project_id character varying,
    agent_id character varying NOT NULL,
    step_start_ns bigint,
    llm_request_start_ns bigint,
    run_id character varying
);
CREATE TABLE letta.steps (
    completion_tokens integer DEFAULT 0 CONSTRAINT job_usage_statistics_completion_tokens_not_null NOT NULL,
    prompt_tokens integer DEFAULT 0 CONSTRAINT job_usage_statistics_prompt_tokens_not_null NOT NULL,
    total_tokens integer DEFAULT 0 CONSTRAINT job_usage_statistics_total_tokens_not_null NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false CONSTRAINT job_usage_statistics_is_deleted_not_null NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    id character varying NOT NULL,
    origin character varying,
    organization_id character varying,
    provider_id character varying,
    provider_name character varying,
    model character varying,
    context_window_limit integer,
    completion_tokens_details json,
    tags json,
    tid character varying,
    model_endpoint character varying,
    trace_id character varying,
    agent_id character varying,
    provider_category character varying,
    feedback character varying,
    project_id character varying,
    stop_reason character varying,
    error_type character varying,
    error_data json,
    status letta.stepstatus,
    run_id character varying,
    prompt_tokens_details json,
    request_id character varying,
    model_handle character varying,
    cached_input_tokens integer,
    cache_write_tokens integer,
    reasoning_tokens integer
);
CREATE TABLE letta.tools (
    id character varying NOT NULL,
    name character varying NOT NULL,
    description character varying,
    source_type character varying NOT NULL,
    source_code character varying,
    json_schema json,
    tags json NOT NULL,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL,
    return_char_limit integer,
    tool_type character varying NOT NULL,
    args_json_schema json,
    metadata_ json,
    pip_requirements json,
    npm_requirements json,
    default_requires_approval boolean,
    enable_parallel_execution boolean,
    project_id character varying
);
CREATE TABLE letta.tools_agents (
    agent_id character varying NOT NULL,
    tool_id character varying NOT NULL
);
CREATE TABLE letta.users (
    id character varying NOT NULL,
    name character varying NOT NULL,
    created_at timestamp with time zone,
    updated_at timestamp with time zone DEFAULT now(),
    is_deleted boolean DEFAULT false NOT NULL,
    _created_by_id character varying,
    _last_updated_by_id character varying,
    organization_id character varying NOT NULL
);
ALTER TABLE ONLY letta.agent_environment_variables
    ADD CONSTRAINT agent_environment_variables_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.archival_passages
    ADD CONSTRAINT agent_passages_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.agents
    ADD CONSTRAINT agents_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY letta.archives_agents
    ADD CONSTRAINT archives_agents_pkey PRIMARY KEY (agent_id, archive_id);
ALTER TABLE ONLY letta.archives
    ADD CONSTRAINT archives_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.block_history
    ADD CONSTRAINT block_history_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.block
    ADD CONSTRAINT block_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.blocks_conversations
    ADD CONSTRAINT blocks_conversations_pkey PRIMARY KEY (conversation_id, block_id, block_label);
ALTER TABLE ONLY letta.conversation_messages
    ADD CONSTRAINT conversation_messages_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.conversations
    ADD CONSTRAINT conversations_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.file_contents
    ADD CONSTRAINT file_contents_pkey PRIMARY KEY (file_id, id);
ALTER TABLE ONLY letta.files_agents
    ADD CONSTRAINT files_agents_pkey PRIMARY KEY (id, file_id, agent_id);
ALTER TABLE ONLY letta.files
    ADD CONSTRAINT files_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.groups_agents
    ADD CONSTRAINT groups_agents_pkey PRIMARY KEY (group_id, agent_id);
ALTER TABLE ONLY letta.groups_blocks
    ADD CONSTRAINT groups_blocks_pkey PRIMARY KEY (group_id, block_id);
ALTER TABLE ONLY letta.groups
    ADD CONSTRAINT groups_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.identities_agents
    ADD CONSTRAINT identities_agents_pkey PRIMARY KEY (identity_id, agent_id);
ALTER TABLE ONLY letta.identities_blocks
    ADD CONSTRAINT identities_blocks_pkey PRIMARY KEY (identity_id, block_id);
ALTER TABLE ONLY letta.identities
    ADD CONSTRAINT identities_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.llm_batch_items
    ADD CONSTRAINT llm_batch_items_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.llm_batch_job
    ADD CONSTRAINT llm_batch_job_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.mcp_oauth
    ADD CONSTRAINT mcp_oauth_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.mcp_oauth
    ADD CONSTRAINT mcp_oauth_state_key UNIQUE (state);
ALTER TABLE ONLY letta.mcp_server
    ADD CONSTRAINT mcp_server_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.mcp_tools
    ADD CONSTRAINT mcp_tools_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.organizations
    ADD CONSTRAINT organizations_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.passage_tags
    ADD CONSTRAINT passage_tags_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.steps
    ADD CONSTRAINT pk_steps_id PRIMARY KEY (id);
ALTER TABLE ONLY letta.prompts
    ADD CONSTRAINT prompts_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.provider_models
    ADD CONSTRAINT provider_models_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.provider_trace_metadata
    ADD CONSTRAINT provider_trace_metadata_pkey PRIMARY KEY (created_at, id);
ALTER TABLE ONLY letta.provider_traces
    ADD CONSTRAINT provider_traces_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.providers
    ADD CONSTRAINT providers_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.run_metrics
    ADD CONSTRAINT run_metrics_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.sandbox_configs
    ADD CONSTRAINT sandbox_configs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.sandbox_environment_variables
    ADD CONSTRAINT sandbox_environment_variables_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.source_passages
    ADD CONSTRAINT source_passages_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.sources_agents
    ADD CONSTRAINT sources_agents_pkey PRIMARY KEY (agent_id, source_id);
ALTER TABLE ONLY letta.sources
    ADD CONSTRAINT sources_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.step_metrics
    ADD CONSTRAINT step_metrics_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.tools
    ADD CONSTRAINT tools_pkey PRIMARY KEY (id);
ALTER TABLE ONLY letta.agent_environment_variables
    ADD CONSTRAINT uix_key_agent UNIQUE (key, agent_id);
ALTER TABLE ONLY letta.sandbox_environment_variables
    ADD CONSTRAINT uix_key_sandbox_config UNIQUE (key, sandbox_config_id);
ALTER TABLE ONLY letta.tools
    ADD CONSTRAINT uix_name_organization UNIQUE (name, organization_id);
ALTER TABLE ONLY letta.mcp_server
    ADD CONSTRAINT uix_name_organization_mcp_server UNIQUE (server_name, organization_id);
ALTER TABLE ONLY letta.tools
    ADD CONSTRAINT uix_organization_project_name UNIQUE NULLS NOT DISTINCT (organization_id, project_id, name);
ALTER TABLE ONLY letta.sandbox_configs
    ADD CONSTRAINT uix_type_organization UNIQUE (type, organization_id);
ALTER TABLE ONLY letta.archives_agents
    ADD CONSTRAINT unique_agent_archive UNIQUE (agent_id);
ALTER TABLE ONLY letta.blocks_agents
    ADD CONSTRAINT unique_agent_block UNIQUE (agent_id, block_id);
ALTER TABLE ONLY letta.agents_tags
    ADD CONSTRAINT unique_agent_tag UNIQUE (agent_id, tag);
ALTER TABLE ONLY letta.tools_agents
    ADD CONSTRAINT unique_agent_tool UNIQUE (agent_id, tool_id);
ALTER TABLE ONLY letta.block
    ADD CONSTRAINT unique_block_id_label UNIQUE (id, label);
ALTER TABLE ONLY letta.blocks_tags
    ADD CONSTRAINT unique_block_tag PRIMARY KEY (block_id, tag);
ALTER TABLE ONLY letta.blocks_conversations
    ADD CONSTRAINT unique_conversation_block UNIQUE (conversation_id, block_id);
ALTER TABLE ONLY letta.conversation_messages
    ADD CONSTRAINT unique_conversation_message UNIQUE (conversation_id, message_id);
ALTER TABLE ONLY letta.provider_models
    ADD CONSTRAINT unique_handle_per_org_and_type UNIQUE (handle, organization_id, model_type);
ALTER TABLE ONLY letta.identities
    ADD CONSTRAINT unique_identifier_key_project_id_organization_id UNIQUE NULLS NOT DISTINCT (identifier_key, project_id, organization_id);
ALTER TABLE ONLY letta.blocks_agents
    ADD CONSTRAINT unique_label_per_agent UNIQUE (agent_id, block_label);
ALTER TABLE ONLY letta.blocks_conversations
    ADD CONSTRAINT unique_label_per_conversation UNIQUE (conversation_id, block_label);
ALTER TABLE ONLY letta.provider_models
    ADD CONSTRAINT unique_model_per_provider_and_type UNIQUE (name, provider_id, model_type);
ALTER TABLE ONLY letta.providers
    ADD CONSTRAINT unique_name_organization_id UNIQUE (name, organization_id);
ALTER TABLE ONLY letta.files_agents
    ADD CONSTRAINT uq_agent_filename UNIQUE (agent_id, file_name);
ALTER TABLE ONLY letta.files_agents
    ADD CONSTRAINT uq_file_agent UNIQUE (file_id, agent_id);
ALTER TABLE ONLY letta.file_contents
    ADD CONSTRAINT uq_file_contents_file_id UNIQUE (file_id);
ALTER TABLE ONLY letta.messages
    ADD CONSTRAINT uq_messages_sequence_id UNIQUE (sequence_id);
ALTER TABLE ONLY letta.passage_tags
    ADD CONSTRAINT uq_passage_tag UNIQUE (passage_id, tag);
ALTER TABLE ONLY letta.sources
    ADD CONSTRAINT uq_source_name_organization UNIQUE (name, organization_id);
ALTER TABLE ONLY letta.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);
CREATE INDEX archival_passages_created_at_id_idx ON letta.archival_passages USING btree (created_at, id);
CREATE INDEX created_at_label_idx ON letta.block USING btree (created_at, label);
CREATE INDEX idx_agent_environment_variables_agent_id ON letta.agent_environment_variables USING btree (agent_id);
CREATE INDEX idx_messages_on_updated_at ON letta.messages USING btree (updated_at);
CREATE INDEX idx_messages_step_id ON letta.messages USING btree (step_id);
CREATE INDEX ix_agent_filename ON letta.files_agents USING btree (agent_id, file_name);
CREATE INDEX ix_agents_created_at ON letta.agents USING btree (created_at, id);
CREATE INDEX ix_agents_organization_id_created_by_id ON letta.agents USING btree (organization_id, _created_by_id);
CREATE INDEX ix_agents_organization_id_deployment_id ON letta.agents USING btree (organization_id, deployment_id);
CREATE INDEX ix_agents_project_id ON letta.agents USING btree (project_id);
CREATE INDEX ix_agents_tags_agent_id_tag ON letta.agents_tags USING btree (agent_id, tag);
CREATE INDEX ix_agents_tags_tag_agent_id ON letta.agents_tags USING btree (tag, agent_id);
CREATE INDEX ix_archival_passages_archive_id ON letta.archival_passages USING btree (archive_id);
CREATE INDEX ix_archival_passages_org_archive ON letta.archival_passages USING btree (organization_id, archive_id);
CREATE INDEX ix_archives_created_at ON letta.archives USING btree (created_at, id);
CREATE INDEX ix_archives_organization_id ON letta.archives USING btree (organization_id);
CREATE INDEX ix_block_current_history_entry_id ON letta.block USING btree (current_history_entry_id);
CREATE INDEX ix_block_hidden ON letta.block USING btree (hidden);
CREATE UNIQUE INDEX ix_block_history_block_id_sequence ON letta.block_history USING btree (block_id, sequence_number);
CREATE INDEX ix_block_is_template ON letta.block USING btree (is_template);
CREATE INDEX ix_block_org_project_template ON letta.block USING btree (organization_id, project_id, is_template);
CREATE INDEX ix_block_organization_id_deployment_id ON letta.block USING btree (organization_id, deployment_id);
CREATE INDEX ix_blocks_agents_block_id ON letta.blocks_agents USING btree (block_id);
CREATE INDEX ix_blocks_agents_block_label_agent_id ON letta.blocks_agents USING btree (block_label, agent_id);
CREATE INDEX ix_blocks_conversations_block_id ON letta.blocks_conversations USING btree (block_id);
CREATE INDEX ix_conv_msg_agent_conversation ON letta.conversation_messages USING btree (agent_id, conversation_id);
CREATE INDEX ix_conv_msg_agent_id ON letta.conversation_messages USING btree (agent_id);
CREATE INDEX ix_conv_msg_conversation_position ON letta.conversation_messages USING btree (conversation_id, "position");
CREATE INDEX ix_conv_msg_message_id ON letta.conversation_messages USING btree (message_id);
CREATE INDEX ix_conversations_agent_id ON letta.conversations USING btree (agent_id);
CREATE INDEX ix_conversations_org_agent ON letta.conversations USING btree (organization_id, agent_id);
CREATE INDEX ix_conversations_org_agent_last_message_at ON letta.conversations USING btree (organization_id, agent_id, last_message_at);
CREATE INDEX ix_file_agent ON letta.files_agents USING btree (file_id, agent_id);
CREATE INDEX ix_files_org_created ON letta.files USING btree (organization_id, created_at DESC);
CREATE INDEX ix_files_processing_status ON letta.files USING btree (processing_status);
CREATE INDEX ix_files_source_created ON letta.files USING btree (source_id, created_at DESC);
CREATE INDEX ix_jobs_user_id ON letta.jobs USING btree (user_id);
CREATE INDEX ix_llm_batch_items_agent_id ON letta.llm_batch_items USING btree (agent_id);
CREATE INDEX ix_llm_batch_items_llm_batch_id ON letta.llm_batch_items USING btree (llm_batch_id);
CREATE INDEX ix_llm_batch_items_status ON letta.llm_batch_items USING btree (request_status);
CREATE INDEX ix_llm_batch_job_created_at ON letta.llm_batch_job USING btree (created_at);
CREATE INDEX ix_llm_batch_job_status ON letta.llm_batch_job USING btree (status);
CREATE INDEX ix_messages_agent_conversation_sequence ON letta.messages USING btree (agent_id, conversation_id, sequence_id);
CREATE INDEX ix_messages_agent_created_at ON letta.messages USING btree (agent_id, created_at);
CREATE INDEX ix_messages_agent_sequence ON letta.messages USING btree (agent_id, sequence_id);
CREATE INDEX ix_messages_conversation_id ON letta.messages USING btree (conversation_id);
CREATE INDEX ix_messages_created_at ON letta.messages USING btree (created_at, id);
CREATE INDEX ix_messages_org_agent ON letta.messages USING btree (organization_id, agent_id);
CREATE INDEX ix_messages_run_sequence ON letta.messages USING btree (run_id, sequence_id);
CREATE INDEX ix_passage_tags_org_archive ON letta.passage_tags USING btree (organization_id, archive_id);
CREATE INDEX ix_passage_tags_tag ON letta.passage_tags USING btree (tag);
CREATE INDEX ix_provider_models_handle ON letta.provider_models USING btree (handle);
CREATE INDEX ix_provider_models_model_type ON letta.provider_models USING btree (model_type);
CREATE INDEX ix_provider_models_organization_id ON letta.provider_models USING btree (organization_id);
CREATE INDEX ix_provider_models_provider_id ON letta.provider_models USING btree (provider_id);
CREATE UNIQUE INDEX ix_provider_trace_metadata_id ON letta.provider_trace_metadata USING btree (id);
CREATE INDEX ix_provider_trace_metadata_step_id ON letta.provider_trace_metadata USING btree (step_id);
CREATE INDEX ix_runs_agent_id ON letta.runs USING btree (agent_id);
CREATE INDEX ix_runs_conversation_id ON letta.runs USING btree (conversation_id);
CREATE INDEX ix_runs_created_at ON letta.runs USING btree (created_at, id);
CREATE INDEX ix_runs_organization_id ON letta.runs USING btree (organization_id);
CREATE INDEX ix_sources_agents_source_id ON letta.sources_agents USING btree (source_id);
CREATE INDEX ix_step_id ON letta.provider_traces USING btree (step_id);
CREATE INDEX ix_step_metrics_run_id ON letta.step_metrics USING btree (run_id);
CREATE INDEX ix_steps_run_id ON letta.steps USING btree (run_id);
CREATE INDEX ix_tools_agents_tool_id ON letta.tools_agents USING btree (tool_id);
CREATE INDEX ix_tools_created_at_name ON letta.tools USING btree (created_at, name);
CREATE INDEX ix_tools_organization_id ON letta.tools USING btree (organization_id);
CREATE INDEX ix_tools_organization_id_name ON letta.tools USING btree (organization_id, name);
CREATE INDEX source_created_at_id_idx ON letta.sources USING btree (created_at, id);
CREATE INDEX source_passages_created_at_id_idx ON letta.source_passages USING btree (created_at, id);
CREATE INDEX source_passages_file_id_idx ON letta.source_passages USING btree (file_id);
CREATE INDEX source_passages_org_idx ON letta.source_passages USING btree (organization_id);
ALTER TABLE ONLY letta.agent_environment_variables
    ADD CONSTRAINT agent_environment_variables_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES letta.agents(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.agent_environment_variables
    ADD CONSTRAINT agent_environment_variables_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.archival_passages
    ADD CONSTRAINT agent_passages_archive_id_fkey FOREIGN KEY (archive_id) REFERENCES letta.archives(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.archival_passages
    ADD CONSTRAINT agent_passages_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.agents
    ADD CONSTRAINT agents_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.agents_tags
    ADD CONSTRAINT agents_tags_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES letta.agents(id);
ALTER TABLE ONLY letta.archives_agents
    ADD CONSTRAINT archives_agents_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES letta.agents(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.archives_agents
    ADD CONSTRAINT archives_agents_archive_id_fkey FOREIGN KEY (archive_id) REFERENCES letta.archives(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.archives
    ADD CONSTRAINT archives_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.block_history
    ADD CONSTRAINT block_history_block_id_fkey FOREIGN KEY (block_id) REFERENCES letta.block(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.block_history
    ADD CONSTRAINT block_history_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.block
    ADD CONSTRAINT block_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.blocks_agents
    ADD CONSTRAINT blocks_agents_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES letta.agents(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.blocks_conversations
    ADD CONSTRAINT blocks_conversations_block_id_fkey FOREIGN KEY (block_id) REFERENCES letta.block(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.blocks_conversations
    ADD CONSTRAINT blocks_conversations_conversation_id_fkey FOREIGN KEY (conversation_id) REFERENCES letta.conversations(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.blocks_tags
    ADD CONSTRAINT blocks_tags_block_id_fkey FOREIGN KEY (block_id) REFERENCES letta.block(id);
ALTER TABLE ONLY letta.blocks_tags
    ADD CONSTRAINT blocks_tags_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.conversation_messages
    ADD CONSTRAINT conversation_messages_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES letta.agents(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.conversation_messages
    ADD CONSTRAINT conversation_messages_conversation_id_fkey FOREIGN KEY (conversation_id) REFERENCES letta.conversations(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.conversation_messages
    ADD CONSTRAINT conversation_messages_message_id_fkey FOREIGN KEY (message_id) REFERENCES letta.messages(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.conversation_messages
    ADD CONSTRAINT conversation_messages_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.conversations
    ADD CONSTRAINT conversations_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES letta.agents(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.conversations
    ADD CONSTRAINT conversations_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.file_contents
    ADD CONSTRAINT file_contents_file_id_fkey FOREIGN KEY (file_id) REFERENCES letta.files(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.files_agents
    ADD CONSTRAINT files_agents_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES letta.agents(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.files_agents
    ADD CONSTRAINT files_agents_file_id_fkey FOREIGN KEY (file_id) REFERENCES letta.files(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.files_agents
    ADD CONSTRAINT files_agents_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.files_agents
    ADD CONSTRAINT files_agents_source_id_fkey FOREIGN KEY (source_id) REFERENCES letta.sources(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.files
    ADD CONSTRAINT files_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.files
    ADD CONSTRAINT files_source_id_fkey FOREIGN KEY (source_id) REFERENCES letta.sources(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.block
    ADD CONSTRAINT fk_block_current_history_entry FOREIGN KEY (current_history_entry_id) REFERENCES letta.block_history(id);
ALTER TABLE ONLY letta.blocks_agents
    ADD CONSTRAINT fk_block_id_label FOREIGN KEY (block_id, block_label) REFERENCES letta.block(id, label) ON UPDATE CASCADE ON DELETE CASCADE DEFERRABLE;
ALTER TABLE ONLY letta.jobs
    ADD CONSTRAINT fk_jobs_organization_id FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.messages
    ADD CONSTRAINT fk_messages_run_id FOREIGN KEY (run_id) REFERENCES letta.runs(id) ON DELETE SET NULL;
ALTER TABLE ONLY letta.messages
    ADD CONSTRAINT fk_messages_step_id FOREIGN KEY (step_id) REFERENCES letta.steps(id) ON DELETE SET NULL;
ALTER TABLE ONLY letta.step_metrics
    ADD CONSTRAINT fk_step_metrics_run_id FOREIGN KEY (run_id) REFERENCES letta.runs(id) ON DELETE SET NULL;
ALTER TABLE ONLY letta.steps
    ADD CONSTRAINT fk_steps_organization_id FOREIGN KEY (provider_id) REFERENCES letta.providers(id) ON DELETE RESTRICT;
ALTER TABLE ONLY letta.steps
    ADD CONSTRAINT fk_steps_provider_id FOREIGN KEY (organization_id) REFERENCES letta.organizations(id) ON DELETE RESTRICT;
ALTER TABLE ONLY letta.steps
    ADD CONSTRAINT fk_steps_run_id FOREIGN KEY (run_id) REFERENCES letta.runs(id) ON DELETE SET NULL;
ALTER TABLE ONLY letta.groups_agents
    ADD CONSTRAINT groups_agents_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES letta.agents(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.groups_agents
    ADD CONSTRAINT groups_agents_group_id_fkey FOREIGN KEY (group_id) REFERENCES letta.groups(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.groups_blocks
    ADD CONSTRAINT groups_blocks_block_id_fkey FOREIGN KEY (block_id) REFERENCES letta.block(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.groups_blocks
    ADD CONSTRAINT groups_blocks_group_id_fkey FOREIGN KEY (group_id) REFERENCES letta.groups(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.groups
    ADD CONSTRAINT groups_manager_agent_id_fkey FOREIGN KEY (manager_agent_id) REFERENCES letta.agents(id) ON DELETE RESTRICT;
ALTER TABLE ONLY letta.groups
    ADD CONSTRAINT groups_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.identities_agents
    ADD CONSTRAINT identities_agents_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES letta.agents(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.identities_agents
    ADD CONSTRAINT identities_agents_identity_id_fkey FOREIGN KEY (identity_id) REFERENCES letta.identities(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.identities_blocks
    ADD CONSTRAINT identities_blocks_block_id_fkey FOREIGN KEY (block_id) REFERENCES letta.block(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.identities_blocks
    ADD CONSTRAINT identities_blocks_identity_id_fkey FOREIGN KEY (identity_id) REFERENCES letta.identities(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.identities
    ADD CONSTRAINT identities_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.jobs
    ADD CONSTRAINT jobs_user_id_fkey FOREIGN KEY (user_id) REFERENCES letta.users(id);
ALTER TABLE ONLY letta.llm_batch_items
    ADD CONSTRAINT llm_batch_items_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES letta.agents(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.llm_batch_items
    ADD CONSTRAINT llm_batch_items_llm_batch_id_fkey FOREIGN KEY (llm_batch_id) REFERENCES letta.llm_batch_job(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.llm_batch_items
    ADD CONSTRAINT llm_batch_items_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.llm_batch_job
    ADD CONSTRAINT llm_batch_job_letta_batch_job_id_fkey FOREIGN KEY (letta_batch_job_id) REFERENCES letta.jobs(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.llm_batch_job
    ADD CONSTRAINT llm_batch_job_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.mcp_oauth
    ADD CONSTRAINT mcp_oauth_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.mcp_oauth
    ADD CONSTRAINT mcp_oauth_server_id_fkey FOREIGN KEY (server_id) REFERENCES letta.mcp_server(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.mcp_oauth
    ADD CONSTRAINT mcp_oauth_user_id_fkey FOREIGN KEY (user_id) REFERENCES letta.users(id);
ALTER TABLE ONLY letta.mcp_server
    ADD CONSTRAINT mcp_server_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.mcp_tools
    ADD CONSTRAINT mcp_tools_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.messages
    ADD CONSTRAINT messages_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES letta.agents(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.messages
    ADD CONSTRAINT messages_conversation_id_fkey FOREIGN KEY (conversation_id) REFERENCES letta.conversations(id) ON DELETE SET NULL;
ALTER TABLE ONLY letta.messages
    ADD CONSTRAINT messages_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.passage_tags
    ADD CONSTRAINT passage_tags_archive_id_fkey FOREIGN KEY (archive_id) REFERENCES letta.archives(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.passage_tags
    ADD CONSTRAINT passage_tags_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.passage_tags
    ADD CONSTRAINT passage_tags_passage_id_fkey FOREIGN KEY (passage_id) REFERENCES letta.archival_passages(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.provider_models
    ADD CONSTRAINT provider_models_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.provider_models
    ADD CONSTRAINT provider_models_provider_id_fkey FOREIGN KEY (provider_id) REFERENCES letta.providers(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.provider_trace_metadata
    ADD CONSTRAINT provider_trace_metadata_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.provider_traces
    ADD CONSTRAINT provider_traces_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.providers
    ADD CONSTRAINT providers_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.run_metrics
    ADD CONSTRAINT run_metrics_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES letta.agents(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.run_metrics
    ADD CONSTRAINT run_metrics_id_fkey FOREIGN KEY (id) REFERENCES letta.runs(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.run_metrics
    ADD CONSTRAINT run_metrics_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.runs
    ADD CONSTRAINT runs_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES letta.agents(id);
ALTER TABLE ONLY letta.runs
    ADD CONSTRAINT runs_conversation_id_fkey FOREIGN KEY (conversation_id) REFERENCES letta.conversations(id) ON DELETE SET NULL;
ALTER TABLE ONLY letta.runs
    ADD CONSTRAINT runs_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.sandbox_configs
    ADD CONSTRAINT sandbox_configs_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.sandbox_environment_variables
    ADD CONSTRAINT sandbox_environment_variables_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.sandbox_environment_variables
    ADD CONSTRAINT sandbox_environment_variables_sandbox_config_id_fkey FOREIGN KEY (sandbox_config_id) REFERENCES letta.sandbox_configs(id);
ALTER TABLE ONLY letta.source_passages
    ADD CONSTRAINT source_passages_file_id_fkey FOREIGN KEY (file_id) REFERENCES letta.files(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.source_passages
    ADD CONSTRAINT source_passages_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.source_passages
    ADD CONSTRAINT source_passages_source_id_fkey FOREIGN KEY (source_id) REFERENCES letta.sources(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.sources_agents
    ADD CONSTRAINT sources_agents_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES letta.agents(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.sources_agents
    ADD CONSTRAINT sources_agents_source_id_fkey FOREIGN KEY (source_id) REFERENCES letta.sources(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.sources
    ADD CONSTRAINT sources_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.step_metrics
    ADD CONSTRAINT step_metrics_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES letta.agents(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.step_metrics
    ADD CONSTRAINT step_metrics_id_fkey FOREIGN KEY (id) REFERENCES letta.steps(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.step_metrics
    ADD CONSTRAINT step_metrics_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id) ON DELETE RESTRICT;
ALTER TABLE ONLY letta.step_metrics
    ADD CONSTRAINT step_metrics_provider_id_fkey FOREIGN KEY (provider_id) REFERENCES letta.providers(id) ON DELETE RESTRICT;
ALTER TABLE ONLY letta.tools_agents
    ADD CONSTRAINT tools_agents_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES letta.agents(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.tools_agents
    ADD CONSTRAINT tools_agents_tool_id_fkey FOREIGN KEY (tool_id) REFERENCES letta.tools(id) ON DELETE CASCADE;
ALTER TABLE ONLY letta.tools
    ADD CONSTRAINT tools_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
ALTER TABLE ONLY letta.users
    ADD CONSTRAINT users_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES letta.organizations(id);
