"""Every module is documented, knows check mode, is small and is tested."""
from __future__ import annotations

import ast
import re

import pytest
import yaml

from tests.meta.collection import ROOT, constant, modules

MODULES = modules()


def has_code(path):
    """False for the page of an action plugin: its module file holds documentation alone."""
    return any(isinstance(node, ast.FunctionDef) for node in ast.parse(path.read_text(encoding="utf-8")).body)


WITH_CODE = [name for name, path in MODULES.items() if has_code(path)]


def test_the_collection_has_modules():
    assert MODULES


@pytest.mark.parametrize("name", MODULES)
def test_a_module_documents_itself_and_how_it_behaves_in_check_mode(name):
    path = MODULES[name]
    document = yaml.safe_load(constant(path, "DOCUMENTATION"))
    assert document["module"] == name
    assert document["attributes"]["check_mode"]["support"] in ("full", "partial", "none")
    examples = yaml.safe_load(constant(path, "EXAMPLES"))
    assert any(f"letta_ops.recovery.{name}" in task for task in examples), "no example uses the module by its full name"
    returned = yaml.safe_load(constant(path, "RETURN"))
    assert returned, "RETURN documents nothing"
    assert all("description" in value and "returned" in value and "type" in value for value in returned.values())


@pytest.mark.parametrize("name", [name for name in MODULES if name not in WITH_CODE])
def test_a_module_without_code_is_the_page_of_an_action_plugin(name):
    assert (ROOT / "plugins" / "action" / f"{name}.py").is_file()


@pytest.mark.parametrize("name", WITH_CODE)
def test_a_module_declares_check_mode_in_code_as_in_its_documentation(name):
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    declared = [
        word.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for word in node.keywords
        if word.arg == "supports_check_mode" and isinstance(word.value, ast.Constant)
    ]
    document = yaml.safe_load(constant(MODULES[name], "DOCUMENTATION"))
    assert declared == [document["attributes"]["check_mode"]["support"] != "none"]


@pytest.mark.parametrize("name", [name for name in MODULES if name.endswith("_info")])
def test_an_info_module_documents_full_check_mode_since_it_never_changes_anything(name):
    assert yaml.safe_load(constant(MODULES[name], "DOCUMENTATION"))["attributes"]["check_mode"]["support"] == "full"


@pytest.mark.parametrize("name", WITH_CODE)
def test_a_module_runs_only_when_started(name):
    last = ast.parse(MODULES[name].read_text(encoding="utf-8")).body[-1]
    assert isinstance(last, ast.If)
    assert ast.unparse(last) == "if __name__ == '__main__':\n    main()"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_tests(name):
    word = re.compile(rf"\b{name}\b")
    tests = [path for folder in ("unit", "integration", "faults") for path in (ROOT / "tests" / folder).rglob("test_*.py")]
    assert any(word.search(path.read_text(encoding="utf-8")) for path in tests)
