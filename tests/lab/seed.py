"""Fills a running Letta through its own REST API with what real installations hold, awkward things included."""
from __future__ import annotations

import contextlib
import threading
import time
from http.client import HTTPException

from . import places
from .letta import ApiError, FileUpload
from .openai_stub import CHAT_MODEL, EMBEDDING_MODEL

# Not a secret: it protects invented values of the shipped sample.
SAMPLE_KEY = "sample-key-of-the-lab-not-a-secret"
MODEL = "openai-proxy/%s" % CHAT_MODEL
EMBEDDING = "openai/%s" % EMBEDDING_MODEL

NASTY = {
    "quotes": "it's \"quoted\" `ticked` 'twice'' and $$dollar$$ \\' ; DROP TABLE agents; --",
    "controls": "tab\there\nnew line\r\ncarriage\\n literal \\N \\. backslash\\",
    "copy_end": "first\n\\.\nafter what ends COPY",
    "unicode": "🚀👩‍👩‍👧 naïve ﷽ Ω ≈ e\u0301 vs é \u200bzero-width \u2028line separator",
    "rtl": "שלום עולם \u202eevil\u202c مرحبا بالعالم",
    "jinja": "{{ lookup('pipe', 'touch /tmp/letta-lab-canary') }} {% raw %} {{ undefined_variable }}",
    "shell": "$(touch /tmp/letta-lab-canary) `touch /tmp/letta-lab-canary` && rm -rf / | cat > /tmp/x",
    "null_like": "NULL null \\N \\u0000 None",
    "long": "long line without end " * 800,
}
SECRETS = {"API_TOKEN": "tok-12345-invented", "DB_PASSWORD": "p@ss 'word' \"x\" {{ y }} \n second line 🚀"}

ADD_NUMBERS = '''
def add_numbers(first: int, second: int) -> str:
    """Add two numbers; it's "quoted" and holds {{ jinja }} and $(shell).

    Args:
        first (int): the first number
        second (int): the second number
    """
    return "sum: %d \\\\ 'done'" % (first + second)
'''
LOOK_UP = '''
import os


def look_up_order(order: str) -> str:
    """Look up an order.

    Args:
        order (str): the order's number
    """
    return "order %s seen with token of %d characters" % (order, len(os.getenv("API_TOKEN", "")))
'''
WIPE = '''
def wipe_records(name: str) -> str:
    """Wipe records; needs approval.

    Args:
        name (str): what to wipe
    """
    return "wiped " + name
'''


