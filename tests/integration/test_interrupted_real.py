"""A real Letta 0.16.8 killed with SIGKILL in the middle of each kind of work; its backup, restored and reconciled by the playbook."""
from __future__ import annotations

import contextlib
import os
import threading
import time
from http.client import HTTPException
from types import SimpleNamespace

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from tests.integration.restore_kit import World
from tests.integration.test_real_letta import digests_of_agents, messages_of, open_runs
from tests.lab import places
from tests.lab.fixtures import LETTA_PASSWORD
from tests.lab.letta import ApiError, LettaServer
from tests.lab.openai_stub import OpenAIStub
from tests.lab.seed import SAMPLE_KEY, Seeder

pytestmark = pytest.mark.slow
SLOW_TOOL = '''
def count_slowly(marker: str) -> str:
    """Count, slowly.

    Args:
        marker (str): file to make when it begins
    """
    import pathlib, time
    pathlib.Path(marker).touch()
    time.sleep(30)
    return "counted"
'''
# What a partner of a sleeptime agent can call and no other agent.
ASLEEP = "memory_finish_edits"


class Interrupted(Seeder):
    """Work of every kind, left unfinished."""

    def begin(self, marker):
        """Make the agents, give each its work, return when all of it is under way."""
        self.tools()
        self._make("tools", "count_slowly", "/v1/tools/", {"source_code": SLOW_TOOL, "source_type": "python"})
        self._make("folders", "handbook", "/v1/folders/", {"name": "handbook", "embedding": "openai/text-embedding-3-small"})
        tool = self.made["tools"]
        for key in ("quiet", "busy", "streamed", "in context"):
            self._agent(key, "letta_v1_agent")
            self.letta.say(self.made["agents"][key], "Hello %s" % key)
        self._agent("calling", "letta_v1_agent", tool_ids=[tool["count_slowly"]])
        self._agent("careful", "letta_v1_agent", tool_ids=[tool["wipe_records"]])
        self._agent("careful in talk", "letta_v1_agent", tool_ids=[tool["wipe_records"]])
        self._agent("sleeper", "letta_v1_agent", enable_sleeptime=True, memory_blocks=[{"label": "human", "value": "sleeps"}])
        group = self.letta.api("GET", "/v1/agents/%s" % self.made["agents"]["sleeper"])["managed_group"]
        self.made["agents"]["partner"] = group["agent_ids"][0]
        self.in_flight()
        self._in_thread("/v1/agents/%s/messages" % self.made["agents"]["calling"], 'Count [[call:count_slowly {"marker": "%s"}]]' % marker)
        wipe = 'Wipe them [[call:wipe_records {"name": "all"}]]'
        self.letta.say(self.made["agents"]["careful"], wipe)
        talk = self._make("conversations", "talk", "/v1/conversations/?agent_id=%s" % self.made["agents"]["careful in talk"], {})
        body = {"messages": [{"role": "user", "content": wipe}], "streaming": False}
        self.letta.api("POST", "/v1/conversations/%s/messages" % talk, body)
        held = self.stub.hanging
        self.letta.say(self.made["agents"]["sleeper"], "Remember this [[hang:%s]]" % ASLEEP)
        if not places.wait_for(lambda: self.stub.hanging == held + 1, 30):
            raise RuntimeError("the background turn did not reach the model service: %s" % self.letta.log_tail())
        if not places.wait_for(marker.exists, 60):
            raise RuntimeError("the tool was not called: %s" % self.letta.log_tail())

    def _in_thread(self, path, text):
        def ask():
            with contextlib.suppress(OSError, HTTPException):
                self.letta.api("POST", path, {"messages": [{"role": "user", "content": text}]}, timeout=600)

        threading.Thread(target=ask, daemon=True).start()


