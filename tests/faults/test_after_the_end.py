"""A run that has ended well is not taken back by what fails after it."""
from __future__ import annotations

import json

import pytest

from tests.integration.restore_kit import add_writes, content

pytestmark = pytest.mark.slow


def test_a_report_that_cannot_even_be_addressed_does_not_put_the_old_database_back(make_world):
    world = make_world()
    world.backup()
    saved = content(world.fingerprint())
    add_writes(world.live)
    # The folder of reports is known until the journal says that the run succeeded.
    ended = "lookup('ansible.builtin.pipe', 'grep -ls succeeded %s/.runs/*/journal.json || true')" % world.root
    folder = "{{ '%s' if not %s else undef(hint='no such disk any more') }}" % (world.reports, ended)
    played = world.play("restore-full.yml", "-e", json.dumps({"letta_report_dir": folder}))
    assert played.rc != 0
    assert "no such disk any more" in played.output
    assert "Put back what was begun" not in played.output
    assert content(world.fingerprint()) == saved
    assert [journal.data["status"] for journal in world.journals()] == ["succeeded"]
    assert world.leftovers(kept=world.kept_names()) == []
    world.play("rollback.yml").ok()
    assert content(world.fingerprint()) != saved
