"""What was run: a line per point as it comes, and the figures of all of them in ``tests/faults/kills.json``."""
from __future__ import annotations

import hashlib
import json
import os
import platform
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

from . import ROOT

FIGURES = ROOT / "tests" / "faults" / "kills.json"
ENGINE = ROOT / "plugins" / "module_utils" / "_engine"


def of_engine():
    """Return what names the code under test: points of another code do not count with these."""
    total = hashlib.sha256()
    for path in sorted(ENGINE.rglob("*.py")):
        total.update(str(path.relative_to(ENGINE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:12]


class Record:
    """The points of one seed and one state of the engine; several processes may write to it.

    :param folder: where the file of lines lies.
    """

    def __init__(self, folder, seed):
        self.seed, self.engine = seed, of_engine()
        self.path = Path(folder) / ("%s-%s.jsonl" % (seed, self.engine))
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def points(self):
        """Return {number: what became of the point}."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        return {point["number"]: point for point in map(json.loads, lines)}

    def add(self, verdict):
        """Write a point down."""
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(verdict.as_dict(), sort_keys=True) + "\n")

    def figures(self, versions):
        """Return what is published of all points that were done, one after the other, whatever became of them.

        :param versions: {program: version}.
        """
        known = self.points()
        row = [known[number] for number in sorted(known)]
        counts = Counter((point["operation"], point["victim"]) for point in row)
        table: dict = {}
        for (operation, victim), count in sorted(counts.items()):
            table.setdefault(operation, {})[victim] = count
        return {
            "date": datetime.now(timezone.utc).date().isoformat(),
            "machine": "%s, Linux %s, %d cores" % (platform.machine(), platform.release().split("-")[0], os.cpu_count()),
            "versions": versions,
            "seed": self.seed,
            "engine": self.engine,
            "points": len(row),
            "numbers_below": max(known, default=-1) + 1,
            "at_steps": sum(1 for point in row if point["step"]),
            "operations": table,
            "seconds": round(sum(point["seconds"] for point in row)),
            "losses": [point["number"] for point in row if point["problems"]],
        }


def write(figures):
    """Publish figures."""
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
