"""Why is this row in? Every row of a slice leads back to what was asked for."""
from __future__ import annotations

import json

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import closure
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta.linking import rules_for
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial import selection, slices
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial.rows import RowFilter, Sets
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial.supply import Supply
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial.why import ASKED_FOR, told, why
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.archive import open_archive
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import stage
from tests.integration.partial_engine_kit import AGENTS, MADE
from tests.lab.sample import SETS

SUPPORT, SLEEPER, PARTNER = AGENTS["support"], AGENTS["sleeper"], AGENTS["sleeper's partner"]
ARCHIVE, GUIDE, HANDBOOK = MADE["archives"]["shared"], MADE["files"]["guide"], MADE["folders"]["handbook"]
SELECTIONS = {
    "all agents": {"agents": ("*",)},
    "an agent": {"agents": (SUPPORT,)},
    "an agent with a partner": {"agents": (SLEEPER,)},
    "a partner": {"agents": (PARTNER,)},
    "messages": {"scopes": ("messages",), "agents": (SUPPORT,)},
    "the sources of an agent": {"scopes": ("sources",), "agents": (SUPPORT,)},
    "a file": {"files": (GUIDE,)},
    "a block": {"blocks": (MADE["blocks"]["company"],)},
    "an archive": {"archives": (ARCHIVE,)},
    "links": {"scopes": ("links",), "agents": (SUPPORT, SLEEPER)},
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Function (name of :data:`SELECTIONS`) -> slice of the shipped sample, cut once and read from disk."""
    set_dir = next(path for path in SETS.iterdir() if path.name.startswith("lb-"))
    manifest = manifests.load(str(set_dir))
    tools = stage.tools_for(manifest)
    archive = open_archive(stage.archive_path(str(set_dir), manifest), tools)
    made = {}

    def cut(name):
        if name not in made:
            found = selection.resolve(archive, tools, "letta", selection.Selection(**SELECTIONS[name]))
            found.roots[closure.REVISIONS] = manifest["letta"]["alembic_revisions"]
            folder = str(tmp_path_factory.mktemp("slice"))
            slices.cut(Supply(archive, tools, "letta"), found.roots, folder, rules_for(found.roots, traces=True))
            made[name] = slices.Slice.load(folder)
        return made[name]

    return cut


def write_slice(folder, roots, tables):
    """Make a slice of rows by the very rules: ``tables`` {table: [{column: text}]}, all rows of one table with the same columns."""
    made, sets = slices.Slice(str(folder), roots), Sets(roots)
    for table in (name for name in closure.tables_in_order() if name in tables):
        columns = list(tables[table][0])
        rules = [rule for rule in closure.RULES if rule.table == table]
        block = b"".join(b"\t".join(row[column].encode() for column in columns) + b"\n" for row in tables[table])
        picked = RowFilter(table, columns, rules, sets).pick(block)
        made.tables[table] = {"columns": columns, "rows": len(picked)}
        (folder / (table + ".copy")).write_bytes(b"".join(picked))
    made.save()
    return slices.Slice.load(str(folder))


def keys(cut, table, **wanted):
    """Return the ids (else the values of all key columns) of a slice's rows with these values."""
    columns = cut.tables[table]["columns"]
    with open(cut.path(table), encoding="utf-8") as stream:
        rows = [dict(zip(columns, line.rstrip("\n").split("\t")[1:])) for line in stream]
    named = closure.KEYS.get(table) or closure.LINK_KEYS.get(table) or ("version_num" if table == "alembic_version" else "id",)
    return ["/".join(row[name] for name in named) for row in rows if wanted.items() <= row.items()]


@pytest.mark.parametrize("name", sorted(SELECTIONS))
def test_every_row_of_a_slice_leads_back_to_what_was_asked_for(sample, name):
    cut = sample(name)
    asked = set(cut.roots[closure.ASKED])
    rows = 0
    for table in cut.tables:
        for key in keys(cut, table):
            path = why(cut, table, key)
            rows += 1
            assert path[0][:2] == (table, key)
            if table == "alembic_version":
                assert path[0][2] == "the schema's revision"
                continue
            assert path[-1][1] in asked, told(path)
            assert [step[2] for step in path].index(ASKED_FOR) == len(path) - 1
    assert rows == sum(facts["rows"] for facts in cut.tables.values()) > 5


def test_a_message_is_in_because_of_its_agent(sample):
    cut = sample("an agent")
    message = keys(cut, "messages", agent_id=SUPPORT)[7]
    path = why(cut, "messages", message)
    assert path == [("messages", message, "a message of the agent"), ("agents", SUPPORT, ASKED_FOR)]
    assert told(path) == "messages %s <- a message of the agent <- agents %s (asked for)" % (message, SUPPORT)


def test_a_tag_of_a_passage_is_in_because_of_the_archive_that_the_agent_is_linked_to(sample):
    cut = sample("an agent")
    tag = keys(cut, "passage_tags")[0]
    assert why(cut, "passage_tags", tag) == [
        ("passage_tags", tag, "a tag of a passage"),
        ("archives", ARCHIVE, "the agent's archive"),
        ("archives_agents", "%s/%s" % (SUPPORT, ARCHIVE), "a link of the agent"),
        ("agents", SUPPORT, ASKED_FOR),
    ]


def test_a_block_of_the_partner_is_in_by_way_of_the_sleeptime_group(sample):
    cut, group = sample("an agent with a partner"), MADE["groups"]["sleeptime"]
    (block,) = set(keys(cut, "block")) - {key.split("/")[1] for key in keys(cut, "blocks_agents", agent_id=SLEEPER)}
    assert why(cut, "block", block) == [
        ("block", block, "a block of the agent"),
        ("blocks_agents", "%s/%s" % (PARTNER, block), "a link of the agent"),
        ("agents", PARTNER, "a partner of the agent"),
        ("groups_agents", "%s/%s" % (group, PARTNER), "a member of the agent's group"),
        ("groups", group, "a group that the agent manages"),
        ("agents", SLEEPER, ASKED_FOR),
    ]


def test_the_manager_that_a_partner_brings_along_is_not_told_to_be_asked_for(sample):
    path = why(sample("a partner"), "agents", SLEEPER)
    assert [step[0] for step in path] == ["agents", "groups", "groups_agents", "agents"]
    assert path[0][2] == "the agent whose partner it is"
    assert path[-1] == ("agents", PARTNER, ASKED_FOR)


def test_the_source_of_a_file_is_in_because_of_the_file(sample):
    assert why(sample("a file"), "sources", HANDBOOK) == [("sources", HANDBOOK, "the source of the file"), ("files", GUIDE, ASKED_FOR)]


def test_the_organisation_is_in_by_the_shortest_way(sample):
    cut = sample("all agents")
    path = why(cut, "organizations", "org-00000000-0000-4000-8000-000000000000")
    assert [step[0] for step in path] == ["organizations", "agents"]


@pytest.fixture
def servers(tmp_path):
    """A slice with what the sample has none of: blocks of a group, MCP servers, a provider."""
    roots = {closure.AGENTS: ["agent-1"], closure.GROUPS: ["group-1"], closure.ASKED: ["agent-1"]}
    metadata = json.dumps({"mcp": {"server_id": "mcp_server-2"}})
    return write_slice(tmp_path, roots, {
        "agents": [{"id": "agent-1", "name": "a"}, {"id": "agent-2", "name": "agent-1"}],
        "groups": [{"id": "group-1", "manager_agent_id": "agent-1"}],
        "groups_blocks": [{"group_id": "group-1", "block_id": "block-1"}],
        "block": [{"id": "block-1"}, {"id": "block-2"}],
        "blocks_agents": [{"agent_id": "agent-2", "block_id": "block-1", "block_label": "agent-1"}],
        "agents_tags": [{"agent_id": "agent-1", "tag": "a/b\\\\c"}],
        "tools_agents": [{"agent_id": "agent-1", "tool_id": "tool-1"}, {"agent_id": "agent-1", "tool_id": "tool-2"}],
        "tools": [{"id": "tool-1", "metadata_": "\\N"}, {"id": "tool-2", "metadata_": metadata}],
        "mcp_tools": [{"id": "x1", "tool_id": "tool-1", "mcp_server_id": "mcp_server-1"}],
        "mcp_server": [{"id": "mcp_server-1"}, {"id": "mcp_server-2"}, {"id": "mcp_server-3"}],
        "mcp_oauth": [{"id": "mcp-oauth-1", "server_id": "mcp_server-2", "user_id": "\\N"}],
        "steps": [{"id": "step-1", "agent_id": "agent-1", "run_id": "\\N", "provider_id": "provider-1"}],
        "providers": [{"id": "provider-1"}],
    })  # fmt: skip


@pytest.mark.parametrize(
    ("table", "key", "tables"),
    [
        ("block", "block-1", "block groups_blocks groups agents"),
        ("mcp_server", "mcp_server-1", "mcp_server mcp_tools tools tools_agents agents"),
        ("mcp_server", "mcp_server-2", "mcp_server tools tools_agents agents"),
        ("mcp_oauth", "mcp-oauth-1", "mcp_oauth mcp_server tools tools_agents agents"),
        ("providers", "provider-1", "providers steps agents"),
        ("agents_tags", "agent-1/a/b\\c", "agents_tags agents"),
        ("agents", "agent-1", "agents"),
    ],
)
def test_the_path_of_what_the_sample_has_none_of(servers, table, key, tables):
    path = why(servers, table, key)
    assert " ".join(step[0] for step in path) == tables
    assert path[0][1] == key
    assert path[-1] == ("agents", "agent-1", ASKED_FOR)


def test_a_row_is_explained_by_what_it_is_not_by_a_weaker_reason(tmp_path, monkeypatch):
    roots = {closure.AGENTS: ["agent-1"], closure.FILES: ["file-1"], closure.ASKED: ["agent-1", "file-1"]}
    view = {"id": "file_agent-1", "file_id": "file-1", "agent_id": "agent-1", "source_id": "source-1"}
    cut = write_slice(tmp_path, roots, {"agents": [{"id": "agent-1"}], "files": [{"id": "file-1"}], "files_agents": [view]})
    for rules in (closure.RULES, closure.RULES[::-1]):
        monkeypatch.setattr(closure, "RULES", rules)
        assert why(cut, "files_agents", "file_agent-1")[-1][1] == "agent-1"


@pytest.mark.parametrize(
    ("table", "key", "told"),
    [
        ("agents", "agent-2", "no row agent-2 in agents"),
        ("block", "block-", "no row block- in block"),
        ("blocks_agents", "agent-2/block-1", "no row"),
        ("mcp_server", "mcp_server-3", "no row"),
        ("messages", "message-1", "no table messages"),
    ],
)
def test_a_row_that_is_not_in_is_told_plainly(servers, table, key, told):
    with pytest.raises(RecoveryError, match=told) as failure:
        why(servers, table, key)
    assert failure.value.failure_class == "usage"
    assert failure.value.next_step


def test_a_row_that_no_rule_explains_is_no_riddle(servers, monkeypatch):
    gone = [rule for rule in closure.RULES if rule.table == "providers"]
    monkeypatch.setattr(closure, "RULES", tuple(rule for rule in closure.RULES if rule not in gone))
    with pytest.raises(RecoveryError, match="no rule leads to row provider-1 of providers: it stands in the slice as presence"):
        why(servers, "providers", "provider-1")
    assert why(servers, "steps", "step-1")[-1][1] == "agent-1"


def test_a_slice_that_does_not_say_what_was_asked_for_ends_at_its_roots(servers):
    del servers.roots[closure.ASKED]
    assert why(servers, "block", "block-1")[-1] == ("agents", "agent-1", ASKED_FOR)
    servers.roots[closure.ASKED] = ["agent-7"]  # nothing leads there
    assert why(servers, "block", "block-1")[-1] == ("groups", "group-1", "a group that the agent manages")
