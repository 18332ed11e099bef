"""Shared fixtures; makes the checkout importable as ``ansible_collections.letta_ops.recovery``."""
from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
for entry in (ROOT, ROOT / "playbooks" / "collections"):
    if str(entry) not in sys.path:
        sys.path.insert(0, str(entry))

pytest_plugins = ["tests.lab.fixtures", "tests.integration.restore_kit", "tests.integration.validate_kit"]
_HOMES = []


def pytest_configure(config):
    """Keep what Ansible writes for its modules out of the home of whoever runs the tests; an account may have none."""
    _HOMES.append(tempfile.mkdtemp(prefix="letta-ops-tests-"))
    for name, folder in (("ANSIBLE_REMOTE_TMP", "remote"), ("ANSIBLE_ASYNC_DIR", "async")):
        os.environ.setdefault(name, os.path.join(_HOMES[-1], folder))


def pytest_unconfigure(config):
    """Remove it again."""
    for folder in _HOMES:
        shutil.rmtree(folder, ignore_errors=True)
