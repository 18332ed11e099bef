"""A full restore as a person runs it: the playbook, against a real PostgreSQL."""
from __future__ import annotations

from tests.integration.restore_kit import content


def test_a_restore_over_a_live_database_brings_back_exactly_what_was_saved(world, letta_shape):
    played = world.play("restore-full.yml").ok()
    print(played.output)
    assert world.leftovers(world.kept_names()) == []
