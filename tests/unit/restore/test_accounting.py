"""After a migration every changed row is explained by a revision in between, or the migration is not believed."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import releases
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.columns import ColumnDigests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.accounting import account

HEAD = releases.head_of("0.16.8")


def between(release):
    return releases.compare([releases.head_of(release)], HEAD).between


def table(rows, identity=("id",), **columns):
    return ColumnDigests(rows, identity, columns)


def verdicts(before, after, release="0.14.0"):
    rows, findings = account(before, after, between(release))
    return {row["name"]: (row["digest"], row["explanation"]) for row in rows}, findings[0].status


def test_what_nothing_touched_is_equal():
    same = {"letta.users": table(3, id="a", name="b")}
    assert verdicts(same, same) == ({"letta.users": ("equal", "")}, "pass")


def test_columns_that_were_added_explain_a_table():
    found, status = verdicts({"letta.agents": table(3, id="a")}, {"letta.agents": table(3, id="a", compaction_settings="z")})
    assert found == {"letta.agents": ("explained", "1 column added: compaction_settings")}
    assert status == "pass"


def test_a_value_that_a_migration_changes_is_explained_with_its_revision():
    found, status = verdicts({"letta.agents": table(3, id="a", hidden="x")}, {"letta.agents": table(3, id="a", hidden="y")})
    assert found["letta.agents"][0] == "explained"
    assert "9fa274fb0b83" in found["letta.agents"][1]
    assert status == "pass"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (table(3, id="a", name="x"), table(3, id="a", name="y"), "no migration changes them: name"),
        (table(3, id="a"), table(2, id="b"), "3 rows before, 2 after"),
        (table(3, id="a", name="x"), table(3, id="a"), "no migration drops them: name"),
        (table(3, id="a"), None, "no migration drops it"),
        (table(3, id="a"), table(3, ("name",), id="b"), "told apart by other columns"),
    ],
)
def test_a_change_that_no_migration_explains_is_a_failure(before, after, said):
    found, status = verdicts({"letta.users": before}, {"letta.users": after} if after else {})
    assert found["letta.users"][0] == "differs"
    assert said in found["letta.users"][1]
    assert status == "fail"


def test_the_same_value_changed_by_no_revision_in_between_is_a_failure():
    release = "0.16.7"  # behind 9fa274fb0b83, so nothing is run
    found, status = verdicts({"letta.agents": table(3, id="a", hidden="x")}, {"letta.agents": table(3, id="a", hidden="y")}, release)
    assert (found["letta.agents"][0], status) == ("differs", "fail")


def test_rows_that_moved_to_another_table_are_followed_and_compared():
    before = {"letta.agent_passages": table(5, id="a", text="t", agent_id="x")}
    after = {"letta.archival_passages": table(5, id="a", text="t", archive_id="y"), "letta.archives": table(2, id="n")}
    found, status = verdicts(before, after, "0.10.1")
    assert {name: verdict for name, (verdict, _why) in found.items()} == {
        "letta.archival_passages": "explained", "letta.archives": "explained"}
    assert status == "pass"
    after["letta.archival_passages"] = table(5, id="a", text="another", archive_id="y")
    found, status = verdicts(before, after, "0.10.1")
    assert "no migration changes them: text" in found["letta.archival_passages"][1]
    assert status == "fail"


@pytest.mark.parametrize(("name", "rows"), [("letta.blocks_tags", 1), ("letta.something", 0)])
def test_a_new_table_that_is_not_as_the_migrations_make_it_is_a_failure(name, rows):
    found, status = verdicts({}, {name: table(rows)})
    assert (found[name][0], status) == ("differs", "fail")


def test_a_new_empty_table_is_explained():
    assert verdicts({}, {"letta.blocks_tags": table(0)})[1] == "pass"
