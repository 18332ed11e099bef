"""What a role accepts, what it assumes, and what it says about both are one thing."""
from __future__ import annotations

import pytest
import yaml

from tests.meta.collection import role_defaults, role_options, roles

ROLES = roles()


def is_template(value: object) -> bool:
    """True for a default that is worked out at run time; a specification cannot name its value."""
    return isinstance(value, str) and "{{" in value


def test_the_collection_has_roles():
    assert ROLES


@pytest.mark.parametrize("name", ROLES)
def test_every_default_of_a_role_is_documented_with_its_value(name):
    options = role_options(ROLES[name])
    wrong = {}
    for variable, value in role_defaults(ROLES[name]).items():
        if variable not in options:
            wrong[variable] = "not in argument_specs.yml"
        elif not is_template(value) and options[variable].get("default") != value:
            wrong[variable] = f"default {value!r}, documented {options[variable].get('default')!r}"
    assert wrong == {}


@pytest.mark.parametrize("name", ROLES)
def test_every_documented_default_of_a_role_is_set(name):
    defaults = role_defaults(ROLES[name])
    missing = [variable for variable, option in role_options(ROLES[name]).items() if "default" in option and variable not in defaults]
    assert missing == []


@pytest.mark.parametrize("name", ROLES)
def test_the_public_variables_of_a_role_are_named_and_described_as_such(name):
    for variable, option in role_options(ROLES[name]).items():
        assert variable.startswith("letta_"), variable
        assert option.get("description"), variable
        assert option.get("type"), variable


@pytest.mark.parametrize("name", ROLES)
def test_secrets_among_the_variables_are_marked(name):
    secret = ("_password", "_token", "_encryption_key", "_pg_uri")
    secrets = {variable: option for variable, option in role_options(ROLES[name]).items() if variable.endswith(secret)}
    assert [variable for variable, option in secrets.items() if not option.get("no_log")] == []


def test_roles_that_share_a_variable_agree_on_its_default_and_type():
    seen: dict[str, tuple[str, str, str]] = {}
    differing = []
    for name, role in ROLES.items():
        for variable, option in role_options(role).items():
            if "default" not in option:  # the role finds its own value when nobody gives one
                continue
            here = (str(option.get("type")), repr(option.get("default")))
            first = seen.setdefault(variable, (name, *here))
            if first[1:] != here:
                differing.append(f"{variable}: {first} in {first[0]}, {here} in {name}")
    assert differing == []


@pytest.mark.parametrize("name", ROLES)
def test_no_role_is_included_at_run_time_since_tags_would_skip_its_tasks(name):
    for path in ROLES[name].rglob("*.yml"):
        assert "include_role" not in path.read_text(encoding="utf-8"), path
        assert yaml.safe_load(path.read_text(encoding="utf-8")) is not None, f"{path} is empty"
