"""The tables of README.md say what the code does."""
from __future__ import annotations

import re

import pytest

from tests.meta.collection import modules, playbooks, role_options, roles, run_playbook, table, ticked

RUN_ALWAYS = {"always", "never"}


def names_of(heading: str) -> list[str]:
    """The backticked names of a table's first column."""
    return [name for row in table(heading) for name in ticked(row[0])]


def options() -> dict[str, dict]:
    """Every public role variable with its specification."""
    return {variable: option for role in roles().values() for variable, option in role_options(role).items()}


def test_a_table_is_read_from_its_own_section_without_its_heading_row():
    page = "## One\n\n| a | b |\n| --- | --- |\n| `x` `y` | p \\| q |\n\n## Two\n| a |\n| --- |\n| `z` |\n"
    assert table("One", page) == [["`x` `y`", "p \\| q"]]
    assert ticked(table("One", page)[0][0]) == ["x", "y"]
    assert table("Two", page) == [["`z`"]]
    with pytest.raises(AssertionError, match="no section"):
        table("Three", page)


@pytest.mark.parametrize("heading", ["Playbooks", "Tags", "Variables", "Modules"])
def test_no_table_names_a_thing_twice(heading):
    names = names_of(heading)
    assert sorted(names) == sorted(set(names))


def test_the_table_of_playbooks_is_the_folder_of_playbooks():
    assert set(names_of("Playbooks")) == set(playbooks())


def test_the_table_of_modules_is_the_folder_of_modules():
    assert {name.removeprefix("letta_ops.recovery.") for name in names_of("Modules")} == set(modules())


def test_the_table_of_tags_is_what_the_playbooks_carry():
    tags: set[str] = set()
    for name in playbooks():
        done = run_playbook("-i", "inventories/local", "--list-tags", f"playbooks/{name}")
        assert done.returncode == 0, done.stderr
        for found in re.findall(r"TAGS: \[([^\]]*)\]", done.stdout):
            tags |= {tag.strip() for tag in found.split(",") if tag.strip()}
    assert set(names_of("Tags")) == tags - RUN_ALWAYS


def test_the_table_of_variables_is_what_the_roles_accept():
    assert set(names_of("Variables")) == set(options())


def test_the_defaults_in_the_table_of_variables_are_those_of_the_roles():
    """Only a default in backticks is a value; words beside it, or an empty cell, explain how one is found."""
    known = options()
    wrong = []
    for first, _meaning, default, *_rest in table("Variables"):
        for name in ticked(first):
            expected = known[name].get("default")
            values = ticked(default)
            if values and len(ticked(first)) == 1 and str(expected).lower() != values[0].lower():
                wrong.append(f"{name}: README says {values[0]}, the role {expected}")
            if not default and expected not in (None, "", [], {}):
                wrong.append(f"{name}: README says nothing, the role {expected}")
    assert wrong == []
