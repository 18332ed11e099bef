-- Rows for Letta's tables, made by the server itself: the same rows for the same :agents, :messages and :passages, of which the last
-- agent has :own_messages and, in an archive of its own, :own_passages: it is the one that a partial restore brings back.
-- A turn is four messages (user, assistant with a tool call, tool, assistant), two steps and one run; message 0 of an agent is its
-- system message. Run in the schema before its constraints and indexes exist.
SET synchronous_commit = off;
SET search_path = letta, pg_catalog;
SELECT setseed(0.25);
-- One expression each, so that the planner puts them in line: a call of its own for every id would take most of the time.
CREATE FUNCTION pg_temp.id(prefix text, kind text, n bigint) RETURNS text STABLE LANGUAGE sql AS $$
  SELECT prefix || '-' || overlay(overlay(md5(kind || n::text)::uuid::text PLACING '4' FROM 15) PLACING 'a' FROM 20) $$;
CREATE FUNCTION pg_temp.org() RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT 'org-00000000-0000-4000-8000-000000000000' $$;
CREATE FUNCTION pg_temp.moment(n bigint) RETURNS timestamptz STABLE LANGUAGE sql AS $$ SELECT '2026-01-01 00:00+00'::timestamptz + n * interval '7 s' $$;

-- Sentences of 1009 different wordings; texts are made by joining some of them.
CREATE TEMP TABLE sentence AS
  SELECT s AS no, initcap(string_agg(substr(md5((s * 31 + w)::text), 1, 3 + (s * w) % 7), ' ' ORDER BY w)) || '.' AS text
  FROM generate_series(0, 1008) s, generate_series(1, 7) w GROUP BY s;
-- Half-vectors; a passage's vector is the sum of two of them at unit length, as embeddings are.
CREATE TEMP TABLE half AS
  SELECT n AS no, (SELECT array_agg((random() - 0.5)::float4) FROM generate_series(1, 4096) WHERE n >= 0)::vector(4096) AS v FROM generate_series(0, 199) n;
-- Message k of agent a, whose message before is no. n - step; it has about count of them.
CREATE TEMP TABLE line AS
  SELECT n, a, k, (k - 1) / 4 AS turn, (k - 1) % 4 AS part, step, count
  FROM (SELECT n, (n - 1) % (:agents - 1) AS a, (n - 1) / (:agents - 1) AS k, :agents - 1 AS step, (:messages - :own_messages) / (:agents - 1) AS count
        FROM generate_series(1, :messages - :own_messages) n
        UNION ALL
        SELECT :messages - :own_messages + 1 + k, :agents - 1, k, 1, :own_messages FROM generate_series(0, :own_messages - 1) k) x;
ANALYZE sentence; ANALYZE line; ANALYZE half;

INSERT INTO alembic_version VALUES ('1c28e167b74f');
INSERT INTO organizations (id, name, created_at, updated_at, privileged_tools) VALUES (pg_temp.org(), 'default_org', pg_temp.moment(0), pg_temp.moment(0), false);
INSERT INTO users (id, name, created_at, updated_at, organization_id)
  VALUES ('user-00000000-0000-4000-8000-000000000000', 'default_user', pg_temp.moment(0), pg_temp.moment(0), pg_temp.org());
INSERT INTO providers (id, name, organization_id, provider_type, provider_category, base_url)
  SELECT pg_temp.id('provider', 'provider', n), 'provider-' || n, NULL, 'openai', 'base', 'http://127.0.0.1:9/v1' FROM generate_series(1, 3) n;
INSERT INTO provider_models (id, handle, display_name, name, provider_id, model_type, model_endpoint_type, max_context_window)
  SELECT pg_temp.id('model', 'model', n), 'provider-' || n % 3 + 1 || '/model-' || n, 'model-' || n, 'model-' || n,
         pg_temp.id('provider', 'provider', n % 3 + 1), CASE WHEN n % 5 = 0 THEN 'embedding' ELSE 'llm' END, 'openai', 128000
  FROM generate_series(1, 30) n;
