"""The test bed: a real PostgreSQL with pgvector, a real Redis-compatible server, a real Letta, one fake model.

Everything runs unprivileged on loopback, from packages of the Python index. ``python -m tests.lab --help``.
"""
from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
for _entry in (ROOT, ROOT / "playbooks" / "collections"):
    if str(_entry) not in sys.path:
        sys.path.insert(0, str(_entry))
