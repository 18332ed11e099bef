"""The turns of an old installation: messages, runs or the jobs they were before 0.12, steps, traces, conversations, a batch."""
from __future__ import annotations

import json

from .old import ORGANISATION, USER, at, make_id
from .old_rows import AGENTS, EMBEDDING, LLM, agent_id, block_text
from .seed import NASTY

# How many turns an agent had; the first ones are no longer in its context.
TURNS = {"support": 4, "helper": 2, "sleeper": 1, "template": 1, "sub": 1}
IN_CONTEXT = 2


def write(writer):
    """Write everything of this module, after :func:`.old_rows.write`."""
    for number, name in enumerate(AGENTS):
        _Story(writer, name, 100 * number).tell()
    _conversation(writer)
    _jobs(writer)
    writer.cursor.execute(
        "UPDATE letta.groups SET last_processed_message_id = %s WHERE manager_type = 'sleeptime'", (make_id("message", "support 3 said"),)
    )


class _Story:
    """The turns of one agent: each is a run of one step with user's words, a tool call, its return and the answer."""

    def __init__(self, writer, name, minutes):
        self.writer, self.name, self.agent, self.minutes = writer, name, agent_id(name), minutes

    def tell(self):
        context = [_system(self.writer, self.name, self.agent, self.minutes)]
        for turn in range(TURNS[self.name]):
            ids = self._turn(turn)
            context += ids if turn >= TURNS[self.name] - IN_CONTEXT else []
        self.writer.cursor.execute("UPDATE letta.agents SET message_ids = %s WHERE id = %s", (json.dumps(context), self.agent))

    def _turn(self, turn):
        key = "%s %d" % (self.name, turn)
        run, moment = self._run(key, turn), at(self.minutes + 2 + turn)
        step = self._step(key, run, moment)
        words = list(NASTY.values())[turn % len(NASTY)][:2000]
        common = {"step_id": step, "run_id": run, "created_at": moment, "model": LLM["model"]}
        user = json.dumps({"type": "user_message", "message": words, "time": moment.isoformat()}, ensure_ascii=False)
        ids = [_message(self.writer, self.agent, key + " asked", "user", user, **{**common, "model": None})]
        for part, (tool, arguments) in enumerate((("add_numbers", {"first": 2, "second": 40}), ("send_message", {"message": "It is 42."}))):
            ids += self._call(key, part, tool, arguments, common)
        ids.append(_message(self.writer, self.agent, key + " said", "assistant", "Anything else, Ann?", name=None, **common))
        for message in ids:
            self.writer.put("job_messages", job_id=run, message_id=message)
        return ids

    def _call(self, key, part, tool, arguments, common):
        """Write a tool call and its return; returns their ids."""
        call = "call_%s" % make_id("", "%s %d" % (key, part))[1:13]
        calls = [{"id": call, "type": "function", "function": {"name": tool, "arguments": json.dumps(arguments)}}]
        returned = {"status": "success", "stdout": None, "stderr": None}
        if self.writer.release >= (0, 13):
            returned.update(tool_call_id=call, func_response="42")
        text = json.dumps({"status": "OK", "message": "42", "time": common["created_at"].isoformat()})
        return [
            _message(self.writer, self.agent, "%s calls %d" % (key, part), "assistant", "I call %s." % tool, tool_calls=calls, **common),
            _message(self.writer, self.agent, "%s returns %d" % (key, part), "tool", text, name=tool, tool_call_id=call,
                     tool_returns=[returned], **common),
        ]

    def _run(self, key, turn):
        """Write a run, or before 0.12 the job that a run was; returns its id. The sub-agent's never ended."""
        run, moment = make_id("run", key), at(self.minutes + 2 + turn)
        ended = self.name != "sub"
        row = {"id": run, "status": "completed" if ended else "running", "created_at": moment, "total_duration_ns": 1200000000,
               "completed_at": moment.replace(tzinfo=None) if ended else None, "ttft_ns": 300000000,
               "request_config": {"use_assistant_message": True, "assistant_message_tool_name": "send_message",
                                  "assistant_message_tool_kwarg": "message", "include_return_message_types": None}}
        stop = "end_turn" if ended else None
        if not self.writer.has("runs"):
            row["metadata_"] = {"job_type": "send_message_async", "agent_id": self.agent}
            self.writer.put("jobs", user_id=USER, job_type="run", **row)
            return run
        self.writer.put("runs", agent_id=self.agent, background=False, stop_reason=stop, metadata_={"run_type": "send_message"}, **row)
        self.writer.put("run_metrics", id=run, agent_id=self.agent, run_start_ns=int(moment.timestamp() * 10**9), run_ns=1200000000,
                        num_steps=1, tools_used=[make_id("tool", "add_numbers")], created_at=moment)
        return run

    def _step(self, key, run, moment):
        step, ended = make_id("step", key), self.name != "sub"
        link = {"job_id": run, "run_id": run}
        self.writer.put("steps", id=step, origin=None, provider_id=None, provider_name="openai", provider_category="base",
                        model=LLM["model"], model_endpoint=LLM["model_endpoint"], context_window_limit=32000, prompt_tokens=100,
                        completion_tokens=20, total_tokens=120, tags=[], agent_id=self.agent, trace_id="trace-%s" % key,
                        completion_tokens_details={"reasoning_tokens": 0}, prompt_tokens_details=None, request_id=None,
                        stop_reason="end_turn" if ended else None, status="SUCCESS" if ended else "PENDING", created_at=moment, **link)
        self.writer.put("step_metrics", id=step, agent_id=self.agent, llm_request_ns=900000000, tool_execution_ns=1000000,
                        step_ns=1000000000, step_start_ns=1, llm_request_start_ns=2, created_at=moment, **link)
        told = {"agent_id": self.agent, "agent_tags": AGENTS[self.name][2], "call_type": "agent_step", "run_id": run,
                "source": "memgpt_agent", "org_id": ORGANISATION, "user_id": USER}
        told = told if self.writer.has("provider_trace_metadata") else {}
        trace = {"id": make_id("provider_trace", key), "step_id": step, "created_at": moment, **told}
        request = {"model": LLM["model"], "messages": [{"role": "user", "content": NASTY["unicode"]}]}
        self.writer.put("provider_traces", request_json=request, response_json={"id": key, "usage": {"total_tokens": 120}}, **trace)
        self.writer.put("provider_trace_metadata", **trace)
        return step