INSERT INTO sandbox_configs (id, type, config, organization_id)
  VALUES (pg_temp.id('sandbox', 'sandbox', 1), 'LOCAL', '{"sandbox_dir": "/root/.letta"}', pg_temp.org());
INSERT INTO tools (id, name, description, source_type, source_code, json_schema, tags, organization_id, tool_type, return_char_limit)
  SELECT pg_temp.id('tool', 'tool', n), 'tool_' || n, s.text, 'python', 'def tool_' || n || '(query: str) -> str:' || chr(10) || '    return query',
         json_build_object('name', 'tool_' || n, 'description', s.text, 'parameters', json_build_object('type', 'object')), '[]', pg_temp.org(), 'custom', 50000
  FROM generate_series(1, 30) n JOIN sentence s ON s.no = n;

-- In context are the last whole turns: a call whose return was cut off would be a fault.
INSERT INTO agents (id, name, description, created_at, updated_at, system, agent_type, llm_config, embedding_config, metadata_, tool_rules, message_ids,
                    organization_id, message_buffer_autoclear, enable_sleeptime, timezone, hidden)
  SELECT pg_temp.id('agent', 'agent', a), 'agent-' || a, max(s.text), pg_temp.moment(a), pg_temp.moment(a), repeat(max(s.text) || ' ', 20), 'letta_v1_agent',
         json_build_object('model', 'gpt-4o-mini', 'handle', 'provider-2/model-1', 'context_window', 128000, 'temperature', 0.7,
                           'model_endpoint_type', 'openai', 'model_endpoint', 'http://127.0.0.1:9/v1', 'put_inner_thoughts_in_kwargs', false),
         json_build_object('embedding_model', 'text-embedding-3-large', 'embedding_dim', 4096, 'embedding_chunk_size', 300,
                           'embedding_endpoint_type', 'openai', 'embedding_endpoint', 'http://127.0.0.1:9/v1'),
         '{}', '[{"type": "exit_loop", "tool_name": "tool_1"}]',
         json_agg(pg_temp.id('message', 'message', line.n) ORDER BY line.n) FILTER (WHERE k = 0 OR turn >= count / 4 - 5 AND turn < (count - 1) / 4),
         pg_temp.org(), false, false, 'UTC', false
  FROM line JOIN sentence s ON s.no = (a + 37) % 1009 GROUP BY a;
INSERT INTO agents_tags SELECT pg_temp.id('agent', 'agent', a), 'team-' || (a + t) % 12 FROM generate_series(0, :agents - 1) a, generate_series(0, 1) t;
INSERT INTO agent_environment_variables (id, key, value, organization_id, agent_id)
  SELECT pg_temp.id('agent-env', 'agent-env', a), 'REGION', 'eu', pg_temp.org(), pg_temp.id('agent', 'agent', a) FROM generate_series(0, :agents - 1) a;
INSERT INTO tools_agents SELECT pg_temp.id('agent', 'agent', a), pg_temp.id('tool', 'tool', (a + t) % 30 + 1) FROM generate_series(0, :agents - 1) a, generate_series(0, 7) t;
INSERT INTO block (id, value, "limit", label, is_template, organization_id, read_only, description)
  SELECT pg_temp.id('block', 'block', n), repeat(s.text || ' ', 8), 5000, CASE WHEN n % 2 = 0 THEN 'human' ELSE 'persona' END, false, pg_temp.org(), false, s.text
  FROM generate_series(0, 2 * :agents - 1) n JOIN sentence s ON s.no = n % 1009;
INSERT INTO blocks_agents SELECT pg_temp.id('agent', 'agent', n / 2), pg_temp.id('block', 'block', n), CASE WHEN n % 2 = 0 THEN 'human' ELSE 'persona' END
  FROM generate_series(0, 2 * :agents - 1) n;
INSERT INTO identities (id, identifier_key, name, identity_type, organization_id)
  SELECT pg_temp.id('identity', 'identity', n), 'customer-' || n, 'Customer ' || n, 'user', pg_temp.org() FROM generate_series(0, :agents / 5) n;
