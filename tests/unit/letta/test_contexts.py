"""Contexts: which calls wait, what must leave, and how a lost one is found again."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta.contexts import (
    Answer,
    Entry,
    Stored,
    entry_of,
    rebuilt,
    settle,
    waiting_calls,
)

SYSTEM, USER = Entry("s", "system"), Entry("u", "user")


def says(name, *calls):
    return Entry(name, "assistant", calls=calls)


def returns(name, *calls):
    return Entry(name, "tool", returns=calls)


def asks(name, *calls):
    return Entry(name, "approval", calls=calls)


def test_a_consistent_context_stays_as_it_is():
    entries = [SYSTEM, USER, says("a", "1", "2"), returns("t", "1", "2"), says("b"), USER]
    assert settle(entries) == (entries, [])


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([SYSTEM, says("a", "1")], ["s", "a", ("1",)]),
        ([SYSTEM, says("a", "1", "2"), returns("t", "1"), USER], ["s", "a", "t", ("2",), "u"]),
        ([SYSTEM, says("a", "1"), USER, says("b", "2")], ["s", "a", ("1",), "u", "b", ("2",)]),
        # An approval that was given, and nothing came of it.
        ([SYSTEM, asks("q", "1"), Entry("yes", "approval")], ["s", "q", "yes", ("1",)]),
        # A return before its call is none.
        ([SYSTEM, returns("t", "1"), says("a", "1")], ["s", "a", ("1",)]),
    ],
)
def test_a_call_without_a_return_is_answered_behind_what_answers_its_message_already(entries, expected):
    kept, _cut = settle(entries)
    assert [item.calls if isinstance(item, Answer) else item.id for item in kept] == expected


def test_what_waits_for_a_person_stays_with_the_calls_of_the_same_answer():
    entries = [SYSTEM, says("a", "1"), asks("q", "2")]
    assert settle(entries) == (entries, [])
    assert waiting_calls(entries) == (entries[-1], ("2", "1"))
    assert waiting_calls([*entries, USER]) == (None, ())
    assert waiting_calls([]) == (None, ())


def test_cutting_a_call_without_an_id_cuts_what_returns_from_its_message_too():
    kept, cut = settle([SYSTEM, says("a", None, "1"), returns("t", "1"), Entry("x", sound=False), USER])
    assert (kept, [entry.id for entry, _why in cut]) == ([SYSTEM, USER], ["x", "a", "t"])


def test_an_entry_knows_calls_and_returns_in_every_shape_that_letta_wrote():
    row = {"agent_id": "a", "is_deleted": False, "role": "tool", "tool_call_id": "1", "tool_returns": [{"status": "success"}]}
    assert entry_of("m", row, "a").returns == ("1",)
    row.update(tool_call_id=None, tool_returns=[{"tool_call_id": "1"}, {"tool_call_id": "2"}, "odd"])
    assert entry_of("m", row, "a").returns == ("1", "2")
    client = {**row, "role": "approval", "tool_calls": [], "approvals": [{"tool_call_id": "3", "status": "success"}, {"tool_call_id": "4"}]}
    assert entry_of("m", client, "a").returns == ("3",)
    assert [entry_of("m", given, "a").sound for given in (None, {**row, "is_deleted": True}, {**row, "agent_id": "b"})] == [False] * 3


STORED = [Stored("s", "system", "You are Ann. <memory>", letters=40), Stored("w", "system", "words of a client"), Stored("u", "user"),
          Stored("a", "assistant", letters=100), Stored("v", "user", letters=100)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ["s", "w", "u", "a", "v"]),
        ({"autoclear": True}, ["s"]),
        # Four letters a token: 40 of the prompt, and what of the newest messages still fits, from the beginning of a turn.
        ({"window": 40}, ["s", "v"]),
        ({"stored": STORED[1:]}, ["w", "u", "a", "v"]),
        ({"stored": STORED[2:]}, []),
        ({"stored": [*STORED[:3], Stored("sum", "summary", summary=True), *STORED[3:]]}, ["s", "sum", "a", "v"]),
        # The prompt was compiled anew into a new message, as old releases did.
        ({"stored": [*STORED, Stored("t", "system", "You are Ann. <memory> new")]}, ["t", "w", "u", "a", "v"]),
        ({"stored": [*STORED, Stored("t", "system", "You are Ann. <memory> new")], "system": None}, ["s", "w", "u", "a", "v", "t"]),
    ],
)
def test_a_lost_context_is_made_of_its_prompt_and_what_its_model_can_take(change, expected):
    given = dict(dict(stored=STORED, system="You are Ann.", autoclear=False, window=None), **change)
    assert rebuilt(given["stored"], given["system"], given["autoclear"], given["window"]) == expected
