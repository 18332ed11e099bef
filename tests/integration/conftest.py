"""Fixtures of the integration tests that are more than the lab's servers."""
from __future__ import annotations

from tests.integration.restore_kit import empty_world, letta_shape, make_world, shape_set, world

__all__ = ["empty_world", "letta_shape", "make_world", "shape_set", "world"]
