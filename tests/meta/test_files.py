"""What holds for every file of the repository: size, licence, and words that must not be there."""
from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.meta.collection import ROOT

LEFT_OUT = {
    ".git", ".venv", ".lab", ".cache", ".ansible", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis",
    "reports", "collections", "__pycache__",
}  # fmt: skip
MAX_LINES = 300
# Written so that no pattern finds itself.
WORDS = {
    "an open end": re.compile(r"\b(TO[D]O|FIX[M]E|XX[X]|HAC[K])\b"),
    "a host of a package registry": re.compile(
        r"\b(pypi\.(org|python)|pythonhosted\.org|registry\.npmjs|galaxy\.ansible\.com|deb\.debian\.org|ghcr\.io|quay\.io|registry-1\.docker)"
    ),
    "a path of a developer's machine": re.compile(
        r"(?<![\w.])/(work/(main|shared|\.)|tmp/ex[p]\b|Users/\w|root/\.pyenv|home/\w+/(work|src|dev))"
    ),
}


def files() -> list[Path]:
    """Every file of the repository that is not generated; links are left to their targets."""
    found = []
    for folder, names, here in os.walk(ROOT):
        names[:] = sorted(name for name in names if name not in LEFT_OUT)
        paths = [Path(folder, name) for name in sorted(here)]
        found += [path for path in paths if not path.is_symlink()]
    return found


def text_of(path: Path) -> str | None:
    """The file's text, or nothing where it is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


FILES = files()
PYTHON = [path for path in FILES if path.suffix == ".py"]


@pytest.mark.parametrize("what", WORDS)
def test_no_file_holds(what):
    found = []
    for path in FILES:
        text = text_of(path)
        for number, line in enumerate((text or "").splitlines(), 1):
            if match := WORDS[what].search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match.group(0)}")
    assert found == []


def test_the_search_for_words_finds_them():
    samples = {
        "an open end": "# TO" + "DO: later",
        "a host of a package registry": "https://py" + "pi.org/simple",
        "a path of a developer's machine": "cd /wor" + "k/main && make",
    }
    assert [what for what, text in samples.items() if not WORDS[what].search(text)] == []


def code_lines(path):
    """Lines of a file; of a module without its documentation, which Ansible wants in the same file."""
    text = path.read_text(encoding="utf-8")
    if path.parent.name == "modules":
        text = re.sub(r'^(DOCUMENTATION|EXAMPLES|RETURN) = r?""".*?"""$', "", text, flags=re.DOTALL | re.MULTILINE)
    return len(text.splitlines())


def test_python_files_are_short_enough_to_read():
    """Tests are read one sentence at a time: tables of them may be longer than code."""
    code = [path for path in PYTHON if not path.is_relative_to(ROOT / "tests")]
    assert {str(path.relative_to(ROOT)): code_lines(path) for path in code if code_lines(path) > MAX_LINES} == {}


def test_every_plugin_names_its_licence():
    header = re.compile(r"GNU General Public License v3\.0\+ \(see LICENSE or https://www\.gnu\.org/licenses/gpl-3\.0\.txt\)")
    plugins = [path for path in PYTHON if path.is_relative_to(ROOT / "plugins") and path.read_text(encoding="utf-8").strip()]
    unnamed = [str(path.relative_to(ROOT)) for path in plugins if not header.search(path.read_text(encoding="utf-8")[:600])]
    assert plugins
    assert unnamed == []


def test_every_python_file_postpones_annotations_so_that_old_pythons_read_it():
    lacking = [
        str(path.relative_to(ROOT))
        for path in PYTHON
        if path.read_text(encoding="utf-8").strip() and "from __future__ import annotations" not in path.read_text(encoding="utf-8")
    ]
    assert lacking == []


def test_the_pinned_lists_pin_every_package_and_name_no_server():
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        assert lines, path
        assert [line for line in lines if not re.match(r"[a-z0-9][a-z0-9.\-]*==[\w.!+]+( ; .+)?$", line)] == [], path
        # Molecule and this pytest plugin do not get on with each other.
        assert not any(line.startswith("pytest-ansible") for line in lines)


def test_the_pinned_lists_agree_so_that_they_can_be_installed_together():
    pins: dict[str, set[str]] = {}
    for path in (ROOT / "requirements").glob("*.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if ";" not in line and "==" in line:
                name, version = line.split("==")
                pins.setdefault(name, set()).add(version)
    assert {name: versions for name, versions in pins.items() if len(versions) > 1} == {}