INSERT INTO identities_agents SELECT pg_temp.id('identity', 'identity', a / 5), pg_temp.id('agent', 'agent', a) FROM generate_series(0, :agents - 1) a;
INSERT INTO groups (id, description, manager_type, manager_agent_id, organization_id, agent_ids, sleeptime_agent_frequency, turns_counter)
  SELECT pg_temp.id('group', 'group', n), 'group ' || n, 'sleeptime', pg_temp.id('agent', 'agent', n), pg_temp.org(),
         json_build_array(pg_temp.id('agent', 'agent', n + 1)), 5, 0 FROM generate_series(0, :agents - 3, 20) n;
INSERT INTO groups_agents SELECT pg_temp.id('group', 'group', n), pg_temp.id('agent', 'agent', n + 1) FROM generate_series(0, :agents - 3, 20) n;
INSERT INTO conversations (id, agent_id, summary, organization_id, created_at, updated_at)
  SELECT pg_temp.id('conv', 'conv', a), pg_temp.id('agent', 'agent', a), 'first talk', pg_temp.org(), pg_temp.moment(a), pg_temp.moment(a)
  FROM generate_series(0, :agents - 1) a;

-- The first turn of every agent belongs to its conversation, the others to the agent itself.
INSERT INTO messages (id, agent_id, role, model, tool_calls, tool_call_id, tool_returns, created_at, updated_at, organization_id, step_id, content, run_id, conversation_id)
  SELECT pg_temp.id('message', 'message', l.n), pg_temp.id('agent', 'agent', a),
         CASE WHEN k = 0 THEN 'system' WHEN part = 0 THEN 'user' WHEN part = 2 THEN 'tool' ELSE 'assistant' END, CASE WHEN part IN (1, 3) THEN 'gpt-4o-mini' END,
         CASE WHEN k > 0 AND part = 1 THEN json_build_array(json_build_object('id', 'call_' || l.n, 'type', 'function',
                'function', json_build_object('name', 'tool_' || l.n % 30 + 1, 'arguments', '{"query": "' || y.text || '"}'))) ELSE '[]' END,
         CASE WHEN k > 0 AND part = 2 THEN 'call_' || l.n - step END,
         CASE WHEN k > 0 AND part = 2 THEN json_build_array(json_build_object('tool_call_id', 'call_' || l.n - step, 'status', 'success', 'func_response', y.text)) END,
         pg_temp.moment(l.n), pg_temp.moment(l.n), pg_temp.org(),
         CASE WHEN k > 0 AND part > 0 THEN pg_temp.id('step', 'step' || a || '-' || (part - 1) / 2, turn) END,
         json_build_array(json_build_object('type', 'text', 'text', x.text || ' ' || z.text)),
         CASE WHEN k > 0 THEN pg_temp.id('run', 'run' || a || '-', turn) END, CASE WHEN k > 0 AND turn = 0 THEN pg_temp.id('conv', 'conv', a) END
  FROM line l JOIN sentence x ON x.no = l.n % 1009 JOIN sentence y ON y.no = (l.n * 7 + l.n / 1009) % 1009 JOIN sentence z ON z.no = (l.n * 13 + l.n / 3001) % 1009
  ORDER BY l.n;
INSERT INTO conversation_messages (id, conversation_id, agent_id, message_id, "position", in_context, organization_id)
  SELECT pg_temp.id('conv_msg', 'conv_msg', n), pg_temp.id('conv', 'conv', a), pg_temp.id('agent', 'agent', a), pg_temp.id('message', 'message', n), k, true, pg_temp.org()
  FROM line WHERE turn = 0;
INSERT INTO runs (id, status, completed_at, stop_reason, background, metadata_, agent_id, total_duration_ns, created_at, updated_at, organization_id, conversation_id)
  SELECT pg_temp.id('run', 'run' || a || '-', turn), 'completed', pg_temp.moment(n) AT TIME ZONE 'UTC', 'end_turn', false, json_build_object('run_type', 'send_message'),
         pg_temp.id('agent', 'agent', a), 1000000000 + n, pg_temp.moment(n), pg_temp.moment(n), pg_temp.org(), CASE WHEN turn = 0 THEN pg_temp.id('conv', 'conv', a) END
  FROM line WHERE k > 0 AND part = 0;
