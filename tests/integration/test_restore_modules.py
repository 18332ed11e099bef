"""The modules of a restore, used alone in check mode: they tell what would happen and change nothing."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.restore_kit import ADMIN, ADMIN_PASSWORD, ANSIBLE_PLAYBOOK, HEAD, HOST, _unsafe, _yaml
from tests.lab import ROOT


def rehearse(world, folder, module, options):
    """Run one module in check mode, with the admin's login; returns the ended process."""
    login = {"login_host": "127.0.0.1", "login_port": world.pg.port, "login_user": ADMIN, "login_password": _unsafe(ADMIN_PASSWORD)}
    arguments = dict(login, bin_dir=world.bin_dir, ssl_mode="disable", **options)
    play = [{"hosts": HOST, "gather_facts": False, "tasks": [
        {"letta_ops.recovery." + module: arguments, "register": "told"}, {"ansible.builtin.debug": {"var": "told"}}]}]
    book = folder / "play.yml"
    book.write_text(_yaml(play), encoding="utf-8")
    argv = [ANSIBLE_PLAYBOOK, "-i", str(world.inventory()), "--check", str(book)]
    env = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"))
    return subprocess.run(argv, cwd=Path(ROOT), env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        ("restore_run", {"state": "begun", "host": HOST}, "replace"),
        ("alembic_upgrade", {"target_revision": HEAD, "command": [sys.executable, "-c", "print('%s (head)')" % HEAD]}, HEAD),
        ("database_swap", {"side_database": "a_side", "previous_database": "an_old"}, "an_old"),
    ],
)
def test_a_module_alone_tells_in_check_mode_and_changes_nothing(world, tmp_path, module, options, said):
    arguments = dict(options, database=world.database)
    if module == "restore_run":
        arguments["backup_root"] = world.root
    before, files = world.fingerprint(), world.tree()
    done = rehearse(world, tmp_path, module, arguments)
    assert done.returncode == 0, done.stdout
    assert said in done.stdout
    assert world.fingerprint() == before
    assert world.tree() == files


def test_an_exchange_that_cannot_be_is_refused_in_the_rehearsal_while_servers_still_run(world, tmp_path):
    world.play("restore-full.yml", "--tags", "stage,migrate,validate,reconcile").ok()
    (journal,) = world.journals()
    options = {"database": world.database, "run_dir": journal.run_dir}
    assert rehearse(world, tmp_path, "database_swap", options).returncode == 0
    side = journal.data["names"]["side"]
    world.pg.drop_database(side)
    world.pg.execute('CREATE DATABASE "%s"' % side)  # the name is there, what was proven is not
    live = world.fingerprint()
    done = rehearse(world, tmp_path, "database_swap", options)
    assert done.returncode != 0
    assert "the proven side database %s is not there any more" % side in done.stdout
    assert world.fingerprint() == live
    assert rehearse(world, tmp_path, "database_swap", dict(options, state="rolled_back")).returncode != 0
