"""Fills a running Letta with one agent that has everything, its neighbours, and agents that only make traffic."""
from __future__ import annotations

from .seed import ADD_NUMBERS, EMBEDDING, LOOK_UP, NASTY, SECRETS, Seeder

# Letta refuses such a name at creation, and takes it from a change.
ODD_NAME = "it's \"odd\" {{ name }} {% raw %} $(touch /tmp/letta-lab-canary)\nsecond line \\ 🚀 支持"
NEIGHBOURS = ("alfa", "bravo", "charlie")
WALKERS = tuple("walker %d" % number for number in range(5))
AFTER = "written after the backup"
_PLAIN = "letta_v1_agent"


class RichSeeder(Seeder):
    """``everything()`` makes it and returns ``made``: {kind: {our key: id}}, see the keys below.

    agents: "support-bot" (custom and base tools, tool rules, secrets, tags, five blocks, conversations, archive, folder, identities,
    runs); "alfa", "bravo", "charlie" (share its block "company" and its folder; alfa and bravo share the archive "shared");
    "sleeper" and "sleeper's partner"; "boss" (manages the supervisor group of "worker one" and "worker two"); "odd" (named
    ``ODD_NAME``); "walker 0" … (for traffic: block, archive, folder, conversation of their own, only custom tools shared).
    """

    def everything(self):
        steps = (self.tools, self.blocks, self.folders, self.archives, self.agents, self.identities, self.turns, self.conversations,
                 self.groups)
        for step in steps:
            step()
        return self.made

    def tools(self):
        for name, source in (("add_numbers", ADD_NUMBERS), ("look_up_order", LOOK_UP)):
            self._make("tools", name, "/v1/tools/", {"source_code": source, "source_type": "python", "tags": ["lab"]})

    def blocks(self):
        self._make("blocks", "company", "/v1/blocks/", {"label": "company", "value": NASTY["quotes"], "tags": ["shared", "o'clock"]})
        self._make("blocks", "policy", "/v1/blocks/", {"label": "policy", "value": NASTY["jinja"], "read_only": True, "limit": 9000})
        self._make("blocks", "notes", "/v1/blocks/", {"label": "notes", "value": NASTY["copy_end"], "description": NASTY["rtl"]})

    def folders(self):
        for key in ("handbook", "walkers"):
            body = {"name": "%s's {{ folder }} 支持" % key, "embedding": EMBEDDING, "description": NASTY["shell"]}
            self._make("folders", key, "/v1/folders/", body)
        self._upload("handbook", "guide", "guide 🚀.md", "# Guide\n\n%s\n\nRefunds take five days.\n" % "\n\n".join(NASTY.values())[:4000])
        self._upload("handbook", "hours", "hours.txt", "We are open from nine to five.\n%s\n" % NASTY["copy_end"])
        self._upload("walkers", "walkers", "walkers.txt", "A file that walkers open and close.\n")

    def archives(self):
        for key in ("support", "shared", *WALKERS):
            body = {"name": "%s's archive" % key, "embedding": EMBEDDING, "description": NASTY["rtl"]}
            self._make("archives", key, "/v1/archives/", body)
            passages = [{"text": NASTY[name][:2000], "tags": ["nasty", name, "it's {{ tag }}"], "metadata": {"text": NASTY["quotes"]}}
                        for name in (NASTY if key == "support" else ("quotes", "unicode"))]
            self.letta.api("POST", "/v1/archives/%s/passages/batch" % self.made["archives"][key], {"passages": passages})

    def agents(self):
        tool, block, folder = self.made["tools"], self.made["blocks"], self.made["folders"]
        self._agent("support-bot", _PLAIN, secrets=SECRETS, tags=["support", "it's", "{{ tag }}"], tool_ids=list(tool.values()),
                    tools=["archival_memory_insert", "archival_memory_search", "send_message"], block_ids=list(block.values()),
                    folder_ids=[folder["handbook"]], description=NASTY["quotes"], metadata={"nasty": NASTY, "number": 1.5, "nothing": None},
                    memory_blocks=[{"label": "human", "value": NASTY["unicode"]}, {"label": "persona", "value": NASTY["shell"]}],
                    tool_rules=[{"type": "constrain_child_tools", "tool_name": "look_up_order", "children": ["add_numbers"]},
                                {"type": "max_count_per_step", "tool_name": "add_numbers", "max_count_limit": 3}],
                    timezone="Europe/Berlin")
        for name in NEIGHBOURS:
            self._agent(name, _PLAIN, block_ids=[block["company"]], folder_ids=[folder["handbook"]], tags=["support"],
                        memory_blocks=[{"label": "human", "value": "neighbour %s" % name}], secrets={"API_TOKEN": "of %s" % name})
        self._agent("sleeper", _PLAIN, enable_sleeptime=True, memory_blocks=[{"label": "human", "value": "sleeps"}])
        self.made["agents"]["sleeper's partner"] = self._managed("sleeper")["agent_ids"][0]
        for name in ("boss", "worker one", "worker two"):
            self._agent(name, _PLAIN, memory_blocks=[{"label": "human", "value": name}])
        odd = self._agent("odd", _PLAIN, memory_blocks=[{"label": "human", "value": NASTY["null_like"]}])
        self.letta.api("PATCH", "/v1/agents/%s" % odd, {"name": ODD_NAME})
        for name in WALKERS:
            self._agent(name, _PLAIN, memory_blocks=[{"label": "human", "value": name}], folder_ids=[folder["walkers"]])
        for name in ("support-bot", "alfa", "bravo", *WALKERS):
            archive = self.made["archives"]["support" if name == "support-bot" else name if name in WALKERS else "shared"]
            self.letta.api("PATCH", "/v1/agents/%s/archives/attach/%s" % (self.made["agents"][name], archive))
        self.letta.api("PATCH", "/v1/agents/%s/files/%s/close" % (self.made["agents"]["support-bot"], self.made["files"]["hours"]))

    def identities(self):
        agents = self.made["agents"]
        for key, who in (("ann", ["support-bot", "alfa"]), ("own", ["support-bot"])):
            body = {"identifier_key": "%s@example.org'" % key, "name": "%s %s" % (key, NASTY["rtl"]), "identity_type": "user",
                    "agent_ids": [agents[name] for name in who], "properties": [{"key": "n", "value": NASTY["quotes"], "type": "string"}]}
            self._make("identities", key, "/v1/identities/", body)

    def turns(self):
        agents, say = self.made["agents"], self.letta.say
        for name in ("quotes", "copy_end", "jinja"):
            say(agents["support-bot"], NASTY[name])
        # Not a custom tool: its sandbox takes longer than all other turns together.
        say(agents["support-bot"], 'Remember: [[call:archival_memory_insert {"content": "Ann likes [[brackets]]", "tags": ["ann"]}]]')
        for name in (*NEIGHBOURS, "odd", "boss", "worker one", "worker two", *WALKERS):
            say(agents[name], "Hello %s" % name)
        for number in range(2):
            say(agents["sleeper"], "Message %d to the sleeper" % number)
        self._wait_for_runs()

    def conversations(self):
        agents = self.made["agents"]
        wanted = [("plain", "support-bot", {"summary": NASTY["quotes"]}), ("isolated", "support-bot", {"isolated_block_labels": ["human"]})]
        for key, agent, options in wanted + [(name, name, {}) for name in WALKERS]:
            conversation = self._make("conversations", key, "/v1/conversations/?agent_id=%s" % agents[agent], options)
            body = {"messages": [{"role": "user", "content": "First words of %s %s" % (key, NASTY["quotes"])}], "streaming": False}
            self.letta.api("POST", "/v1/conversations/%s/messages" % conversation, body)

    def groups(self):
        agents = self.made["agents"]
        body = {"agent_ids": [agents["worker one"], agents["worker two"]], "description": NASTY["jinja"],
                "manager_config": {"manager_type": "supervisor", "manager_agent_id": agents["boss"]}}
        self._make("groups", "supervised", "/v1/groups/", body)
        self.made["groups"]["sleeptime"] = self._managed("sleeper")["id"]

    def _managed(self, name):
        return self.letta.api("GET", "/v1/agents/%s" % self.made["agents"][name])["managed_group"]


def write_later(letta, agent_id):
    """Let an agent live on after a backup: a turn, a changed block, a passage; returns nothing."""
    path = "/v1/agents/%s" % agent_id
    letta.say(agent_id, AFTER)
    letta.api("PATCH", path + "/core-memory/blocks/human", {"value": AFTER})
    letta.api("POST", path + "/archival-memory", {"text": AFTER})