-- The older half of the runs and steps is from a release that kept no metrics.
INSERT INTO run_metrics (id, run_start_ns, run_ns, num_steps, created_at, updated_at, agent_id, organization_id)
  SELECT pg_temp.id('run', 'run' || a || '-', turn), n, 1000000000 + n, 2, pg_temp.moment(n), pg_temp.moment(n), pg_temp.id('agent', 'agent', a), pg_temp.org()
  FROM line WHERE k > 0 AND part = 0 AND n > :messages / 2;
INSERT INTO steps (id, organization_id, provider_id, provider_name, model, model_handle, context_window_limit, prompt_tokens, completion_tokens, total_tokens,
                   tags, agent_id, provider_category, stop_reason, status, run_id, created_at, updated_at, model_endpoint)
  SELECT pg_temp.id('step', 'step' || a || '-' || (part - 1) / 2, turn), pg_temp.org(), pg_temp.id('provider', 'provider', 1), 'provider-1', 'gpt-4o-mini', 'provider-1/model-1',
         128000, 900 + n % 3000, 40 + n % 200, 940 + n % 3000 + n % 200, '[]', pg_temp.id('agent', 'agent', a), 'base', 'end_turn', 'SUCCESS',
         pg_temp.id('run', 'run' || a || '-', turn), pg_temp.moment(n), pg_temp.moment(n), 'http://127.0.0.1:9/v1'
  FROM line WHERE k > 0 AND part IN (1, 3);
INSERT INTO step_metrics (id, organization_id, provider_id, llm_request_ns, step_ns, created_at, updated_at, agent_id, run_id)
  SELECT pg_temp.id('step', 'step' || a || '-' || (part - 1) / 2, turn), pg_temp.org(), pg_temp.id('provider', 'provider', 1), 800000000 + n, 900000000 + n,
         pg_temp.moment(n), pg_temp.moment(n), pg_temp.id('agent', 'agent', a), pg_temp.id('run', 'run' || a || '-', turn)
  FROM line WHERE k > 0 AND part IN (1, 3) AND n > :messages / 2;
INSERT INTO provider_traces (id, request_json, response_json, step_id, created_at, updated_at, organization_id, agent_id)
  SELECT pg_temp.id('provider_trace', 'trace', l.n), json_build_object('model', 'gpt-4o-mini', 'messages', json_build_array(repeat(x.text || ' ' || l.n || ' ', 20))),
         json_build_object('choices', json_build_array(json_build_object('message', x.text))), pg_temp.id('step', 'step' || a || '-' || (part - 1) / 2, turn),
         pg_temp.moment(l.n), pg_temp.moment(l.n), pg_temp.org(), pg_temp.id('agent', 'agent', a)
  FROM line l JOIN sentence x ON x.no = l.n * 17 % 1009 WHERE k > 0 AND part = 3 AND l.n % 10 = 0;
INSERT INTO jobs (id, user_id, status, job_type, metadata_, organization_id, created_at, completed_at)
  SELECT pg_temp.id('job', 'job', n), 'user-00000000-0000-4000-8000-000000000000', 'completed', 'job', '{}', pg_temp.org(), pg_temp.moment(n), pg_temp.moment(n) AT TIME ZONE 'UTC'
  FROM generate_series(1, :agents) n;

-- Every third of the others has an archive, and passages go round them; the last archive is the last agent's.
CREATE TEMP TABLE place AS
  SELECT p, CASE WHEN p < :passages - :own_passages THEN p % ((:agents - 2) / 3 + 1) ELSE (:agents - 2) / 3 + 1 END AS archive
  FROM generate_series(0, :passages - 1) p;
ANALYZE place;
INSERT INTO archives (id, name, organization_id, vector_db_provider, embedding_config)
  SELECT pg_temp.id('archive', 'archive', n), 'archive ' || n, pg_temp.org(), 'NATIVE', '{"embedding_model": "text-embedding-3-large", "embedding_dim": 4096, "embedding_endpoint_type": "openai"}'
  FROM generate_series(0, (:agents - 2) / 3 + 1) n;