@pytest.fixture(scope="module")
def restored(pg, letta_template, letta_redis, tmp_path_factory):
    """What was killed, and a running Letta on what a full restore made of its backup: server, made, before, report, letta."""
    folder = tmp_path_factory.mktemp("interrupted")
    source = pg.clone_database("interrupted_source", letta_template, password=LETTA_PASSWORD)
    with OpenAIStub() as stub:
        letta = LettaServer(folder / "letta", source, stub.proxy, SAMPLE_KEY, (letta_redis.host, letta_redis.port)).start()
        work = Interrupted(letta, stub)
        try:
            work.begin(folder / "tool-has-begun")
        finally:
            letta.kill()
        open_work = {row[0] for row in query(source, "SELECT DISTINCT agent_id FROM runs WHERE status IN ('created', 'running')")}
        admin = pg.server()
        variables = {
            "letta_db_password": LETTA_PASSWORD, "letta_db_admin_user": admin.user, "letta_db_admin_password": admin.password,
            "letta_encryption_key": SAMPLE_KEY, "letta_reconcile_approvals": "deny", "letta_redis_host": letta_redis.host,
            "letta_redis_port": letta_redis.port,
        }  # fmt: skip
        world = World(pg, "interrupted_restored", folder, variables=variables)
        os.makedirs(world.root, 0o700)
        options = take.BackupOptions(server=admin.database(source.dbname), root=world.root, bin_dir=world.bin_dir, jobs=1,
                                     encryption_key=SAMPLE_KEY)  # fmt: skip
        take.take_backup(options)
        before = digests_of_agents(source)
        report = world.play("restore-full.yml", timeout=300).ok().report
        server = pg.server("letta", LETTA_PASSWORD, world.database)
        after = digests_of_agents(server)
        with LettaServer(folder / "again", server, stub.proxy, SAMPLE_KEY, (letta_redis.host, letta_redis.port)) as again:
            yield SimpleNamespace(
                server=server, made=work.made, agents=work.made["agents"], open_work=open_work, before=before, after=after, report=report,
                letta=again, stub=stub,
            )  # fmt: skip
    for name in (source.dbname, world.database):
        pg.drop_database(name)


def test_each_kind_of_work_was_under_way_when_the_server_died(restored):
    names = {name for name, agent in restored.agents.items() if agent in restored.open_work}
    assert {"busy", "streamed", "calling", "partner"} <= names and "quiet" not in names


@pytest.mark.fault(33, "run")
def test_agents_that_were_consistent_are_untouched_byte_for_byte(restored):
    for name in ("quiet", "in context"):
        assert restored.after[restored.agents[name]] == restored.before[restored.agents[name]]
    assert restored.after[restored.agents["careful"]] != restored.before[restored.agents["careful"]]


@pytest.mark.fault(33, "run", "step")
def test_nothing_is_open_that_nobody_works_at(restored):
    for table, column, values in (("runs", "status", ("created", "running")), ("steps", "status", ("PENDING",)),
                                  ("jobs", "status", ("created", "running", "pending")),
                                  ("files", "processing_status", ("pending", "parsing", "embedding"))):  # fmt: skip
        assert query(restored.server, "SELECT id FROM %s WHERE %s::text = ANY(%%s)" % (table, column), (list(values),)) == [], table
    told = {item["entity"] for item in restored.report["reconciled"]}
    assert {"run", "step", "file", "message"} <= told


@pytest.mark.fault(33, "message")
@pytest.mark.parametrize(
    "name", ["quiet", "busy", "streamed", "calling", "careful", "careful in talk", "sleeper", "partner", "in context"]
)
def test_every_agent_answers_and_keeps_a_new_message(restored, name):
    agent = restored.agents[name]
    answer = restored.letta.say(agent, "Are you there, %s?" % name)
    assert answer["stop_reason"]["stop_reason"] in ("end_turn", "tool_rule")
    kept = messages_of(restored.server, agent)
    assert any("Are you there, %s?" % name in text for role, _number, text in kept if role == "user")
    assert kept[-1][0] in ("assistant", "tool")


@pytest.mark.fault(33, "approval")
def test_the_conversation_that_waited_for_an_approval_goes_on(restored):
    path = "/v1/conversations/%s/messages" % restored.made["conversations"]["talk"]
    restored.letta.api("POST", path, {"messages": [{"role": "user", "content": "Go on without it"}], "streaming": False})
    assert "Go on without it" in str(restored.letta.api("GET", path))


@pytest.mark.fault(33, "run")
@pytest.mark.parametrize("name", ["busy", "streamed", "calling"])
def test_new_work_of_an_interrupted_agent_can_be_cancelled(restored, name):
    path = "/v1/agents/%s/messages/" % restored.agents[name]
    run = restored.letta.api("POST", path + "async", {"messages": [{"role": "user", "content": "Take your time [[slow:15]]"}]})
    time.sleep(0.5)
    assert open_runs(restored.server, restored.agents[name]) == [(run["id"],)], "nothing of before counts as its work"
    assert restored.letta.api("POST", path + "cancel", {"run_ids": [run["id"]]}) == {run["id"]: "cancelled"}


def test_the_background_turn_that_was_lost_is_taken_again(restored):
    """The transcript of the turn that died is handed to the partner at the next one: nothing of it was forgotten."""
    restored.stub.release()
    partner = restored.agents["partner"]

    def remembered():
        return any("Remember this" in text for _role, _number, text in messages_of(restored.server, partner))

    for number in range(6):
        with contextlib.suppress(ApiError):
            restored.letta.say(restored.agents["sleeper"], "Another message %d" % number)
    assert places.wait_for(remembered, 60)
