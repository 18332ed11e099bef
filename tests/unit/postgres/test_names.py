"""Names of side databases, and the two small languages of PostgreSQL's catalogs: privileges and lists of names."""
from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.load import entries_to_load
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.sidedb import (
    NAME_LIMIT,
    parse_acl_item,
    side_name,
    split_names,
)

RUN = "r-4f2a9c01"
TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1, max_size=40)


def test_a_short_name_stays_whole():
    assert side_name("letta", "restore", RUN) == "letta__restore_r-4f2a9c01"


@given(TEXT.filter(lambda name: len(name.encode()) <= NAME_LIMIT), st.sampled_from(["restore", "before", "undone"]))
def test_every_name_fits_and_says_its_purpose_and_run(database, purpose):
    name = side_name(database, purpose, RUN)
    assert len(name.encode("utf-8")) <= NAME_LIMIT
    assert name.endswith("__%s_%s" % (purpose, RUN))
    assert name != database


def test_long_names_that_begin_alike_stay_apart():
    first, second = ("l" * 60 + end for end in "ab")
    assert side_name(first, "restore", RUN) != side_name(second, "restore", RUN)


@pytest.mark.parametrize("letter", ["é", "漢", "\U0001f600"])
@pytest.mark.parametrize("pad", range(4))
def test_a_long_name_is_never_cut_inside_a_letter(letter, pad):
    database = "x" * pad + letter * ((NAME_LIMIT - pad) // len(letter.encode()))
    assert len(side_name(database, "restore", RUN).encode("utf-8")) <= NAME_LIMIT


@pytest.mark.parametrize(
    ("text", "role", "privileges"),
    [
        ("=Tc/postgres", "", [("TEMPORARY", False), ("CONNECT", False)]),
        ("letta=C*T*c*/letta", "letta", [("CREATE", True), ("TEMPORARY", True), ("CONNECT", True)]),
        ('"we ""ird"=c/letta', 'we "ird', [("CONNECT", False)]),
        ('"a=b"=C/"x/y"', "a=b", [("CREATE", False)]),
        ('letta=c/"g=h"', "letta", [("CONNECT", False)]),
        ('letta=c/"g""=C/x"', "letta", [("CONNECT", False)]),
        ("letta=/postgres", "letta", []),
    ],
)
def test_a_privilege_entry_is_taken_apart(text, role, privileges):
    assert parse_acl_item(text) == (role, privileges)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("letta", ["letta"]),
        ('"$user", letta', ["$user", "letta"]),
        ('"odd ""name""", "a, b",c', ['odd "name"', "a, b", "c"]),
        ('" spaced "', [" spaced "]),
        ('""', []),
        ("", []),
    ],
)
def test_a_search_path_is_taken_apart(text, names):
    assert split_names(text) == names


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_quoted_names_come_back_whatever_is_in_them(names):
    assert split_names(", ".join('"%s"' % name.replace('"', '""') for name in names)) == names


def test_schemas_and_extensions_are_not_loaded_again_and_all_else_is_in_order():
    kinds = [(1, "SCHEMA", "letta"), (2, "EXTENSION", "vector"), (3, "COMMENT", "EXTENSION vector"), (4, "COMMENT", "SCHEMA letta"),
             (5, "TABLE", "agents"), (6, "COMMENT", "TABLE agents"), (7, "TABLE DATA", "agents")]  # fmt: skip
    archive = SimpleNamespace(entries=[SimpleNamespace(id=number, type=kind, name=name) for number, kind, name in kinds])
    assert entries_to_load(archive) == [5, 6, 7]
