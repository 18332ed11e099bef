"""One harness under atheris, in a process of its own: ``python -m tests.fuzz.guided TARGET CORPUS [options of libFuzzer]``."""
from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import atheris

ROOT = Path(__file__).resolve().parents[2]


def mutate(data, max_size, seed):
    """Change one place of a document half of the time, else some bytes: libFuzzer alone hardly ever leaves JSON whole."""
    from tests.fuzz.documents import changed_bytes

    random = Random(seed)
    made = changed_bytes(data, random) if random.random() < 0.5 else data
    return made if made != data and len(made) <= max_size else atheris.Mutate(data, max_size)


def main() -> None:
    """Instrument the product, then hand a harness over to libFuzzer."""
    sys.path[:0] = [str(ROOT), str(ROOT / "playbooks" / "collections")]
    target, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["ansible_collections.letta_ops"]):
        from tests.fuzz.keeping import keeping
        from tests.fuzz.targets import CASES, TARGETS
    atheris.Setup([sys.argv[0], *options], keeping(TARGETS[target], CASES / target), custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