INSERT INTO archives_agents SELECT pg_temp.id('agent', 'agent', least(3 * n, :agents - 1)), pg_temp.id('archive', 'archive', n), pg_temp.moment(n), true FROM generate_series(0, (:agents - 2) / 3 + 1) n;
INSERT INTO archival_passages (id, text, embedding_config, metadata_, embedding, created_at, updated_at, organization_id, archive_id, tags)
  SELECT pg_temp.id('passage', 'passage', p), x.text || ' ' || y.text, '{"embedding_model": "text-embedding-3-large", "embedding_dim": 4096, "embedding_endpoint_type": "openai"}', '{}',
         l2_normalize(g.v + h.v), pg_temp.moment(p), pg_temp.moment(p), pg_temp.org(), pg_temp.id('archive', 'archive', archive), json_build_array('topic-' || p % 40)
  FROM place JOIN half g ON g.no = p % 200 JOIN half h ON h.no = (p % 200 + p / 200 + 1) % 200
  JOIN sentence x ON x.no = p * 19 % 1009 JOIN sentence y ON y.no = p * 23 % 1009;
INSERT INTO passage_tags (id, tag, passage_id, archive_id, organization_id)
  SELECT pg_temp.id('passage-tag', 'passage-tag', p), 'topic-' || p % 40, pg_temp.id('passage', 'passage', p),
         pg_temp.id('archive', 'archive', archive), pg_temp.org() FROM place;

-- Folders: one per thirty agents, four files in each, three chunks per file.
INSERT INTO sources (id, name, embedding_config, organization_id, vector_db_provider)
  SELECT pg_temp.id('source', 'source', n), 'folder ' || n, '{"embedding_model": "text-embedding-3-large", "embedding_dim": 4096, "embedding_endpoint_type": "openai"}', pg_temp.org(), 'NATIVE'
  FROM generate_series(0, :agents / 30) n;
INSERT INTO sources_agents SELECT pg_temp.id('agent', 'agent', a), pg_temp.id('source', 'source', a / 30) FROM generate_series(0, :agents - 1) a;
INSERT INTO files (id, source_id, file_name, original_file_name, file_type, file_size, organization_id, processing_status, total_chunks, chunks_embedded)
  SELECT pg_temp.id('file', 'file', n), pg_temp.id('source', 'source', n / 4), 'folder ' || n / 4 || '/notes-' || n || '.md', 'notes-' || n || '.md', 'text/markdown', 9000,
         pg_temp.org(), 'completed', 3, 3 FROM generate_series(0, :agents / 30 * 4 + 3) n;
INSERT INTO file_contents (id, file_id, text)
  SELECT pg_temp.id('file_content', 'file_content', n), pg_temp.id('file', 'file', n), repeat(s.text || chr(10), 90)
  FROM generate_series(0, :agents / 30 * 4 + 3) n JOIN sentence s ON s.no = n % 1009;
INSERT INTO files_agents (id, file_id, agent_id, is_open, visible_content, organization_id, file_name, source_id)
  SELECT pg_temp.id('file_agent', 'file_agent', a * 4 + f), pg_temp.id('file', 'file', a / 30 * 4 + f), pg_temp.id('agent', 'agent', a), f = 0, NULL, pg_temp.org(),
         'folder ' || a / 30 || '/notes-' || a / 30 * 4 + f || '.md', pg_temp.id('source', 'source', a / 30)
  FROM generate_series(0, :agents - 1) a, generate_series(0, 3) f;
INSERT INTO source_passages (id, text, embedding_config, metadata_, embedding, organization_id, file_id, source_id, file_name)
  SELECT pg_temp.id('passage', 'source-passage', n), s.text, '{"embedding_model": "text-embedding-3-large", "embedding_dim": 4096, "embedding_endpoint_type": "openai"}', '{}', l2_normalize(h.v), pg_temp.org(),
         pg_temp.id('file', 'file', n / 3), pg_temp.id('source', 'source', n / 12), 'folder ' || n / 12 || '/notes-' || n / 3 || '.md'
  FROM generate_series(0, (:agents / 30 * 4 + 3) * 3 + 2) n JOIN half h ON h.no = n % 200 JOIN sentence s ON s.no = n % 1009;
SELECT setval('message_seq_id', :messages);
