# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Letta's keys in Redis, declared: how each looks, and why it must not outlive the database it speaks of.

Read in the source of Letta 0.16.8. A key is Letta's only when its whole shape says so (words, kind of id, uuid4, and where the id is
free text its value): other applications may begin their keys with ``agent:`` or ``conversation:lock:`` too, and theirs are kept.
``<group>:include`` and ``<group>:exclude``, which Letta's code could write and never does, look like anybody's: foreign.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

RUN_MAP, LOCK, STREAM, CACHE, FOREIGN = "run_map", "lock", "stream", "cache", "foreign"
DROPPED = (RUN_MAP, LOCK, STREAM, CACHE)
CLASSES = DROPPED + (FOREIGN,)
VALUE_LENGTH = 64  # more than any value that is looked at

_UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_AGENT, _CONVERSATION, _RUN, _USER = ("%s-%s" % (kind, _UUID4) for kind in ("agent", "conv", "run", "user"))


@dataclass(frozen=True)
class KeyPattern:
    """One kind of key that Letta writes.

    :param pattern: as Letta's source has it, its variable part in angle brackets.
    :param shape: the whole key; group 1 is the id it belongs to.
    :param value: shape of the whole value, where the key alone does not tell; group 1 is then the id that counts.
    :param expires: seconds after which Letta lets it go, None for never. :param since: first release known to write it.
    :param why: what happens when it outlives a restore.
    """

    pattern: str
    key_class: str
    shape: re.Pattern
    expires: int | None
    since: str | None
    why: str
    value: re.Pattern | None = None


PATTERNS = (
    KeyPattern(
        "agent:send_message:run_id:<agent id>", RUN_MAP, re.compile("agent:send_message:run_id:(%s)" % _AGENT), None, "0.8.9",
        "names a run that is not there any more: cancelling the agent's work fails on it",
    ),
    KeyPattern(
        "otid:run:<otid or request token>", RUN_MAP, re.compile("otid:run:(.+)"), 10800, "0.16.7",
        "attaches the retry of a request to a run that is not there any more", re.compile("(%s)" % _RUN),
    ),
    KeyPattern(
        "conversation:lock:<conversation or agent id>", LOCK, re.compile("conversation:lock:(%s|%s)" % (_CONVERSATION, _AGENT)), 300,
        "0.16.2", "answers 409 to whoever talks to the conversation, until it expires",
    ),
    KeyPattern(
        "memory_repo:lock:<agent id>", LOCK, re.compile("memory_repo:lock:(%s)" % _AGENT), 60, None,
        "keeps the agent's git-backed memory from being written, until it expires",
    ),
    KeyPattern(
        "sse:run:<run id>", STREAM, re.compile("sse:run:(%s)" % _RUN), 10800, "0.11.5",
        "replays the answer of a run that the restored database does not know, or knows otherwise",
    ),
    KeyPattern(
        "letta_cache:actor_id:<user id>", CACHE, re.compile("letta_cache:actor_id:(%s)" % _USER), 600, "0.8.4",
        "lets in a user, with an organisation, that the restored database may not have",
    ),
    KeyPattern(
        "token_counter:<service>_<what>_tokens:<model>:<hash>", CACHE,
        re.compile("token_counter:(?:anthropic|gemini|tiktoken)_(?:text|message|tool)_tokens:(.+):[0-9a-f]{16}"), 3600, None,
        "does no harm, and is counted anew when it is missed: dropped so that nothing of Letta's is left",
    ),
)  # fmt: skip
PREFIXES = tuple(pattern.pattern.partition("<")[0].encode() for pattern in PATTERNS)  # most keys of a shared Redis have none of them
NEEDS_VALUE = tuple(pattern for pattern in PATTERNS if pattern.value)


@dataclass(frozen=True)
class Only:
    """Limits what is dropped to these agents, conversations and runs; all empty means no limit."""

    agents: frozenset = frozenset()
    conversations: frozenset = frozenset()
    runs: frozenset = frozenset()

    def __bool__(self):
        return bool(self.agents or self.conversations or self.runs)

    def has(self, identity):
        """Tell whether an id is one of them."""
        return identity in self.agents or identity in self.conversations or identity in self.runs


def needs_value(key):
    """Tell whether :func:`classify` has to see the value of a key (bytes)."""
    text = _text(key) if key.startswith(PREFIXES) else None
    return text is not None and any(pattern.shape.fullmatch(text) for pattern in NEEDS_VALUE)


def classify(key, value=None):
    """Tell whose a key is.

    :param key: bytes, as Redis has it. :param value: the first :data:`VALUE_LENGTH` bytes of its value, where :func:`needs_value`.
    :returns: (class, id): one of :data:`CLASSES`, and what it belongs to, None for a foreign key.
    """
    text = _text(key) if key.startswith(PREFIXES) else None
    for pattern in PATTERNS if text is not None else ():
        found = pattern.shape.fullmatch(text)
        if found and pattern.value:
            told = _text(value)
            found = pattern.value.fullmatch(told) if told is not None else None
        if found:
            return pattern.key_class, found.group(1)
    return FOREIGN, None


def is_dropped(key_class, identity, only):
    """Tell whether a key of this class and id goes, under a limit (:class:`Only`)."""
    return key_class in DROPPED and (not only or only.has(identity))


def _text(data):
    """Return the text of bytes, None when they are none: Letta writes UTF-8 alone."""
    try:
        return data.decode("utf-8") if data is not None else None
    except UnicodeDecodeError:
        return None
