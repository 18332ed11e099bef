"""The modules of a restore, used alone in check mode: they tell what would happen and change nothing."""
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.restore_kit import ADMIN, ADMIN_PASSWORD, ANSIBLE_PLAYBOOK, HOST, _unsafe, _yaml
from tests.lab import ROOT


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        ("restore_run", {"state": "begun", "host": HOST}, "replace"),
        ("database_swap", {"side_database": "a_side", "previous_database": "an_old"}, "an_old"),
    ],
)
def test_a_module_alone_tells_in_check_mode_and_changes_nothing(world, tmp_path, module, options, said):
    login = {"login_host": "127.0.0.1", "login_port": world.pg.port, "login_user": ADMIN, "login_password": _unsafe(ADMIN_PASSWORD)}
    arguments = dict(login, bin_dir=world.bin_dir, database=world.database, ssl_mode="disable", **options)
    if module == "restore_run":
        arguments["backup_root"] = world.root
    play = [{"hosts": HOST, "gather_facts": False, "tasks": [
        {"letta_ops.recovery." + module: arguments, "register": "told"}, {"ansible.builtin.debug": {"var": "told"}}]}]
    book = tmp_path / "play.yml"
    book.write_text(_yaml(play), encoding="utf-8")
    before, files = world.fingerprint(), world.tree()
    argv = [ANSIBLE_PLAYBOOK, "-i", str(world.inventory()), "--check", str(book)]
    env = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"))
    done = subprocess.run(argv, cwd=Path(ROOT), env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert said in done.stdout
    assert world.fingerprint() == before
    assert world.tree() == files
