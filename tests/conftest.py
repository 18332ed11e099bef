"""Shared fixtures; makes the checkout importable as ``ansible_collections.letta_ops.recovery``."""
from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
for entry in (ROOT, ROOT / "playbooks" / "collections"):
    if str(entry) not in sys.path:
        sys.path.insert(0, str(entry))

pytest_plugins = ["tests.lab.fixtures", "tests.integration.restore_kit"]
