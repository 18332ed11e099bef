"""A FAKE of an OpenAI-compatible model service that can be steered: no real model can be had in tests.

It exists so that a *real* Letta can take real turns; the answers are those of rehearsals (``_engine/rehearse/model.py``).
Directives in the latest user message steer it:

``[[call:tool {"json": 1}]]``  call that tool; several directives are called one after the other, one per step
``[[hang:tool]]``              the same, only for requests that offer this tool (that of a sleeptime partner, say)
``[[slow:2]]``                 answer after 2 seconds
``[[hang]]``                   do not answer until :meth:`OpenAIStub.release` (embeddings, too)
``[[fail]]`` ``[[fail:503]]``  answer with that HTTP status (500)

Without a directive it echoes what it was told, with a digest. ``python openai_stub.py ADDRESS PORT`` runs it alone.
"""
from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import time
from http.server import ThreadingHTTPServer

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse import model

CHAT_MODEL, EMBEDDING_MODEL = model.CHAT_MODEL, model.EMBEDDING_MODEL
FAKE = "fake-model-of-the-lab"
# Letta stores the model's URL in every agent. A port of today would be useless in a backup of tomorrow, so agents
# get this one and the server is started with the fake as its HTTP proxy.
BASE_URL = "http://fake-model.invalid/v1"


class OpenAIStub:
    """The running fake; a context manager. ``proxy`` is its address, ``hanging`` counts requests held back, as ``GET /hanging`` does."""

    def __init__(self, port=0, host="127.0.0.1"):
        self._server = ThreadingHTTPServer((host, port), _Handler)
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


def answer(request):
    """Return the assistant message (content or one tool call) for a chat completion request; pure and deterministic."""
    text = model.latest_user_text(request["messages"])
    said = "(%s) %s: %s" % (FAKE, hashlib.sha256(text.encode()).hexdigest()[:8], re.sub(r"\[\[.*\]\]", "", text, flags=re.S)[:200])
    return model.answer(request, [(name, json.loads(args or "{}")) for name, args in _directed_calls(text)], said)


def _directed_calls(text):
    # A JSON object may hold brackets; the directive ends at the first "]]" that leaves valid JSON behind.
    for match in re.finditer(r"\[\[call:(\w+)\s*", text):
        rest = text[match.end():]
        if rest.startswith("]]"):
            yield match.group(1), ""
            continue
        args, _ = json.JSONDecoder().raw_decode(rest)
        yield match.group(1), json.dumps(args)


class _Handler(model.Handler):
    def do_GET(self):
        if self.path == "/hanging":
            self.json(200, {"hanging": self.server.stub.hanging})
        else:
            super().do_GET()

    def obey(self, request, text):
        """Follow the directives on time and failure; returns True when the request was answered with an error."""
        if "messages" in request:
            self.server.stub.chat_requests += 1
        for tool in request.get("tools") or []:
            text = text.replace("[[hang:%s]]" % tool["function"]["name"], "[[hang]]")
        if "[[hang]]" in text:
            self.server.stub.hold()
        slow = re.search(r"\[\[slow:([\d.]+)\]\]", text)
        if slow:
            time.sleep(float(slow.group(1)))
        fail = re.search(r"\[\[fail(?::(\d+))?\]\]", text)
        if fail:
            self.json(int(fail.group(1) or 500), model.error("the fake was told to fail"))
        return bool(fail)

    def reply(self, request):
        return answer(request)


if __name__ == "__main__":
    with OpenAIStub(int(sys.argv[2]), sys.argv[1]):
        threading.Event().wait()
