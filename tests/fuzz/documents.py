"""Documents that are almost right: one place of a valid one is changed. For hypothesis and for the coverage-guided fuzzer alike."""
from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

# Names of every kind of entity as somebody could choose them: for a shell, SQL, Jinja, a browser, a terminal, a formatter, a path.
NAMES = (
    "it's", 'say "hi"', "back\\slash", "{{ 7 * 7 }}", "{% raw %}", "{# x #}", "$(touch x)", "`touch x`", "'; DROP TABLE agents; --", "a\nb",
    "a\r\nb", "a\tb", "\u202egnp.exe", "\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627", "\U0001f600", "e\u0301",
    "%s %(x)d {0}", "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>', "]]>", "\x1b[31mred", "\x07", "\\.", "\\N", "\\x41", "..", "../../etc", "-rf", "", " ", "NULL",
    "*", "[a]",
    "a" * 10000, "\u05d0" * 10000,
)  # fmt: skip
WITH_NUL = ("\0", "a\0b", "\0" * 3)
HALVES = ("\ud800", "a\udfffb")  # JSON can escape them; no text holds them
NUMBERS = (0, 1, -1, 2, 5, 2**31, 2**63 - 1, 2**63, 10**400, -(10**400), 0.5, -0.0, 1e308, float("nan"), float("inf"), True, False, None)
DEEP = 3000


def deep(depth: int = DEEP) -> bytes:
    """JSON nested beyond what Python reads."""
    return b"[" * depth + b"]" * depth


def hostile(random: Random) -> Any:
    """A value that does not belong where it will stand."""
    kind = random.randrange(4)
    if kind == 0:
        return random.choice(NUMBERS)
    if kind == 1:
        return copy.deepcopy(random.choice(([], {}, [[]], [{}], {"": None}, {"a": {"b": []}}, [None], ["x", 1])))
    return random.choice(NAMES if kind == 2 else (*WITH_NUL, *HALVES, "2026-13-01T00:00:00Z", "9" * 5000, "2026-11-21T03:30:00Z"))


def _places(node, found):
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        found.append((node, key))
        if isinstance(value, (dict, list)):
            _places(value, found)
    return found


def changed(document: Any, random: Random) -> Any:
    """A copy of a document in which one place is another: replaced, gone, renamed, wrapped, doubled, or taken from elsewhere in it."""
    result = copy.deepcopy(document)
    places = _places(result, []) if isinstance(result, (dict, list)) else []
    if not places:
        return hostile(random)
    node, key = random.choice(places)
    way = random.randrange(8)
    if way == 0:
        del node[key]
    elif way == 1 and isinstance(node, dict):
        node[random.choice(NAMES)] = node.pop(key)
    elif way == 2:
        node[key] = random.choice(([node[key]], {"x": node[key]}, str(node[key])))
    elif way == 3 and isinstance(node, list):
        node.insert(random.randrange(len(node) + 1), copy.deepcopy(node[key]))
    elif way == 4:
        other, where = random.choice(places)
        node[key] = copy.deepcopy(other[where])
    else:
        node[key] = hostile(random)
    return result


def changed_bytes(data: bytes, random: Random) -> bytes:
    """The same of a document as bytes, or of one line where there are several; bytes that are no document come back as they are."""
    lines = data.split(b"\n")
    number = random.randrange(len(lines))
    try:
        whole = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        try:
            line = json.loads(lines[number].decode("utf-8"))
        except (ValueError, RecursionError):
            return data
        lines[number] = _written(changed(line, random))
        return b"\n".join(lines)
    return _written(changed(whole, random))


def _written(document) -> bytes:
    return json.dumps(document).encode("ascii")
