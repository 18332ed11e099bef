"""What a run needs is taken away before or under it: the store becomes read-only, the role may not log in any more."""
from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import copying
from tests.faults import engine_kit
from tests.integration.restore_kit import ADMIN

pytestmark = pytest.mark.slow


@contextmanager
def read_only(folder):
    """Mount a folder over itself, for reading alone."""
    if shutil.which("mount") is None:
        pytest.skip("there is no mount on this machine")
    done = subprocess.run(["mount", "--bind", folder, folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("nothing can be mounted here: %s" % done.stderr.strip())
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.fault(5, "read-only")
def test_a_store_that_became_read_only_is_named_by_a_backup_and_by_a_restore_and_live_is_untouched(world):
    old, sets = world.fingerprint(), sorted(os.listdir(world.root))
    with read_only(world.root):
        for work in (world.backup, lambda: engine_kit.restore(world, engine_kit.Service(world), world.run_options())):
            with pytest.raises(RecoveryError) as caught:
                work()
            assert caught.value.failure_class == "preflight"
            assert "Read-only file system" in caught.value.message
            assert world.root in caught.value.message
            assert "untouched" in caught.value.now
    assert sorted(os.listdir(world.root)) == sets
    assert world.fingerprint() == old
    engine_kit.restore(world, engine_kit.Service(world), world.run_options())


@pytest.mark.fault(37, "login")
def test_a_role_that_may_not_log_in_any_more_in_the_middle_of_a_load_is_named_with_the_statement_that_lets_it(world, monkeypatch):
    old, copy_in = world.fingerprint(), copying.copy_in

    def copied(*arguments):
        world.pg.execute("ALTER ROLE %s NOLOGIN" % ADMIN)
        return copy_in(*arguments)

    monkeypatch.setattr(copying, "copy_in", copied)
    try:
        with pytest.raises(RecoveryError) as caught:
            engine_kit.restore(world, engine_kit.Service(world), world.run_options())
    finally:
        world.pg.execute("ALTER ROLE %s LOGIN" % ADMIN)
    monkeypatch.undo()
    assert caught.value.failure_class == "preflight"
    assert caught.value.next_step.startswith("let the role in: ALTER ROLE %s LOGIN;" % ADMIN)
    assert world.fingerprint() == old
    engine_kit.restore(world, engine_kit.Service(world), world.run_options())
    assert world.leftovers(world.kept_names()) == []
