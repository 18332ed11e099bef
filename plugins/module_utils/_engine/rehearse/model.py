# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A FAKE of an OpenAI-compatible model service, for rehearsals: restored agents take real turns of a real Letta, and nobody is called.

Chat completions (plain, streamed, with tool calls) and embeddings, all deterministic, all without meaning. A program of its own:
``python model.py 127.0.0.1 8399``; it imports nothing but the standard library.
"""
from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHAT_MODEL = "gpt-4o-mini"
EMBEDDING_MODEL = "text-embedding-3-small"
EMBEDDING_DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-ada-002": 1536}
FAKE = "fake-model-of-letta-ops"
# Tools that end a turn, in the order in which the fake prefers them when it must call one.
CLOSING_TOOLS = ("send_message", "memory_finish_edits", "finish_rethinking_memory")


def embedding(text, dimensions=1536):
    """Return a unit vector made of the text's words: texts that share words are near; mostly zeros, so it packs well."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()) or ["empty"]:
        digest = hashlib.sha256(word.encode()).digest()
        vector[int.from_bytes(digest[:4], "big") % dimensions] += 1.0 if digest[4] & 1 else -1.0
    length = sum(x * x for x in vector) ** 0.5 or 1.0
    return [x / length for x in vector]


def answer(request, calls=(), said=""):
    """Return the assistant message (content or one tool call) for a chat completion request; pure and deterministic.

    :param calls: (tool, arguments) to be called one after the other, one per step, before anything is said.
    :param said: what to say; empty for a digest of what it was told.
    """
    tools = {tool["function"]["name"]: tool["function"] for tool in request.get("tools") or []}
    calls = [(name, args) for name, args in calls if name in tools]
    done = _calls_since_latest_user(request["messages"])
    said = said or "(%s) %s" % (FAKE, hashlib.sha256(latest_user_text(request["messages"]).encode()).hexdigest()[:8])
    forced = request.get("tool_choice")
    if isinstance(forced, dict):
        name = forced["function"]["name"]
        return _tool_call(request, tools[name], dict(calls).get(name, {}), said)
    if done < len(calls):
        name, args = calls[done]
        return _tool_call(request, tools[name], args, said)
    if tools and forced == "required":
        closing = next((name for name in CLOSING_TOOLS if name in tools), sorted(tools)[0])
        return _tool_call(request, tools[closing], {}, said)
    return {"role": "assistant", "content": said}


def latest_user_text(messages):
    """Return what the user said last, out of the JSON that Letta packs it into."""
    for message in reversed(messages):
        if message["role"] == "user":
            text = _text(message["content"])
            try:
                packed = json.loads(text)
            except ValueError:
                return text
            if not isinstance(packed, dict) or "type" not in packed:
                return text
            if packed["type"] not in ("heartbeat", "login", "system_alert"):
                return str(packed.get("message", text))
    return ""


def _calls_since_latest_user(messages):
    """Count the tool calls of this turn: heartbeats are user messages, too, and do not begin a new one."""
    count = 0
    for message in reversed(messages):
        if message["role"] == "assistant":
            count += len(message.get("tool_calls") or [])
        elif message["role"] == "user" and '"type": "heartbeat"' not in _text(message["content"]):
            break
    return count


def _text(content):
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def _tool_call(request, function, args, said):
    """Build a call, filling required parameters that were left out by their type."""
    schema = function.get("parameters") or {}
    args = dict(args)
    for name in schema.get("required") or []:
        if name not in args:
            kind = (schema.get("properties") or {}).get(name, {}).get("type", "string")
            args[name] = {"boolean": True, "integer": 1, "number": 1, "array": [], "object": {}}.get(kind, said)
    digest = hashlib.sha256(json.dumps(request["messages"], sort_keys=True).encode()).hexdigest()
    named = {"name": function["name"], "arguments": json.dumps(args, ensure_ascii=False)}
    call = {"id": "call_%s" % digest[:24], "type": "function", "function": named}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


class Handler(BaseHTTPRequestHandler):
    """One request; subclasses override :meth:`obey` and :meth:`reply`."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Say nothing: what agents are told is nobody's business."""

    def obey(self, _request, _text):
        """Do what was asked for before answering; True when the request was answered."""
        return False

    def reply(self, request):
        """Return the message that answers a chat completion request."""
        return answer(request)

    def do_GET(self):
        """List the models."""
        models = [{"id": name, "object": "model", "owned_by": FAKE, "created": 0} for name in (CHAT_MODEL, *EMBEDDING_DIMENSIONS)]
        self.json(200, {"object": "list", "data": models})

    def do_POST(self):
        """Answer a chat completion or an embedding."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            if self.path.endswith("/embeddings"):
                self._embeddings(request)
            elif self.path.endswith("/chat/completions"):
                self._chat(request)
            else:
                self.json(404, error("no such path in the fake: %s" % self.path))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the caller was killed meanwhile

    def _embeddings(self, request):
        inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]
        if self.obey(request, "\n".join(inputs)):
            return
        size = request.get("dimensions") or EMBEDDING_DIMENSIONS.get(request["model"], 1536)
        data = []
        for index, text in enumerate(inputs):
            vector = embedding(text, size)
            if request.get("encoding_format") == "base64":
                vector = base64.b64encode(struct.pack("<%df" % size, *vector)).decode()
            data.append({"object": "embedding", "index": index, "embedding": vector})
        usage = {"prompt_tokens": sum(map(len, inputs)) // 4, "total_tokens": sum(map(len, inputs)) // 4}
        self.json(200, {"object": "list", "model": request["model"], "data": data, "usage": usage})

    def _chat(self, request):
        if self.obey(request, latest_user_text(request["messages"])):
            return
        message = self.reply(request)
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        size = len(json.dumps(request["messages"])) // 4
        usage = {"prompt_tokens": size, "completion_tokens": 10, "total_tokens": size + 10}
        head = {"id": "chatcmpl-%s" % FAKE, "created": int(time.time()), "model": request["model"], "system_fingerprint": FAKE}
        if request.get("stream"):
            self._stream(head, message, reason, usage)
        else:
            choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
            self.json(200, {**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    def _stream(self, head, message, reason, usage):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        deltas: list[dict] = [{"role": "assistant", "content": ""}]
        for call in message.get("tool_calls") or []:
            text = call["function"]["arguments"]
            deltas.append({"tool_calls": [{**call, "index": 0, "function": {"name": call["function"]["name"], "arguments": ""}}]})
            deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": text[i : i + 40]}}]} for i in range(0, len(text), 40)]
        text = message.get("content") or ""
        deltas += [{"content": text[i : i + 20]} for i in range(0, len(text), 20)]
        chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        chunks.append({"choices": [], "usage": usage})
        for chunk in chunks:
            self._event(json.dumps({**head, "object": "chat.completion.chunk", **chunk}))
        self._event("[DONE]")

    def _event(self, text):
        self.wfile.write(b"data: %s\n\n" % text.encode())
        self.wfile.flush()

    def json(self, status, body):
        """Send an answer."""
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def error(text):
    """Return the body of an error as OpenAI writes it."""
    return {"error": {"message": text, "type": "fake_error", "param": None, "code": None}}


if __name__ == "__main__":
    service = ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler)
    service.daemon_threads = True
    service.serve_forever()
