"""Measuring backup, restore and downtime beside PostgreSQL's own tools. ``python -m tests.bench --help``."""
from __future__ import annotations

from tests.lab import ROOT

__all__ = ["ROOT"]
