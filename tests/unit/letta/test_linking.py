"""What a list of messages has lost, and what an agent is shown of a file."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import closure, file_views, linking

SAVED = ["system", "a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("live", "becomes"),
    [
        (["system", "a", "d"], SAVED),
        (["system", "a", "d", "newer"], [*SAVED, "newer"]),
        (["system", "a", "newer"], [*SAVED, "newer"]),
        (["system"], SAVED),
        ([], SAVED),
        (["system", "summary", "c", "d", "newer"], None),
        (["system", "summary", "c", "newer"], ["system", "summary", "c", "d", "newer"]),
        (["system", "summary", "newer"], None),
        (SAVED, None),
    ],
)
def test_what_was_lost_behind_a_message_that_is_left_is_put_back_into_its_place(live, becomes):
    listed, put = linking.lost_of(SAVED, live, set(SAVED), bool(live))
    assert listed == (becomes or live)
    assert set(put) == set(listed) - set(live)


def test_a_message_that_does_not_exist_is_not_put_back():
    assert linking.lost_of(SAVED, ["system", "a", "d"], {"system", "a", "c", "d"}, True) == (["system", "a", "c", "d"], ["c"])


def test_a_lost_system_message_comes_back_in_front():
    assert linking.lost_of(SAVED, SAVED[1:], set(SAVED), False) == (SAVED, ["system"])


def test_files_open_at_a_time_follow_the_agent_and_else_its_window():
    assert linking.file_limits(None) == (5, 50000)
    assert linking.file_limits(8000) == (3, 5000)
    assert linking.file_limits(128001) == (10, 40000)
    assert linking.file_limits(1000000, 2, 700) == (2, 700)


def test_of_links_only_the_tables_asked_for_are_read():
    roots = {closure.LINKED: ["agent-1"]}
    tables = {rule.table for rule in linking.rules_for(roots, kinds=("tools",)) if rule.role in (closure.LINK, closure.POINTER)}
    assert tables == {"tools_agents"}
    assert len(linking.rules_for({}, traces=True)) == len(closure.RULES)


TEXT = "One. Two\n\n  three\nfour"


@pytest.mark.parametrize(
    ("kind", "name", "window", "shown"),
    [
        ("text/plain", "a/b.txt", (), "[Viewing file start (out of 3 lines)]\n1: One. Two\n2: three\n3: four"),
        ("text/markdown", "a/b.md", (), "[Viewing file start (out of 2 sentences)]\n1: One.\n2: Two three four"),
        (None, "a/b.py", (2, None), "[Viewing lines 2 to end (out of 3 lines)]\n2:   three\n3: four"),
        (None, None, (1, 2), "[Viewing lines 1 to 2 (out of 3 lines)]\n1: One. Two\n2: three"),
        (None, "b.txt", (2, 9), "[Viewing lines 2 to 3 (out of 3 lines)]\n2: three\n3: four"),
        (None, "b.txt", (4, None), None),
    ],
)
def test_a_view_is_written_as_letta_writes_it(kind, name, window, shown):
    assert file_views.shown(TEXT, kind, name, *window) == shown


def test_a_view_that_was_cut_is_cut_again_and_one_that_was_whole_stays_whole():
    whole = file_views.shown("word\n" * 200, None, "a.txt")
    cut = whole[:150] + file_views.TRUNCATED
    assert file_views.refreshed(whole, whole, 300) is None
    assert file_views.refreshed(cut, whole, 300) is None
    assert file_views.refreshed("old", whole, 300) == whole
    fresh = file_views.refreshed("old" + file_views.TRUNCATED, whole, 300)
    assert len(fresh) == 300
    assert fresh.endswith(file_views.TRUNCATED)
