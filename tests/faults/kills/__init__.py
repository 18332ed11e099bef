"""Kill points: every operation, killed at every step of its journal and at random moments, and what is true afterwards.

``python -m tests.faults.kills --help``. A point is one kill and the run after it; its number and the seed say all of it.
"""
from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
for _entry in (ROOT, ROOT / "playbooks" / "collections"):
    if str(_entry) not in sys.path:
        sys.path.insert(0, str(_entry))
