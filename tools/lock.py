"""Resolves `requirements/*.in` into the pinned lists beside them, for all platforms and every Python from 3.11.

Usage: lock.py [--upgrade]      without it, pins that still fit are kept
"""
from __future__ import annotations

import sys

from common import ROOT, run

# Each list is bound by those before it, so that they can be installed together.
NAMES = ("runtime", "lint", "test", "fuzz", "release")
OPTIONS = ["--universal", "--python-version", "3.11", "--no-header", "--no-annotate", "--quiet"]
# Where packages come from is a matter of each machine's settings.
OPTIONS += ["--no-emit-index-url", "--no-emit-find-links"]


def main() -> int:
    """Writes the lists in order; returns the first exit code that is not 0."""
    for name in NAMES:
        code = run(["uv", "pip", "compile", *OPTIONS, *sys.argv[1:], "-o", f"{name}.txt", f"{name}.in"], cwd=ROOT / "requirements")
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
