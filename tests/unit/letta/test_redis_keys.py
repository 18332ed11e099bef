"""Whose a key in Redis is: every kind that Letta writes is known by its whole shape, and nothing that only looks like it."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import redis_keys
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta.redis_keys import (
    CACHE,
    CLASSES,
    FOREIGN,
    LOCK,
    PATTERNS,
    RUN_MAP,
    STREAM,
    Only,
    classify,
)

ID = "6a0ff4d6-6f9e-4f0c-8d0b-1d4b8a3c2e11"
OTHER = "0b6f3c0e-8f5c-4d8e-9f6e-7f0a3f0c9d22"
AGENT, CONVERSATION, RUN, USER = ("%s-%s" % (kind, ID) for kind in ("agent", "conv", "run", "user"))
# One of each kind that Letta 0.16.8 writes: key, value where it matters, class, what it belongs to.
WRITTEN = [
    ("agent:send_message:run_id:" + AGENT, None, RUN_MAP, AGENT),
    ("conversation:lock:" + CONVERSATION, None, LOCK, CONVERSATION),
    ("conversation:lock:" + AGENT, None, LOCK, AGENT),
    ("otid:run:a client's own {{ word }}", RUN, RUN_MAP, RUN),
    ("otid:run:9f86d081884c7d65", RUN, RUN_MAP, RUN),
    ("sse:run:" + RUN, None, STREAM, RUN),
    ("memory_repo:lock:" + AGENT, None, LOCK, AGENT),
    ("letta_cache:actor_id:" + USER, None, CACHE, USER),
    ("letta_cache:actor_id:user-00000000-0000-4000-8000-000000000000", None, CACHE, "user-00000000-0000-4000-8000-000000000000"),
] + [
    ("token_counter:%s_%s_tokens:openai/gpt-4o:2026:0123456789abcdef" % (service, what), None, CACHE, "openai/gpt-4o:2026")
    for service in ("anthropic", "gemini", "tiktoken")
    for what in ("text", "message", "tool")
]  # fmt: skip
FOREIGN_KEYS = [
    "agent:7", "agent:send_message:run_id:7", "agent:send_message:run_id:" + RUN, "agent:send_message:run_id:%s:x" % AGENT,
    "agent:send_message:run_id:agent-6a0ff4d6-6f9e-1f0c-8d0b-1d4b8a3c2e11", "my:agent:send_message:run_id:" + AGENT,
    "agent:send_message:run_id:%s\n" % AGENT, "conversation:lock:42", "conversation:lock:conversation-" + ID, "sse:run:7",
    "sse:run:" + AGENT, "memory_repo:lock:main", "letta_cache:actor_id:", "letta_cache:something", "letta_cache:actor_id:" + AGENT,
    "token_counter:mine", "token_counter:openai_text_tokens:gpt:0123456789abcdef", "beta:include", "beta:exclude", "include", "",
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "key_class", "identity"), WRITTEN)
def test_every_kind_of_key_that_letta_writes_is_known(key, value, key_class, identity):
    assert classify(key.encode(), value.encode() if value else None) == (key_class, identity)
    assert redis_keys.needs_value(key.encode()) == (value is not None)


@pytest.mark.parametrize("key", FOREIGN_KEYS)
def test_a_key_that_only_begins_like_one_of_lettas_is_foreign(key):
    assert classify(key.encode()) == (FOREIGN, None)


@pytest.mark.parametrize("value", [None, b"", b"run-7", RUN.encode() + b" ", b"\xff", AGENT.encode()])
def test_a_request_token_counts_by_its_value_since_its_key_is_free_text(value):
    assert classify(b"otid:run:abc", value) == (FOREIGN, None)


def test_keys_that_are_no_text_are_foreign():
    assert classify(b"sse:run:\xff\xfe") == (FOREIGN, None)
    assert redis_keys.needs_value(b"otid:run:\xff") is False


def test_each_pattern_has_an_example_above_a_reason_and_a_class():
    known = {redis_keys.classify(key.encode(), value.encode() if value else None) for key, value, *_rest in WRITTEN}
    assert {pattern.key_class for pattern in PATTERNS} == {key_class for key_class, _identity in known} == set(CLASSES) - {FOREIGN}
    for pattern in PATTERNS:
        assert pattern.why
        assert any(pattern.shape.fullmatch(key) for key, *_rest in WRITTEN), pattern.pattern


def test_a_limit_spares_whatever_belongs_to_somebody_else():
    only = Only(frozenset([AGENT]), frozenset([CONVERSATION]), frozenset([RUN]))
    for key, value, key_class, identity in WRITTEN:
        mine = key_class != CACHE
        assert redis_keys.is_dropped(key_class, identity, only) is mine, key
        theirs = identity.replace(ID, OTHER)
        assert redis_keys.is_dropped(key_class, theirs, only) is False, (key, value)
    assert redis_keys.is_dropped(CACHE, USER, Only())
    assert not redis_keys.is_dropped(FOREIGN, None, Only())
