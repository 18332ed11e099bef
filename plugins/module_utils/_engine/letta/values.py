# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Columns of text whose values Letta reads as an enumeration, as data.

A value outside of the list makes Letta fail on reading the row where ``readable`` is false (its model demands the enumeration);
elsewhere the column is plain text to Letta and the value only looks odd. Lists grow from release to release, so one list, that
of 0.16.8, serves all; values that a later release no longer reads are named with the revision from which on it does not.
Read in the source of 0.8.17, 0.11.7, 0.12.1, 0.13.0, 0.14.0, 0.16.4 and 0.16.8.
"""
from __future__ import annotations

from dataclasses import dataclass

JOB_STATES = ("created", "running", "completed", "failed", "pending", "cancelled", "expired")
STOP_REASONS = (
    "end_turn", "error", "llm_api_error", "invalid_llm_response", "invalid_tool_call", "max_steps", "max_tokens_exceeded", "no_tool_call",
    "tool_rule", "cancelled", "insufficient_credits", "requires_approval", "context_window_overflow_in_system_prompt",
)  # fmt: skip
PROVIDER_TYPES = (
    "anthropic", "azure", "baseten", "bedrock", "cerebras", "chatgpt_oauth", "deepseek", "fireworks", "google_ai", "google_vertex", "groq",
    "hugging-face", "letta", "lmstudio_openai", "minimax", "mistral", "ollama", "openai", "together", "vllm", "sglang", "openrouter", "xai",
    "zai", "zai_coding",
)  # fmt: skip
LLM_ENDPOINTS = (
    "openai", "anthropic", "google_ai", "google_vertex", "azure", "groq", "ollama", "webui", "webui-legacy", "lmstudio", "lmstudio-legacy",
    "lmstudio-chatcompletions", "llamacpp", "koboldcpp", "vllm", "hugging-face", "minimax", "mistral", "together", "bedrock", "deepseek",
    "xai", "zai", "zai_coding", "baseten", "fireworks", "openrouter", "chatgpt_oauth",
)  # fmt: skip
EMBEDDING_ENDPOINTS = (
    "openai", "anthropic", "bedrock", "google_ai", "google_vertex", "azure", "groq", "ollama", "webui", "webui-legacy", "lmstudio",
    "lmstudio-legacy", "llamacpp", "koboldcpp", "vllm", "hugging-face", "mistral", "together", "pinecone",
)  # fmt: skip
# 0.11.0 still read it, 0.11.7 does not.
RETIRED_ENDPOINTS = {"cohere": "ddb69be34a72"}
TOOL_RULES = (
    "run_first", "exit_loop", "continue_loop", "conditional", "constrain_child_tools", "max_count_per_step", "parent_last_tool",
    "required_before_exit", "requires_approval",
)  # fmt: skip


@dataclass(frozen=True)
class Values:
    """The values of one column; NULL is always allowed, where the column allows it.

    :param readable: Letta still reads a row with another value.
    """

    table: str
    column: str
    allowed: tuple
    readable: bool = False


VALUES = (
    Values(
        "agents",
        "agent_type",
        (
            "memgpt_agent", "memgpt_v2_agent", "letta_v1_agent", "react_agent", "workflow_agent", "split_thread_agent", "sleeptime_agent",
            "voice_convo_agent", "voice_sleeptime_agent",
        ),
    ),
    Values("agents", "last_stop_reason", STOP_REASONS),
    Values("messages", "role", ("system", "user", "assistant", "tool", "function", "approval", "summary")),
    Values("groups", "manager_type", ("round_robin", "supervisor", "dynamic", "sleeptime", "voice_sleeptime", "swarm")),
    Values("runs", "status", ("created", "running", "completed", "failed", "cancelled")),
    Values("runs", "stop_reason", STOP_REASONS),
    Values("steps", "stop_reason", STOP_REASONS),
    Values("steps", "feedback", ("positive", "negative")),
    Values("jobs", "status", JOB_STATES),
    Values("jobs", "stop_reason", STOP_REASONS),
    Values("jobs", "job_type", ("job", "run", "batch")),
    Values("llm_batch_job", "status", JOB_STATES),
    Values("llm_batch_job", "llm_provider", PROVIDER_TYPES),
    Values("llm_batch_items", "request_status", JOB_STATES),
    Values("llm_batch_items", "step_status", ("paused", "resumed", "completed")),
    Values("files", "processing_status", ("pending", "parsing", "embedding", "completed", "error")),
    Values(
        "tools",
        "tool_type",
        (
            "custom", "letta_core", "letta_memory_core", "letta_multi_agent_core", "letta_sleeptime_core", "letta_voice_sleeptime_core",
            "letta_builtin", "letta_files_core", "external_langchain", "external_composio", "external_mcp",
        ),
    ),
    Values("tools", "source_type", ("python", "typescript", "json"), readable=True),
    Values("identities", "identity_type", ("org", "user", "other")),
    Values("providers", "provider_type", PROVIDER_TYPES),
    Values("providers", "provider_category", ("base", "byok")),
    Values("provider_models", "model_type", ("llm", "embedding")),
    Values("mcp_server", "server_type", ("sse", "stdio", "streamable_http")),
    Values("block_history", "actor_type", ("letta_user", "letta_agent", "letta_system"), readable=True),
)  # fmt: skip