class Seeder:
    """Makes everything against one server; ``made`` collects the ids by kind and our own key."""

    def __init__(self, letta, stub):
        self.letta = letta
        self.stub = stub
        self.made = {kind: {} for kind in ("agents", "blocks", "tools", "identities", "folders", "files", "archives",
                                           "conversations", "groups", "runs")}

    def everything(self):
        """Make all of it except work in flight; returns ``made``."""
        for step in (self.tools, self.blocks, self.folders, self.archives, self.agents, self.identities, self.groups,
                     self.turns, self.conversations, self.detached_folder):
            step()
        return self.made

    # -- things ------------------------------------------------------------------------------------------

    def tools(self):
        sources = (("add_numbers", ADD_NUMBERS, None), ("look_up_order", LOOK_UP, None), ("wipe_records", WIPE, True))
        for name, source, approval in sources:
            body = {"source_code": source, "source_type": "python", "tags": ["lab", "it's"], "default_requires_approval": approval}
            self._make("tools", name, "/v1/tools/", body)

    def blocks(self):
        self._make("blocks", "company", "/v1/blocks/", {"label": "company", "value": NASTY["quotes"], "tags": ["shared", "o'clock"]})
        self._make("blocks", "policy", "/v1/blocks/", {"label": "policy", "value": NASTY["jinja"], "read_only": True, "limit": 9000})
        self._make("blocks", "team", "/v1/blocks/", {"label": "team", "value": NASTY["copy_end"]})
        self._make("blocks", "unattached", "/v1/blocks/", {"label": "notes", "value": NASTY["controls"], "metadata": {"k": NASTY["rtl"]}})

    def folders(self):
        for key, name in (("handbook", "Hand'book of 支持 {{ x }}"), ("spare", "spare \"folder\" $(x)"), ("empty", "empty folder")):
            body = {"name": name, "embedding": EMBEDDING, "description": NASTY["shell"], "metadata": {"nasty": NASTY["quotes"]}}
            self._make("folders", key, "/v1/folders/", body)
        self._upload("handbook", "guide", "guide 🚀.md", "# Guide\n\n%s\n\nRefunds take five days.\n" % "\n\n".join(NASTY.values())[:4000])
        self._upload("handbook", "hours", "hours.txt", "We are open from nine to five.\n%s\n" % NASTY["copy_end"])
        self._upload("spare", "spare", "spare.txt", "A file of the spare folder. %s" % NASTY["rtl"])

    def archives(self):
        body = {"name": "shared it's", "embedding": EMBEDDING, "description": NASTY["rtl"]}
        archive = self._make("archives", "shared", "/v1/archives/", body)
        for key, text in NASTY.items():
            body = {"text": text[:2000], "tags": ["nasty", key, "it's {{ tag }}"], "metadata": {"key": key, "text": NASTY["quotes"]}}
            self.letta.api("POST", "/v1/archives/%s/passages" % archive, body)

    def agents(self):
        tool, block = self.made["tools"], self.made["blocks"]
        self._agent("support", "letta_v1_agent", name="Support O'Neil 支持", secrets=SECRETS, tags=["support", "it's", "{{ tag }}"],
                    tool_ids=list(tool.values()), tools=["archival_memory_insert", "archival_memory_search"],
                    block_ids=[block["company"], block["policy"]], folder_ids=[self.made["folders"]["handbook"]],
                    memory_blocks=[{"label": "human", "value": NASTY["unicode"]}, {"label": "persona", "value": NASTY["shell"]}],
                    tool_rules=[{"type": "constrain_child_tools", "tool_name": "look_up_order", "children": ["add_numbers"]},
                                {"type": "max_count_per_step", "tool_name": "add_numbers", "max_count_limit": 3}],
                    description=NASTY["quotes"], metadata={"nasty": NASTY, "number": 1.5, "nothing": None}, timezone="Europe/Berlin")
        self._agent("memgpt", "memgpt_agent", block_ids=[block["company"]], memory_blocks=[{"label": "human", "value": NASTY["rtl"]}])
        self._agent("memgpt v2", "memgpt_v2_agent", memory_blocks=[{"label": "human", "value": NASTY["null_like"]}],
                    secrets={"API_TOKEN": "b"})
        self._agent("react", "react_agent", tools=["send_message"], tool_ids=[tool["add_numbers"]])
        self._agent("workflow", "workflow_agent", tool_ids=[tool["add_numbers"]], block_ids=[block["company"]],
                    tool_rules=[{"type": "run_first", "tool_name": "add_numbers"}, {"type": "exit_loop", "tool_name": "add_numbers"}])
        self._agent("sleeper", "letta_v1_agent", enable_sleeptime=True, memory_blocks=[{"label": "human", "value": "sleeps"}])
        self._agent("careful", "letta_v1_agent", tool_ids=[tool["wipe_records"]])
        self._agent("streamed", "letta_v1_agent")
        self._agent("busy", "letta_v1_agent", folder_ids=[self.made["folders"]["handbook"]])
        for key in ("support", "memgpt"):
            path = "/v1/agents/%s/archives/attach/%s" % (self.made["agents"][key], self.made["archives"]["shared"])
            self.letta.api("PATCH", path)

    def identities(self):
        agents = self.made["agents"]
        for key, kind, who in (("ann", "user", ["support", "memgpt"]), ("org", "org", ["support"]), ("loose", "other", [])):
            note = {"key": "note", "value": NASTY["quotes"], "type": "string"}
            body = {"identifier_key": "%s@example.org'" % key, "name": "%s %s" % (key, NASTY["rtl"]), "identity_type": kind,
                    "agent_ids": [agents[name] for name in who],
                    "properties": [note, {"key": "n", "value": 3, "type": "number"}]}
            self._make("identities", key, "/v1/identities/", body)

    def groups(self):
        agents = self.made["agents"]
        pair = [agents["memgpt"], agents["memgpt v2"]]
        managers = {
            "round robin": {"manager_type": "round_robin", "max_turns": 2},
            "supervised": {"manager_type": "supervisor", "manager_agent_id": agents["react"]},
            "dynamic": {"manager_type": "dynamic", "manager_agent_id": agents["workflow"], "termination_token": "DONE'!"},
        }
        for key, manager in managers.items():
            body = {"agent_ids": pair, "description": NASTY["jinja"], "manager_config": manager}
            # Letta attaches the shared blocks to the group's agents, too: one group per block.
            body["shared_block_ids"] = [self.made["blocks"]["team"]] if key == "round robin" else []
            self._make("groups", key, "/v1/groups/", body)
        sleeper = self.letta.api("GET", "/v1/agents/%s" % agents["sleeper"])["managed_group"]
        self.made["groups"]["sleeptime"] = sleeper["id"]
        self.made["agents"]["sleeper's partner"] = sleeper["agent_ids"][0]
        body = {"manager_config": {"manager_type": "sleeptime", "manager_agent_id": agents["sleeper"], "sleeptime_agent_frequency": 2}}
        self.letta.api("PATCH", "/v1/groups/%s" % sleeper["id"], body)

    def turns(self):
        agents, say = self.made["agents"], self.letta.say
        for text in NASTY.values():
            say(agents["support"], text)
        say(agents["support"], 'Order 7? [[call:look_up_order {"order": "7\'; \\"x\\""}]] [[call:add_numbers {"first": 2, "second": 40}]]')
        say(agents["support"], 'Remember: [[call:archival_memory_insert {"content": "Ann likes [[brackets]]", "tags": ["ann"]}]]')
        say(agents["support"], 'Find: [[call:archival_memory_search {"query": "Ann"}]] [[call:conversation_search {"query": "order"}]]')
        for key in ("memgpt", "memgpt v2", "react", "workflow"):
            say(agents[key], "Hello %s, %s" % (key, NASTY["unicode"]))
        say(agents["memgpt"], '[[call:core_memory_append {"label": "human", "content": "likes %s"}]]' % "tea")
        say(agents["react"], '[[call:add_numbers {"first": 1, "second": 2}]] and tell me')
        for number in range(4):
            say(agents["sleeper"], "Message %d to the sleeper" % number)
        try:
            say(agents["memgpt v2"], "This turn fails. [[fail:400]]")
        except ApiError as exc:
            self.made["failed_turn_status"] = exc.status
        self._wait_for_runs()
        say(agents["careful"], 'Wipe them: [[call:wipe_records {"name": "all"}]]')

    def conversations(self):
        agent = self.made["agents"]["support"]
        for key, body in (("first", {"summary": NASTY["quotes"]}), ("isolated", {"isolated_block_labels": ["human"]}), ("deleted", {})):
            self._make("conversations", key, "/v1/conversations/?agent_id=%s" % agent, body)
            for text in ("First words of %s" % key, NASTY["controls"]):
                self.letta.api("POST", "/v1/conversations/%s/messages" % self.made["conversations"][key],
                               {"messages": [{"role": "user", "content": text}], "streaming": False})
        self.letta.api("DELETE", "/v1/conversations/%s" % self.made["conversations"].pop("deleted"))

    def detached_folder(self):
        """Attach and detach a folder: rows of its files stay, marked as deleted."""
        for verb in ("attach", "detach"):
            self.letta.api("PATCH", "/v1/agents/%s/folders/%s/%s" % (self.made["agents"]["memgpt"], verb, self.made["folders"]["spare"]))

    # -- work in flight ------------------------------------------------------------------------------------

    def in_flight(self):
        """Leave a background run, a streamed run and a file upload hanging in the fake model service.

        Kill the server afterwards to interrupt them.
        """
        before = self.stub.hanging
        run = self.letta.api("POST", "/v1/agents/%s/messages/async" % self.made["agents"]["busy"],
                             {"messages": [{"role": "user", "content": "Never answered [[hang]]"}]})
        self.made["runs"]["hanging"] = run["id"]
        if not places.wait_for(lambda: self.stub.hanging == before + 1, 30):
            raise RuntimeError("the run did not reach the model service: %s" % self.letta.log_tail())
        threading.Thread(target=self._stream, args=("streamed", "Never streamed [[hang]]"), daemon=True).start()
        if not places.wait_for(lambda: self.stub.hanging == before + 2, 30):
            raise RuntimeError("the stream did not reach the model service: %s" % self.letta.log_tail())
        self._upload("handbook", "hanging", "hanging.txt", "Never embedded [[hang]]", wait=False)
        if not places.wait_for(lambda: self.stub.hanging == before + 3, 30):
            raise RuntimeError("the upload did not reach the model service: %s" % self.letta.log_tail())

    def _stream(self, agent, text):
        """Ask for a streamed answer and read until the connection breaks, which it does when the server is killed."""
        body = {"messages": [{"role": "user", "content": text}], "streaming": True, "background": True}
        with contextlib.suppress(OSError, HTTPException):
            self.letta.api("POST", "/v1/agents/%s/messages/stream" % self.made["agents"][agent], body, timeout=600)

    # -- helpers -------------------------------------------------------------------------------------------

    def _make(self, kind, key, path, body):
        self.made[kind][key] = self.letta.api("POST", path, body)["id"]
        return self.made[kind][key]

    def _agent(self, key, agent_type, **options):
        body = {"name": key, "agent_type": agent_type, "model": MODEL, "embedding": EMBEDDING, **options}
        return self._make("agents", key, "/v1/agents/", body)

    def _upload(self, folder, key, name, text, wait=True):
        path = "/v1/folders/%s/upload" % self.made["folders"][folder]
        self.made["files"][key] = self.letta.api("POST", path, FileUpload(name, text.encode()))["id"]
        if wait and not places.wait_for(lambda: self._file_status(folder, key) in ("completed", "error"), 60, 0.3):
            raise RuntimeError("file %s is still %s" % (name, self._file_status(folder, key)))
        if wait and self._file_status(folder, key) != "completed":
            raise RuntimeError("file %s failed: %s" % (name, self.letta.log_tail()))

    def _file_status(self, folder, key):
        files = self.letta.api("GET", "/v1/folders/%s/files" % self.made["folders"][folder])
        return next(file["processing_status"] for file in files if file["id"] == self.made["files"][key])

    def _wait_for_runs(self, timeout=60):
        """Wait until the background runs of sleeptime agents are over."""
        deadline = time.monotonic() + timeout
        while self.letta.api("GET", "/v1/runs/?statuses=created&statuses=running"):
            if time.monotonic() > deadline:
                raise RuntimeError("background runs are still open after %d s" % timeout)
            time.sleep(0.5)
