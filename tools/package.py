"""Builds the tarball, checks it as Galaxy does, installs it offline and runs one of its playbooks by full name.

The tarball that passed stays in `.cache/package/`.
"""
from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from common import CACHE, ROOT, at_home, build, install, members, run, scratch

# Would mean that build_ignore in galaxy.yml has a hole: files of a developer's machine, or secrets.
UNWANTED = re.compile(r"(^|/)(\.[^/]+|tests|tools|requirements|inventories|collections|reports|Makefile|pyproject\.toml|[^/]*\.pyc)(/|$)")
WANTED = ("MANIFEST.json", "LICENSE", "README.md", "meta/runtime.yml", "plugins/module_utils/_engine/errors.py")
IMPORTER = """[galaxy-importer]
RUN_ANSIBLE_TEST = False
RUN_ANSIBLE_DOC = True
RUN_ANSIBLE_LINT = False
RUN_FLAKE8 = False
ANSIBLE_LOCAL_TMP = {folder}/home/tmp
CHECK_REQUIRED_TAGS = True
CHECK_CHANGELOG = True
LOG_LEVEL_MAIN = WARNING
"""


def check_content(tarball: Path) -> list[str]:
    """What the tarball holds and must not, or must hold and does not; one sentence each."""
    names = members(tarball)
    wrong = [f"{name} is in the tarball and should not be" for name in names if UNWANTED.search(name)]
    return wrong + [f"{name} is missing from the tarball" for name in WANTED if name not in names]


def check_as_galaxy(tarball: Path, folder: Path) -> int:
    """Runs galaxy-importer's checks; returns its exit code."""
    settings = folder / "galaxy-importer.cfg"
    settings.write_text(IMPORTER.format(folder=folder), encoding="utf-8")
    argv = [sys.executable, "-m", "galaxy_importer.main", str(tarball)]
    return run(argv, cwd=folder, quiet=True, extra={"GALAXY_IMPORTER_CONFIG": str(settings), **at_home(folder)})


def run_by_name(folder: Path) -> int:
    """Runs the catalogue playbook of the installed collection on a folder of sample sets; returns its exit code."""
    root = folder / "sets"
    samples = ROOT / "playbooks" / "files" / "sample-sets"
    if run([sys.executable, str(ROOT / "tools" / "sample_sets.py"), "install", str(root)], quiet=True) and samples.exists():
        return 1
    inventory = folder / "inventory.yml"
    # JSON is YAML, and needs no care with quotes in paths.
    inventory.write_text(
        '{"letta_store": {"hosts": {"local": {"ansible_connection": "local",'
        f' "ansible_python_interpreter": "{sys.executable}", "letta_backup_root": "{root}"}}}}}},'
        ' "letta_database": {"hosts": {"local": {}}}}\n',
        encoding="utf-8",
    )
    argv = ["ansible-playbook", "-i", str(inventory), "letta_ops.recovery.catalog"]
    return run(argv, cwd=folder, quiet=True, extra=at_home(folder))


def main() -> int:
    """Runs the steps in order and stops at the first that fails."""
    with scratch() as folder:
        tarball = build(folder)
        if wrong := check_content(tarball):
            print("\n".join(wrong))
            return 1
        print(f"package: built {tarball.name}, {tarball.stat().st_size // 1024} KiB", flush=True)
        if check_as_galaxy(tarball, folder):
            return 1
        print("package: passes Galaxy's checks", flush=True)
        installed = install(tarball, folder)
        if not (installed / "playbooks" / "catalog.yml").exists():
            print("package: the tarball has no playbook catalog.yml to run", file=sys.stderr)
            return 1
        if run_by_name(folder):
            return 1
        print("package: installed offline, letta_ops.recovery.catalog ran", flush=True)
        (CACHE / "package").mkdir(parents=True, exist_ok=True)
        shutil.copy(tarball, CACHE / "package")
    return 0


if __name__ == "__main__":
    sys.exit(main())
