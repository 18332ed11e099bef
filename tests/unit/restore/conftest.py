"""Fixtures of the restore room: targets of restores on a real PostgreSQL."""
from __future__ import annotations

from tests.integration.restore_kit import empty_world, letta_shape, make_world, shape_set, world

__all__ = ["empty_world", "letta_shape", "make_world", "shape_set", "world"]
