"""Releases, revisions and what lies between them."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import chain_data, releases

HEAD = "1c28e167b74f"


def test_the_chain_has_every_revision_once_and_every_head_lies_on_it_in_order():
    chain = [entry[0] for entry in chain_data.CHAIN]
    assert len(chain) == len(set(chain)) == 167
    places = [chain.index(revision) for revision, _versions in chain_data.HEADS]
    assert places == sorted(places)
    assert chain[-1] == chain_data.HEADS[-1][0] == HEAD
    assert set(chain_data.HAZARDS) <= set(chain)


def test_every_revision_came_with_a_release_whose_head_is_not_before_it():
    for info in releases.all_revisions():
        assert releases.position(releases.head_of(info.release)) >= info.position


@pytest.mark.parametrize(
    ("version", "revision", "migrations"),
    [("0.6.4", "c5d964280dff", 15), ("0.11.7", "ddb69be34a72", 117), ("0.14.0", "b1c2d3e4f5a6", 146), ("0.16.8", HEAD, 167)],
)
def test_a_release_is_known_by_its_head_and_number_of_migrations(version, revision, migrations):
    assert releases.head_of(version) == releases.head_of("v" + version) == revision
    assert releases.position(revision) == migrations
    assert version in releases.releases_of(revision)


@pytest.mark.parametrize("version", ["0.16.3", "0.6.38", "9.9.9", "", None])
def test_a_release_that_never_was_has_no_head(version):
    assert releases.head_of(version) is None


def test_releases_with_one_schema_are_one_range():
    assert releases.release_range_of(HEAD) == "0.16.7–0.16.8"
    assert releases.release_range_of("ddb69be34a72") == "0.11.7"
    assert releases.release_range_of("a08c972e781b") is None
    assert releases.release_range_of("feedfacecafe") is None


def test_an_older_backup_lists_the_migrations_it_needs_oldest_first():
    comparison = releases.compare(["ddb69be34a72"], HEAD)
    assert comparison.verdict == "older"
    assert len(comparison.between) == 50
    assert comparison.between[-1] == HEAD
    assert "ddb69be34a72" not in comparison.between
    assert "567e9fe06270" in comparison.between
    assert comparison.detail == "ddb69be34a72 (0.11.7) is 50 migrations older than 1c28e167b74f (0.16.7–0.16.8)"


def test_a_newer_backup_lists_what_the_target_lacks():
    comparison = releases.compare([HEAD], "a08c972e781b")
    assert (comparison.verdict, comparison.between) == ("newer", (HEAD,))
    assert "is 1 migration newer than" in comparison.detail
    assert "on the way to 0.16.7" in comparison.detail


@pytest.mark.parametrize(
    ("revisions", "target", "verdict"),
    [
        ([HEAD], HEAD, "equal"),
        ([HEAD, HEAD], HEAD, "equal"),
        (["feedfacecafe"], "feedfacecafe", "equal"),
        (["feedfacecafe"], HEAD, "unknown"),
        ([HEAD], "feedfacecafe", "unknown"),
        ([HEAD], None, "unknown"),
        ([HEAD, "a08c972e781b"], HEAD, "two_heads"),
        ([], HEAD, "empty"),
        (None, HEAD, "missing"),
    ],
)
def test_each_state_of_the_version_table_has_its_own_verdict(revisions, target, verdict):
    comparison = releases.compare(revisions, target)
    assert comparison.verdict == verdict
    assert comparison.between == ()
    assert comparison.detail


def test_a_revision_says_what_is_special_about_it():
    lossy = releases.revision_info("54dec07619c4")
    assert "without copying its rows" in lossy.hazard
    concurrent = releases.revision_info("a08c972e781b")
    assert (concurrent.concurrent_index, concurrent.commits_midway, concurrent.changes_data) == (True, True, False)
    assert sum(info.needs_encryption_key for info in releases.all_revisions()) == 3
    assert releases.revision_info("feedfacecafe") is None
