"""The rehearsal on containers: what can be said of it without containers."""
from __future__ import annotations

import ast
import os
import re
import subprocess
import sys

import pytest
import yaml

from tests.lab.staging import IMAGES_OF, images
from tests.meta.collection import ROOT

MOLECULE = ROOT / "extensions" / "molecule"
SCENARIOS = sorted(path.parent.name for path in MOLECULE.glob("*/molecule.yml"))
CLAIMS = sorted(MOLECULE.glob("**/test_*.py"))


def test_there_is_a_scenario_for_each_way_to_restore():
    wanted = {"restore_full", "restore_partial", "schema_upgrade", "corrupt_fallback", "interrupted_work", "rollback"}
    assert wanted | {"default"} <= set(SCENARIOS)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "default"])
def test_a_scenario_runs_our_playbooks_damages_and_verifies(name):
    imported = " ".join(path.read_text(encoding="utf-8") for path in (MOLECULE / name).glob("*.yml"))
    assert "../../../playbooks/" in imported
    assert (MOLECULE / name / "side_effect.yml").exists()
    assert list((MOLECULE / name / "tests").rglob("test_*.py"))
    assert "| `%s` |" % name in (ROOT / "docs" / "rehearsal-containers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", CLAIMS, ids=lambda path: str(path.relative_to(MOLECULE)))
def test_a_verifier_makes_one_claim_per_test(path):
    functions = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)]
    tests = [node for node in functions if node.name.startswith("test_")]
    asserts = {node.name: sum(isinstance(inner, ast.Assert) for inner in ast.walk(node)) for node in tests}
    assert asserts
    assert {name for name, count in asserts.items() if count != 1} == set()


def test_every_image_has_its_recipe():
    assert {path.stem for path in images.RECIPES.glob("*.Dockerfile")} == set(images.NAMES)
    assert set(IMAGES_OF.values()) <= set(images.NAMES)


@pytest.mark.parametrize("path", sorted(images.RECIPES.iterdir()), ids=lambda path: path.name)
def test_a_recipe_names_no_server_of_somebody(path):
    assert re.findall(r"https?://\S+", path.read_text(encoding="utf-8")) == []


def test_the_inventory_names_the_containers():
    groups = yaml.safe_load((ROOT / "inventories" / "staging" / "hosts.yml").read_text(encoding="utf-8"))
    assert {host for group in groups.values() for host in group.get("hosts") or {}} <= set(IMAGES_OF)


def test_what_is_missing_is_said_in_one_sentence(tmp_path):
    env = {**os.environ, "PATH": str(tmp_path), "LETTA_REHEARSAL_CACHE": str(tmp_path)}
    # Programs in /usr/sbin are looked for beside PATH; ssh is in none of them.
    argv = [sys.executable, "-m", "tests.lab.staging", "rehearse"]
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert re.fullmatch(r"Not installed here: ssh, [^\n]+\.\n", done.stderr), done.stderr


def test_that_no_engine_runs_is_said_in_one_sentence(tmp_path):
    env = {**os.environ, "DOCKER_HOST": "unix://%s/none" % tmp_path, "LETTA_REHEARSAL_CACHE": str(tmp_path)}
    argv = [sys.executable, "-m", "tests.lab.staging", "up"]
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "No Docker engine answers here: `make rehearsal` starts one for itself.\n"
