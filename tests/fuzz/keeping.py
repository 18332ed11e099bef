"""Keeping what got past a harness: each bug once, as the input that shows it."""
from __future__ import annotations

import hashlib
import traceback
from pathlib import Path


def place_of(error: BaseException) -> str:
    """Tell two bugs apart: the error, and the last line of the product that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    last = next((frame for frame in reversed(frames) if "letta_ops" in frame.filename), frames[-1])
    return "%s at %s:%s" % (type(error).__name__, Path(last.filename).name, last.lineno)


def keeping(harness, folder: Path):
    """Wrap a harness: an input that gets past it becomes a file in ``folder``, one for each place, and nothing is raised."""
    seen: set[str] = set()

    def run(data):
        try:
            harness(data)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is what is looked for)
            where = place_of(error)
            if where not in seen:
                seen.add(where)
                folder.mkdir(parents=True, exist_ok=True)
                (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
                print("FOUND %s: %s (%s)" % (folder.name, where, str(error)[:200].replace("\n", " ")), flush=True)

    return run
