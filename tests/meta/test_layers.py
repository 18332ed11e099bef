"""The directions of docs/architecture.md hold, and the test that says so can fail."""
from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.meta import layers

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ALLOWED = layers.rules(ARCHITECTURE)


def test_no_layer_calls_upward_and_no_room_calls_sideways():
    assert layers.violations(ROOT, ALLOWED) == []


def test_no_role_calls_another_role():
    assert layers.role_violations(ROOT) == []


def test_every_room_of_the_engine_stands_in_the_table():
    engine = ROOT / "plugins" / "module_utils" / "_engine"
    rooms = {path.parent.name for path in engine.glob("*/*.py")}
    ground = {path.stem for path in engine.glob("*.py")} - {"__init__"}
    assert rooms - set(ALLOWED) == set()
    assert ground - set(ALLOWED) == set()


def test_the_engine_prints_nothing_and_starts_no_shell():
    found = []
    for path in sorted((ROOT / "plugins" / "module_utils" / "_engine").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            shell = any(word.arg == "shell" and ast.unparse(word.value) != "False" for word in node.keywords)
            if name in ("print", "os.system", "os.popen") or shell:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name}")
    assert found == []


def test_the_postgres_room_has_never_heard_of_letta():
    """Names of variables in a next step, and of temporary files, are let through; so are docstrings."""
    found = []
    for path in sorted((ROOT / "plugins" / "module_utils" / "_engine" / "postgres").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            words = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else getattr(node, "id", "")
            if id(node) not in prose and "letta" in re.sub(r"letta[_-]\w+", "", words.lower()):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {words[:60]!r}")
    assert found == []


FORBIDDEN = {
    "plugins/module_utils/_engine/letta/facts.py": ("import psycopg2\n", "reaches nothing outside"),
    "plugins/module_utils/_engine/letta/side.py": ("from ..postgres import connection\n", "letta may not import postgres"),
    "plugins/module_utils/_engine/backup/side.py": ("from ..restore.journal import Journal\n", "backup may not import restore"),
    "plugins/module_utils/_engine/postgres/up.py": ("from ..._ansible import module\n", "engine may not import ansible"),
    "plugins/module_utils/_engine/errors.py": ("from .letta import facts\n", "ground may not import letta"),
    "plugins/module_utils/_engine/restore/lock.py": ("from ansible.module_utils.basic import AnsibleModule\n", "nothing of Ansible"),
    "plugins/module_utils/_engine/new/thing.py": ("from ..errors import RecoveryError\n", "not in the table"),
    "plugins/module_utils/_engine/runtime/__init__.py": ("from .. import backup\n", "runtime may not import backup"),
    "plugins/modules/a.py": (
        "from ansible_collections.letta_ops.recovery.plugins.action.b import B\n",
        "modules may not import action",
    ),
    "plugins/doc_fragments/c.py": ("from ..module_utils._engine import errors\n", "doc_fragments may not import engine"),
}


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_a_forbidden_import_is_found(tmp_path, name):
    code, reason = FORBIDDEN[name]
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(code, encoding="utf-8")
    found = layers.violations(tmp_path, ALLOWED)
    assert len(found) == 1, found
    assert reason in found[0]


def test_an_allowed_import_is_let_through(tmp_path):
    path = tmp_path / "plugins/module_utils/_engine/restore/stage.py"
    path.parent.mkdir(parents=True)
    path.write_text("import os\nfrom ..backup import manifest\nfrom ..postgres.load import load\nfrom . import journal\n", encoding="utf-8")
    assert layers.violations(tmp_path, ALLOWED) == []


def test_a_role_that_calls_a_role_is_found(tmp_path):
    path = tmp_path / "roles/letta_a/tasks/main.yml"
    path.parent.mkdir(parents=True)
    path.write_text("---\n- name: Call\n  ansible.builtin.import_role:\n    name: letta_b\n", encoding="utf-8")
    assert layers.role_violations(tmp_path) == ["roles/letta_a/tasks/main.yml: calls a role"]
