"""Who imports whom: reads the imports of the collection's Python files and judges them by docs/architecture.md."""
from __future__ import annotations

import ast
import re
from pathlib import Path

PACKAGE = ("ansible_collections", "letta_ops", "recovery")
ENGINE = ("plugins", "module_utils", "_engine")
ANSIBLE = ("plugins", "module_utils", "_ansible")
# Rooms that hold declared data and pure functions: they reach no server and start no program.
PURE_ROOMS = ("letta", "report")
REACHING_OUT = {"psycopg2", "redis", "valkey", "socket", "subprocess", "urllib.request", "http.client", "docker"}


def rules(architecture: str) -> dict[str, set[str]]:
    """The table of docs/architecture.md: room -> rooms it may import. The ground's files appear under their own names, too."""
    table = re.search(r"^\| room \| may import \|\n\|[ -|]+\n((?:\|.*\n)+)", architecture, re.MULTILINE)
    assert table, "docs/architecture.md has no table headed '| room | may import |'"
    allowed: dict[str, set[str]] = {}
    for line in table.group(1).splitlines():
        left, right = (cell.strip() for cell in line.strip("|").split("|"))
        may = set(re.findall(r"`(\w+)`", right)) | ({"ground"} if "ground" in right else set())
        names = re.findall(r"`(\w+)`", left)
        allowed.update(dict.fromkeys(names, may))
        if left.startswith("ground"):
            allowed["ground"] = may | set(names)
    return allowed


def imports(path: Path, module: tuple[str, ...]) -> list[tuple[int, str]]:
    """(line, dotted name) of everything the file imports; relative names made absolute.

    :param module: the file's own dotted name, as parts.
    """
    package = module if path.name == "__init__.py" else module[:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            prefix = (*base, *(node.module.split(".") if node.module else ()))
            found += [(node.lineno, ".".join((*prefix, alias.name))) for alias in node.names]
    return found


def _layer(parts: tuple[str, ...]) -> str:
    """The layer that a path below the collection belongs to."""
    if parts[:3] == ENGINE:
        return "engine"
    if parts[:3] == ANSIBLE:
        return "ansible"
    return parts[1] if len(parts) > 1 else ""


# layer -> layers of ours it may import
_MAY = {
    "engine": {"engine"},
    "ansible": {"ansible", "engine"},
    "modules": {"ansible", "engine"},
    "plugin_utils": {"ansible", "engine"},
    "action": {"ansible", "engine", "plugin_utils"},
    "callback": {"ansible", "engine"},
    "doc_fragments": set(),
}


def _room(parts: tuple[str, ...], allowed: dict[str, set[str]]) -> str:
    """The engine's room of a path or module: a folder's name, or ``ground`` for the files beside the folders."""
    name = parts[3].removesuffix(".py") if len(parts) > 3 else "__init__"
    return "ground" if name == "__init__" or name in allowed["ground"] else name


def _judge_foreign(source: tuple[str, ...], name: str, allowed: dict[str, set[str]]) -> str:
    """Why the file may not import ``name`` from outside the collection, or an empty string."""
    if _layer(source) != "engine":
        return ""
    if name.split(".", maxsplit=1)[0] in ("ansible", "ansible_collections"):
        return "the engine imports nothing of Ansible"
    room = _room(source, allowed)
    reaching = room in PURE_ROOMS and any(name == other or name.startswith(other + ".") for other in REACHING_OUT)
    return f"the room {room} reaches nothing outside" if reaching else ""


def _judge(source: tuple[str, ...], name: str, allowed: dict[str, set[str]]) -> str:
    """Why the file ``source`` (parts below the collection) may not import ``name``, or an empty string."""
    parts = tuple(name.split("."))
    if parts[:3] != PACKAGE:
        return _judge_foreign(source, name, allowed)
    layer, target = _layer(source), parts[3:]
    if _layer(target) not in _MAY.get(layer, set()):
        return f"{layer} may not import {_layer(target) or 'the collection'}"
    if layer == "engine":
        room, other = _room(source, allowed), _room(target, allowed)
        if room not in allowed:
            return f"the room {room} is not in the table of docs/architecture.md"
        if other != room and other not in allowed[room]:
            return f"{room} may not import {other}"
    return ""


def violations(root: Path, allowed: dict[str, set[str]]) -> list[str]:
    """One line ``file:line: import: reason`` per forbidden import below ``root``/plugins."""
    found = []
    for path in sorted((root / "plugins").rglob("*.py")):
        source = path.relative_to(root).parts
        module = (*PACKAGE, *source[:-1], path.stem) if path.name != "__init__.py" else (*PACKAGE, *source[:-1])
        for line, name in imports(path, module):
            if reason := _judge(source, name, allowed):
                found.append(f"{path.relative_to(root)}:{line}: imports {name}: {reason}")
    return found


def role_violations(root: Path) -> list[str]:
    """One line per role that calls another role, or depends on one."""
    found = []
    for path in sorted((root / "roles").glob("*/**/*.yml")):
        text = path.read_text(encoding="utf-8")
        if path.name == "main.yml" and path.parent.name == "meta" and re.search(r"^dependencies:\s*\n\s*-", text, re.MULTILINE):
            found.append(f"{path.relative_to(root)}: depends on a role")
        if re.search(r"^\s*(-\s+)?(ansible\.builtin\.)?(import_role|include_role)\s*:", text, re.MULTILINE):
            found.append(f"{path.relative_to(root)}: calls a role")
    return found
