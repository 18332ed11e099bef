"""docs/validation.md lists every check as the code has it. ``WRITE_PAGES=1 pytest`` of this file writes the tables anew."""
from __future__ import annotations

import os
import re

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.checks.base import STEPS
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.checks.registry import CHECKS
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.repair import REPAIRS
from tests.lab import ROOT

PAGE = ROOT / "docs" / "validation.md"
HEAD = ["| check | severity | what holds | what to do when it does not | `letta_repair: safe` |", "| --- | --- | --- | --- | --- |"]


def headings() -> dict[str, str]:
    """Step -> its heading on the page."""
    return {step: f"{number} {words[0].upper()}{words[1:]}" for number, (step, words) in enumerate(STEPS.items(), 1)}


def rows(step: str) -> list[str]:
    """The lines of a step's table."""
    lines = []
    for check in CHECKS.values():
        if check.step == step:
            repair = REPAIRS[check.id].__doc__ if check.id in REPAIRS else "none"
            cells = (f"`{check.id}`", check.severity, check.passed, check.advice, repair)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def page(text: str) -> str:
    """The page's text with every table replaced by what the code says."""
    for step, heading in headings().items():
        table = "\n".join(HEAD + rows(step))
        text, count = re.subn(rf"(^## {re.escape(heading)}\n.*?)(?:^\|[^\n]*\|\n)+", lambda found, new=table: f"{found.group(1)}{new}\n",
                              text, count=1, flags=re.MULTILINE | re.DOTALL)  # fmt: skip
        assert count == 1, f"docs/validation.md has no section '## {heading}' with a table"
    return text


def test_the_tables_of_checks_are_those_of_the_code():
    text = PAGE.read_text(encoding="utf-8")
    if os.environ.get("WRITE_PAGES"):
        PAGE.write_text(page(text), encoding="utf-8")
        text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "write it anew: WRITE_PAGES=1 pytest tests/meta/test_validation_page.py"


def test_every_step_has_checks_and_a_changed_table_is_told_from_the_right_one():
    text = PAGE.read_text(encoding="utf-8")
    assert all(rows(step) for step in headings())
    changed = text.replace("| `revision.known` | fail |", "| `revision.known` | warn |")
    assert changed != text
    assert page(changed) == text
