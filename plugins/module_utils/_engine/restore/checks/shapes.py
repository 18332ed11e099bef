# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL conditions of the declared shapes of JSON columns."""
from __future__ import annotations

from ...letta import releases
from .base import quoted


def is_shape(expression, shape):
    """Return an SQL condition, never NULL, that a JSON value is an object of a :class:`~...letta.shapes.Shape`."""
    parts = ["coalesce(json_typeof(%s) = 'object', false)" % expression]
    parts += [_has_key(expression, key) for key in shape.keys]
    if shape.variants:
        cases = ["when '%s' then %s" % (kind, _all(_has_key(expression, key) for key in keys)) for kind, keys in shape.variants.items()]
        parts.append("(case %s->>'type' %s else true end)" % (expression, " ".join(cases)))
    return _all(parts)


def empty_or_shape(expression, shape):
    """Return an SQL condition that a JSON value is a :class:`~...letta.shapes.Shape`, or one of those that Letta takes as nothing."""
    return "(%s or %s)" % (is_nothing(expression), is_shape(expression, shape))


def is_nothing(expression):
    """Return an SQL condition, never NULL, that a JSON value is NULL, null or empty."""
    return "(%s is null or replace(left(%s::text, 80), ' ', '') in ('null', '{{}}', '[]', '\"\"', 'false', '0'))" % (expression, expression)


def every(expression, condition):
    """Return an SQL condition that a JSON value is nothing, or an array whose elements all meet ``condition`` (on ``e.value``)."""
    # The commonest first, without a look inside: most messages call no tool.
    return (
        "(case when {0} is null or {0}::text in ('[]', 'null') then true"
        " when json_typeof({0}) = 'array' then not exists (select from json_array_elements({0}) as e(value) where not {1})"
        " else {2} end)"
    ).replace("{0}", expression).replace("{1}", condition).replace("{2}", is_nothing(expression))


def _all(conditions):
    return "(%s)" % " and ".join(conditions)


def _has_key(expression, key):
    value = "%s->'%s'" % (expression, key.name)
    sound = "json_typeof(%s) in (%s)" % (value, quoted(key.types))
    if key.values:
        text = "%s->>'%s'" % (expression, key.name)
        known = "%s in (%s)" % (text, quoted(key.values))
        for old, revision in key.retired.items():
            known = "(%s or (%s = '%s' and {position} < %d))" % (known, text, old, releases.position(revision))
        sound = "(%s and (%s is null or %s))" % (sound, text, known)
    return "coalesce(%s, %s)" % (sound, "true" if key.optional else "false")
