"""The harnesses by name, with documents to begin from and the inputs that once got past one."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.fuzz import archives, reports, sets, settings

CASES = Path(__file__).resolve().parent / "cases"
ROOMS = (sets, archives, settings, reports)
SEEDS: dict[str, list[bytes]] = {name: inputs for room in ROOMS for name, inputs in room.seeds().items()}
TARGETS: dict[str, Callable[[bytes], None]] = {name: getattr(room, name) for room in ROOMS for name in room.seeds()}


def cases(target: str) -> list[Path]:
    """The inputs kept of a target: each was a bug once."""
    return sorted((CASES / target).glob("*"))
