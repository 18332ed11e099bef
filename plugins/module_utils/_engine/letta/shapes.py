# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least that Letta demands of its JSON columns, as data: keys that must be there, of which type, with which values.

Read in the models of Letta 0.16.8 (pydantic) and in how its columns are read back: an empty or NULL value is "nothing" to all of
them, keys that are not named here have defaults or are ignored. Older releases demand the same or less.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from .values import EMBEDDING_ENDPOINTS, LLM_ENDPOINTS, RETIRED_ENDPOINTS, TOOL_RULES

STRING, NUMBER, BOOLEAN, OBJECT, ARRAY, NULL = "string", "number", "boolean", "object", "array", "null"


@dataclass(frozen=True)
class Key:
    """One key of a JSON object.

    :param types: JSON types its value may have.
    :param optional: the key may be absent.
    :param values: what its text may be, when only some values are read.
    :param retired: value -> revision from which on Letta does not read it any more.
    """

    name: str
    types: tuple
    optional: bool = False
    values: tuple = ()
    retired: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Shape:
    """What a JSON object must be.

    :param keys: :class:`Key` that every such object has.
    :param variants: value of ``type`` -> further keys of that kind of object.
    """

    keys: tuple = ()
    variants: dict = field(default_factory=dict)


def _text(*names):
    return tuple(Key(name, (STRING,)) for name in names)


LLM_CONFIG = Shape(
    (
        Key("model", (STRING,)),
        Key("model_endpoint_type", (STRING,), values=LLM_ENDPOINTS, retired=RETIRED_ENDPOINTS),
        Key("context_window", (NUMBER,)),
        Key("handle", (STRING, NULL), optional=True),
        Key("temperature", (NUMBER,), optional=True),
        Key("provider_category", (STRING, NULL), optional=True, values=("base", "byok")),
    )
)
EMBEDDING_CONFIG = Shape(
    (
        Key("embedding_endpoint_type", (STRING,), values=EMBEDDING_ENDPOINTS, retired=RETIRED_ENDPOINTS),
        Key("embedding_model", (STRING,)),
        Key("embedding_dim", (NUMBER,)),
        Key("handle", (STRING, NULL), optional=True),
    )
)
TOOL_RULE = Shape(
    (Key("tool_name", (STRING,)), Key("type", (STRING,), values=TOOL_RULES)),
    {
        "constrain_child_tools": (Key("children", (ARRAY,)),),
        "parent_last_tool": (Key("children", (ARRAY,)),),
        "conditional": (Key("child_output_mapping", (OBJECT,)),),
        "max_count_per_step": (Key("max_count_limit", (NUMBER,)),),
    },
)
RESPONSE_FORMAT = Shape(
    (Key("type", (STRING,), values=("text", "json_schema", "json_object")),), {"json_schema": (Key("json_schema", (OBJECT,)),)}
)
COMPACTION = Shape(
    (
        Key("mode", (STRING,), optional=True, values=("all", "sliding_window", "self_compact_all", "self_compact_sliding_window")),
        Key("model", (STRING, NULL), optional=True),
        Key("sliding_window_percentage", (NUMBER,), optional=True),
    )
)
# Parts of an unknown type are skipped by Letta, so they are no fault.
CONTENT_PART = Shape(
    (),
    {
        "text": _text("text"),
        "image": (Key("source", (OBJECT,)),),
        "tool_call": _text("id", "name") + (Key("input", (OBJECT,)),),
        "tool_return": _text("tool_call_id", "content") + (Key("is_error", (BOOLEAN,)),),
        "reasoning": (Key("is_native", (BOOLEAN,)), Key("reasoning", (STRING,))),
        "redacted_reasoning": _text("data"),
        "summarized_reasoning": (Key("id", (STRING,)), Key("summary", (ARRAY,))),
    },
)
TOOL_CALL = Shape((Key("id", (STRING,)), Key("type", (STRING,), values=("function",)), Key("function", (OBJECT,))))
FUNCTION = Shape(_text("name", "arguments"))
TOOL_RETURN = Shape(
    (
        Key("status", (STRING,), values=("success", "error")),
        Key("stdout", (ARRAY, NULL), optional=True),
        Key("stderr", (ARRAY, NULL), optional=True),
        Key("func_response", (STRING, ARRAY, NULL), optional=True),
    )
)
ANYTHING = Shape()
