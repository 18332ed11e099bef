"""Puts the sample backup sets of the repository where the local lab keeps its sets.

Usage: sample_sets.py install FOLDER

Version control does not keep modes: the copies get what a set must have, 0700 for folders and 0600 for files.
A set that is there already is left alone.
"""
from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "playbooks" / "files" / "sample-sets"


def install(root: Path) -> list[str]:
    """Copies each sample set that ``root`` lacks; returns the ids copied."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    copied = []
    for source in sorted(path.parent for path in SOURCE.glob("*/manifest.json")):
        if (root / source.name).exists():
            continue
        # As with a backup, the set becomes visible by one rename.
        arriving = root / f".incoming-{source.name}"
        if arriving.exists():
            shutil.rmtree(arriving)
        shutil.copytree(source, arriving)
        for folder, _names, files in os.walk(arriving):
            os.chmod(folder, 0o700)
            for name in files:
                os.chmod(Path(folder) / name, 0o600)
        arriving.rename(root / source.name)
        copied.append(source.name)
    return copied


def main() -> int:
    """Does what the command line says; exits 1 when the repository holds no sample set."""
    if len(sys.argv) != 3 or sys.argv[1] != "install":
        print(__doc__, file=sys.stderr)
        return 2
    root = Path(sys.argv[2]).resolve()
    for name in install(root):
        print(f"  sample set {name} -> {root}")
    if not any(root.glob("lb-*/manifest.json")):
        print(f"{root} holds no backup set, and playbooks/files/sample-sets has none to offer: make backup-sample", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
