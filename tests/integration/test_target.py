"""Looking at the live database while what an interrupted run left behind still works on it."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import target

pytestmark = pytest.mark.slow


def test_a_database_that_is_fenced_off_while_it_is_looked_at_is_told_as_fenced(pg, make_database, monkeypatch):
    live, look = make_database("live"), target._live_contents

    def fenced_meanwhile(server, owner):
        query(pg.server(), 'ALTER DATABASE "%s" ALLOW_CONNECTIONS false' % live.dbname)
        return look(server, owner)

    monkeypatch.setattr(target, "_live_contents", fenced_meanwhile)
    assert target.inspect_target(pg.server(), live.dbname)["live"]["fenced"] is True


def test_a_database_that_cannot_be_read_for_another_reason_is_no_fenced_one(pg, make_database, monkeypatch):
    def unreadable(_server, _owner):
        raise RecoveryError("preflight", "no route", next_step="mend it")

    monkeypatch.setattr(target, "_live_contents", unreadable)
    with pytest.raises(RecoveryError, match="no route"):
        target.inspect_target(pg.server(), make_database("live").dbname)
