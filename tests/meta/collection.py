"""What the meta tests read of the collection: modules, roles, playbooks, tables of the README."""
from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
ANSIBLE_PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"


def modules() -> dict[str, Path]:
    """Name -> file of every module."""
    return {path.stem: path for path in sorted((ROOT / "plugins" / "modules").glob("*.py")) if path.stem != "__init__"}


def constant(path: Path, name: str) -> str:
    """The text assigned to ``name`` at the top of a Python file, or an empty string."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == name for target in node.targets):
            return str(ast.literal_eval(node.value))
    return ""


def playbooks() -> dict[str, Path]:
    """File name -> path of every playbook that is a file of its own, not an alias."""
    return {path.name: path for path in sorted((ROOT / "playbooks").glob("*.yml")) if not path.is_symlink()}


def roles() -> dict[str, Path]:
    """Name -> folder of every role."""
    return {path.parent.parent.name: path.parent.parent for path in sorted((ROOT / "roles").glob("*/tasks/main.yml"))}


def role_options(role: Path) -> dict[str, dict]:
    """Option -> its specification, from all of the role's entry points."""
    spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    return {name: option for entry in spec["argument_specs"].values() for name, option in (entry.get("options") or {}).items()}


def role_defaults(role: Path) -> dict[str, object]:
    """Variable -> default, from the role's defaults."""
    path = role / "defaults" / "main.yml"
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def run_playbook(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs ansible-playbook of the test's own environment from the checkout's root."""
    argv = [str(ANSIBLE_PLAYBOOK), *arguments]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL)


def table(heading: str, text: str | None = None) -> list[list[str]]:
    """The rows of the first table below ``## heading`` of the README, as lists of cells without the heading row.

    :param text: another page to read.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8") if text is None else text
    section = re.search(rf"^## {re.escape(heading)}[ ]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"README.md has no section '## {heading}'"
    lines = [line.strip() for line in re.findall(r"^\|.*\|[ ]*$", section.group(1), re.MULTILINE)]
    assert len(lines) > 2, f"the section '## {heading}' of README.md has no table"
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines[2:]]


def ticked(cell: str) -> list[str]:
    """The words that stand in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)
