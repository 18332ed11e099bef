"""Makes the sample facts importable by the tests of this folder and of the browser test."""
from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