def _system(writer, name, agent, minutes, key=None, **more):
    """Write an agent's system message, with the blocks compiled into it; returns its id."""
    blocks = "\n".join("<%s>\n%s\n</%s>" % (label, block_text(name, label), label) for label in AGENTS[name][3])
    text = "You are %s.\n<memory_blocks>\n%s\n</memory_blocks>" % (name, blocks)
    return _message(writer, agent, key or name + " system", "system", text, created_at=at(minutes + 1), **more)


def _message(writer, agent, key, role, text, **more):
    message = make_id("message", key)
    more = {"tool_calls": [], "tool_returns": [], "approvals": [], "otid": make_id("", "otid %s" % key)[1:], **more}
    writer.put("messages", id=message, agent_id=agent, role=role, content=[{"type": "text", "text": text}], text=None, **more)
    return message


def _conversation(writer):
    """A conversation beside the agent's own context, with a block of its own; from 0.16.2 on."""
    if not writer.has("conversations"):
        return
    conversation, agent = make_id("conv", "first"), agent_id("helper")
    writer.put("conversations", id=conversation, agent_id=agent, summary=NASTY["quotes"], created_at=at(600))
    link = {"conversation_id": conversation}
    ids = [_system(writer, "helper", agent, 600, "conv system", **link)]
    ids.append(_message(writer, agent, "conv asked", "user", NASTY["rtl"], created_at=at(602), **link))
    ids.append(_message(writer, agent, "conv said", "assistant", "Hello.", created_at=at(603), model=LLM["model"], **link))
    for position, message in enumerate(ids):
        writer.put("conversation_messages", id=make_id("conv_msg", position), agent_id=agent, message_id=message, position=position,
                   in_context=True, created_at=at(601 + position), **link)
    isolated = make_id("block", "isolated")
    writer.put("block", id=isolated, label="human", value=block_text("helper", "human"), limit=5000, is_template=False, version=1,
               read_only=False, preserve_on_migration=False, metadata_={})
    writer.put("blocks_conversations", conversation_id=conversation, block_id=isolated, block_label="human")


def _jobs(writer):
    """What is a job in every release: an upload, a batch; and a run from before 0.12 that its upgrade left among the jobs."""
    done = at(50).replace(tzinfo=None)
    writer.put("jobs", id=make_id("job", "upload"), user_id=USER, job_type="job", status="completed", completed_at=done, created_at=at(49),
               metadata_={"source_id": make_id("source", "handbook"), "filename": "guide.md", "embedding": EMBEDDING["handle"]})
    batch = make_id("job", "batch")
    writer.put("jobs", id=batch, user_id=USER, job_type="batch", status="completed", completed_at=done, created_at=at(48),
               metadata_={"job_type": "batch_messages"})
    llm_batch = make_id("batch_req", "batch")
    writer.put("llm_batch_job", id=llm_batch, status="completed", llm_provider="anthropic", letta_batch_job_id=batch, last_polled_at=at(50),
               create_batch_response={"id": "msgbatch_invented", "processing_status": "in_progress"},
               latest_polling_response={"id": "msgbatch_invented", "processing_status": "ended"})
    writer.put("llm_batch_items", id=make_id("batch_item", "batch"), llm_batch_id=llm_batch, agent_id=agent_id("helper"), llm_config=LLM,
               request_status="completed", step_status="completed", batch_request_result={"custom_id": agent_id("helper")},
               step_state={"step_number": 0, "tool_rules_solver": {"tool_rules": [], "tool_call_history": []}})
    if writer.has("runs"):
        writer.put("jobs", id=make_id("run", "before 0.12"), user_id=USER, job_type="run", status="completed", completed_at=done,
                   created_at=at(10), metadata_={"job_type": "send_message_async", "agent_id": agent_id("support")})
