"""Letta's own way with one agent: export to an agent file and import of it by a real Letta server, beside ours."""
from __future__ import annotations

import json
import time

from tests.bench.partial import Agent
from tests.lab import places
from tests.lab.letta import FileUpload, LettaServer
from tests.lab.openai_stub import OpenAIStub

# A file holds only what is in context: with all of them there it carries all messages that it ever can.
_ALL_IN_CONTEXT = """
UPDATE letta.agents SET message_ids = (
    SELECT json_agg(id ORDER BY sequence_id) FROM letta.messages WHERE agent_id = agents.id AND conversation_id IS NULL)
WHERE name = %s
"""
_ARRIVED = {
    "file.messages": "SELECT count(*) FROM letta.messages WHERE agent_id = %s",
    "file.passages": "SELECT count(*) FROM letta.archival_passages JOIN letta.archives_agents USING (archive_id) WHERE agent_id = %s",
}
# What an import makes beside the agent, by its path in the API. Its tools are those that are there.
_MADE = {"blocks": "letta.block", "folders": "letta.sources"}
_UNFINISHED = "SELECT count(*) FROM letta.files WHERE NOT is_deleted AND processing_status NOT IN ('completed', 'error')"


class AgentFile(Agent):
    """A large agent of a target's database, brought back by ours and carried over by a Letta server. A context manager.

    :param target: a prepared :class:`tests.bench.target.Target` of the shape ``agent``.
    """

    def __init__(self, target):
        self.target = target
        target.postgres.execute(_ALL_IN_CONTEXT, target.name, (target.wanted,))
        self._stub = OpenAIStub()
        self._letta = self._copy = None

    def __enter__(self):
        self._stub.__enter__()
        try:
            database = self.target.postgres.server(self.target.owner, self.target.password, self.target.name)
            self._letta = LettaServer(self.target.folder / "letta", database, self._stub.proxy).start()
            self.servers = (self._letta.pid,)
            # The set is taken now: a server that starts for the first time writes its own tools into the database.
            super().__init__(self.target)
            self._before = self._things()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        if self._letta:
            self._letta.stop()
        self._stub.__exit__(*exc)

    def steps(self):
        """As of any agent, and the file; for that nothing is deleted, since an import makes a new agent anyway."""
        return [*super().steps(), ("file", self.file, None)]

    def file(self):
        """Export the agent and import it as a new one."""
        began = time.perf_counter()
        text = json.dumps(self._letta.api("GET", "/v1/agents/%s/export" % self.ids["agent"])).encode()
        exported = time.perf_counter() - began
        made = self._letta.api("POST", "/v1/agents/import", FileUpload("agent.af", text, "application/json"), timeout=600)
        imported = time.perf_counter() - began - exported
        (self._copy,) = made["agent_ids"]
        return {"file": exported + imported, "file.export": exported, "file.import": imported}

    def settle(self):
        """Count what an imported agent has, and remove it with all that was made for it."""
        if not self._copy:
            return {}
        arrived = {name: self._query(statement, self._copy) for name, statement in _ARRIVED.items()}
        self._remove(self._copy)
        self._copy = None
        return arrived

    # -- inside -------------------------------------------------------------------------------------------------

    def _query(self, statement, *params):
        return self.target.postgres.execute(statement, self.target.name, params)[0][0]

    def _things(self):
        return {kind: {row[0] for row in self.target.postgres.execute("SELECT id FROM " + table, self.target.name)}
                for kind, table in _MADE.items()}

    def _remove(self, agent):
        # Files of folders are read in after the import has answered: else that would go on while the next way is measured.
        if not places.wait_for(lambda: not self._query(_UNFINISHED), 120, 0.3):
            raise RuntimeError("imported files are not read in: %s" % self._letta.log_tail())
        self._letta.api("DELETE", "/v1/agents/%s" % agent)
        for kind, things in self._things().items():
            for thing in things - self._before[kind]:
                self._letta.api("DELETE", "/v1/%s/%s" % (kind, thing))
