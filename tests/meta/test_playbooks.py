"""Every playbook can be read by Ansible, under its file name and under its full name."""
from __future__ import annotations

import os
import subprocess

import pytest

from tests.meta.collection import ANSIBLE_PLAYBOOK, ROOT, playbooks, run_playbook

PLAYBOOKS = playbooks()


def alias(name: str) -> str:
    """The name under which a collection offers the playbook: full names take no hyphen."""
    return name.replace("-", "_")


def test_the_collection_has_playbooks():
    assert PLAYBOOKS


@pytest.mark.parametrize("name", [name for name in PLAYBOOKS if "-" in name])
def test_a_hyphenated_playbook_has_an_alias_with_underscores(name):
    link = ROOT / "playbooks" / alias(name)
    assert link.is_symlink()
    assert str(link.readlink()) == name


def test_every_alias_leads_to_a_playbook():
    links = [path for path in (ROOT / "playbooks").glob("*.yml") if path.is_symlink()]
    assert [path.name for path in links if not path.exists() or str(path.readlink()) not in PLAYBOOKS] == []


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_a_playbook_passes_the_syntax_check(name):
    done = run_playbook("-i", "inventories/local", "--syntax-check", f"playbooks/{name}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder of collections holding ours, built and installed without any server."""
    folder = tmp_path_factory.mktemp("collections")
    # Whatever ansible.cfg is in force: it would find the collection in the checkout and install nothing.
    env = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(folder))
    for arguments in (["build", "--output-path", str(folder), str(ROOT)], ["install", "--offline", "--no-deps", "-p", str(folder)]):
        argv = [str(ANSIBLE_PLAYBOOK.parent / "ansible-galaxy"), "collection", *arguments, *map(str, folder.glob("*.tar.gz"))]
        done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_an_installed_playbook_is_found_by_its_full_name(installed, monkeypatch, name):
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(installed))
    done = run_playbook("-i", "inventories/local", "--syntax-check", f"letta_ops.recovery.{alias(name).removesuffix('.yml')}")
    assert done.returncode == 0, done.stderr
    assert str(installed) in done.stdout


@pytest.mark.parametrize("inventory", ["local", "staging", "production.example"])
def test_every_inventory_has_the_groups_that_playbooks_name(inventory):
    done = run_playbook("-i", f"inventories/{inventory}", "--list-hosts", "playbooks/restore-full.yml")
    assert done.returncode == 0, done.stderr
    assert "hosts (0)" not in done.stdout
    assert "could not match" not in done.stdout + done.stderr.lower()
