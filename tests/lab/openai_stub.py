"""A FAKE of an OpenAI-compatible model service: no real model can be had in tests.

It exists so that a *real* Letta can take real turns: chat completions (plain, streamed, with tool calls)
and embeddings, all deterministic. Directives in the latest user message steer it:

``[[call:tool {"json": 1}]]``  call that tool; several directives are called one after the other, one per step
``[[slow:2]]``                 answer after 2 seconds
``[[hang]]``                   do not answer until :meth:`OpenAIStub.release` (embeddings, too)
``[[fail]]`` ``[[fail:503]]``  answer with that HTTP status (500)

Without a directive it echoes a digest of what it was told.
"""
from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import places

CHAT_MODEL = "gpt-4o-mini"
EMBEDDING_MODEL = "text-embedding-3-small"
EMBEDDING_DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-ada-002": 1536}
FAKE = "fake-model-of-the-lab"
# Letta stores the model's URL in every agent. A port of today would be useless in a backup of tomorrow, so agents
# get this one and the server is started with the fake as its HTTP proxy.
BASE_URL = "http://fake-model.invalid/v1"
# Tools that end a turn, in the order in which the fake prefers them when it must call one.
CLOSING_TOOLS = ("send_message", "memory_finish_edits", "finish_rethinking_memory")


class OpenAIStub:
    """The running fake; a context manager. ``proxy`` is its address, ``hanging`` counts requests held back."""

    def __init__(self, port=0):
        self._server = ThreadingHTTPServer((places.LOOPBACK, port), _Handler)
        self._server.daemon_threads = True
        self._server.stub = self
        self._released = threading.Event()
        self._lock = threading.Lock()
        self.hanging = 0
        self.chat_requests = 0

    @property
    def proxy(self):
        """Where it listens: as an HTTP proxy for :data:`BASE_URL`, or asked directly below ``/v1``."""
        return "http://%s:%d" % self._server.server_address[:2]

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, name="openai-stub", daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def release(self):
        """Let every held request go on."""
        self._released.set()

    def hold(self):
        """Block the calling request thread until :meth:`release`."""
        with self._lock:
            self.hanging += 1
        self._released.wait(3600)
        with self._lock:
            self.hanging -= 1


def embedding(text, dimensions=1536):
    """Return a unit vector made of the text's words: texts that share words are near; mostly zeros, so it packs well."""
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()) or ["empty"]:
        digest = hashlib.sha256(word.encode()).digest()
        vector[int.from_bytes(digest[:4], "big") % dimensions] += 1.0 if digest[4] & 1 else -1.0
    length = sum(x * x for x in vector) ** 0.5 or 1.0
    return [x / length for x in vector]


def answer(request):
    """Return the assistant message (content or one tool call) for a chat completion request; pure and deterministic."""
    text = _latest_user_text(request["messages"])
    tools = {tool["function"]["name"]: tool["function"] for tool in request.get("tools") or []}
    calls = [(name, json.loads(args or "{}")) for name, args in _directed_calls(text) if name in tools]
    done = _calls_since_latest_user(request["messages"])
    said = "(%s) %s: %s" % (FAKE, hashlib.sha256(text.encode()).hexdigest()[:8], re.sub(r"\[\[.*\]\]", "", text, flags=re.S)[:200])
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


def _directed_calls(text):
    # A JSON object may hold brackets; the directive ends at the first "]]" that leaves valid JSON behind.
    for match in re.finditer(r"\[\[call:(\w+)\s*", text):
        rest = text[match.end():]
        if rest.startswith("]]"):
            yield match.group(1), ""
            continue
        args, _ = json.JSONDecoder().raw_decode(rest)
        yield match.group(1), json.dumps(args)


def _latest_user_text(messages):
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
    """Build a call, filling required parameters that the directive left out by their type."""
    schema = function.get("parameters") or {}
    args = dict(args)
    for name in schema.get("required") or []:
        if name not in args:
            kind = (schema.get("properties") or {}).get(name, {}).get("type", "string")
            args[name] = {"boolean": True, "integer": 1, "number": 1, "array": [], "object": {}}.get(kind, said)
    digest = hashlib.sha256(json.dumps(request["messages"], sort_keys=True).encode()).hexdigest()
    call = {"id": "call_%s" % digest[:24], "type": "function"}
    call["function"] = {"name": function["name"], "arguments": json.dumps(args, ensure_ascii=False)}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        models = [{"id": name, "object": "model", "owned_by": FAKE, "created": 0} for name in (CHAT_MODEL, *EMBEDDING_DIMENSIONS)]
        self._json(200, {"object": "list", "data": models})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            if self.path.endswith("/embeddings"):
                self._embeddings(request)
            elif self.path.endswith("/chat/completions"):
                self._chat(request)
            else:
                self._json(404, _error("no such path in the fake: %s" % self.path))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the caller was killed while we held its request: that is what [[hang]] is for

    def _obey(self, text):
        """Follow the directives on time and failure; returns True when the request was answered with an error."""
        if "[[hang]]" in text:
            self.server.stub.hold()
        slow = re.search(r"\[\[slow:([\d.]+)\]\]", text)
        if slow:
            time.sleep(float(slow.group(1)))
        fail = re.search(r"\[\[fail(?::(\d+))?\]\]", text)
        if fail:
            self._json(int(fail.group(1) or 500), _error("the fake was told to fail"))
        return bool(fail)

    def _embeddings(self, request):
        inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]
        if self._obey("\n".join(inputs)):
            return
        size = request.get("dimensions") or EMBEDDING_DIMENSIONS.get(request["model"], 1536)
        data = []
        for index, text in enumerate(inputs):
            vector = embedding(text, size)
            if request.get("encoding_format") == "base64":
                vector = base64.b64encode(struct.pack("<%df" % size, *vector)).decode()
            data.append({"object": "embedding", "index": index, "embedding": vector})
        usage = {"prompt_tokens": sum(map(len, inputs)) // 4, "total_tokens": sum(map(len, inputs)) // 4}
        self._json(200, {"object": "list", "model": request["model"], "data": data, "usage": usage})

    def _chat(self, request):
        self.server.stub.chat_requests += 1
        if self._obey(_latest_user_text(request["messages"])):
            return
        message = answer(request)
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        size = len(json.dumps(request["messages"])) // 4
        usage = {"prompt_tokens": size, "completion_tokens": 10, "total_tokens": size + 10}
        head = {"id": "chatcmpl-%s" % FAKE, "created": int(time.time()), "model": request["model"], "system_fingerprint": FAKE}
        if request.get("stream"):
            self._stream(head, message, reason, usage)
        else:
            choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
            self._json(200, {**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    def _stream(self, head, message, reason, usage):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        deltas = [{"role": "assistant", "content": ""}]
        for call in message.get("tool_calls") or []:
            text = call["function"]["arguments"]
            deltas.append({"tool_calls": [{**call, "index": 0, "function": {"name": call["function"]["name"], "arguments": ""}}]})
            deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": text[i:i + 40]}}]} for i in range(0, len(text), 40)]
        text = message.get("content") or ""
        deltas += [{"content": text[i:i + 20]} for i in range(0, len(text), 20)]
        chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        chunks.append({"choices": [], "usage": usage})
        for chunk in chunks:
            self._event(json.dumps({**head, "object": "chat.completion.chunk", **chunk}))
        self._event("[DONE]")

    def _event(self, text):
        self.wfile.write(b"data: %s\n\n" % text.encode())
        self.wfile.flush()

    def _json(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _error(text):
    return {"error": {"message": text, "type": "fake_error", "param": None, "code": None}}
