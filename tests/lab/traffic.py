"""Constant load on a running Letta: requests of all kinds at a steady rate, each one recorded."""
from __future__ import annotations

import json
import random
import statistics
import threading
import time
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException

from .letta import ApiError

# Kind -> how often among 100 requests. A turn costs Letta about ten times the CPU of a read: 230 ms against 25.
WRITES = {"send": 3, "stream": 2, "insert": 3, "block patch": 4}
READS = {"agent": 20, "messages": 20, "block": 18, "files": 11, "passages": 11, "search": 5, "agents": 3}
TIMEOUT = 30.0


@dataclass(frozen=True)
class Request:
    """One request: when it should have begun and did (seconds since the start), how long it took, what went wrong (None: nothing)."""

    kind: str
    agent: str
    due: float
    start: float
    seconds: float
    error: str | None


class Traffic:
    """``with Traffic(letta, agent_ids) as traffic: ...`` puts load on these agents until the block ends.

    Two threads per agent: one reads, one writes, so that no agent gets two messages at a time (Letta answers the second one
    with 409). Which request comes when follows from ``seed`` alone. A request that is late, since the one before took long,
    is sent at once: the rate is kept as long as Letta can; ``rate_reached()`` and ``lag()`` tell whether it could.

    Measured with Letta 0.16.8 (``pooled``) on two cores that other work kept busy (load 6), five agents, 25 s: 10.1 requests a
    second, none later than 0.5 s, Letta using 0.36 of a core and this process 0.02; medians 0.1 to 0.5 s, turns 1.3 to 2.0 s.

    :param agent_ids: agents with a block "human", an archive and at least one conversation.
    :param rate: requests a second of all agents together. :param mix: {kind: weight}; None: ``WRITES`` and ``READS``.
    """

    def __init__(self, letta, agent_ids, rate=10.0, mix=None, seed=1):
        self.letta, self.agent_ids, self.rate, self.seed = letta, list(agent_ids), rate, seed
        self.mix = dict(mix or {**WRITES, **READS})
        self.requests = []
        self._lock, self._over = threading.Lock(), threading.Event()
        self._threads, self._began, self.seconds = [], None, None

    def __enter__(self):
        talks = {agent: self.letta.api("GET", "/v1/conversations/?agent_id=%s" % agent)[0]["id"] for agent in self.agent_ids}
        self._began = time.monotonic()
        for number, agent in enumerate(self.agent_ids):
            for name, few in (("writes", WRITES), ("reads", READS)):
                kinds = {kind: weight for kind, weight in self.mix.items() if kind in few}
                if kinds:
                    walk = threading.Thread(target=self._walk, args=(number, agent, talks[agent], kinds), name=name, daemon=True)
                    self._threads.append(walk)
                    walk.start()
        return self

    def __exit__(self, *exc):
        self._over.set()
        self.seconds = self.now()
        for thread in self._threads:
            thread.join(TIMEOUT + 5)
        alive = [thread.name for thread in self._threads if thread.is_alive()]
        if alive and exc[0] is None:
            raise RuntimeError("requests that never ended: %s" % ", ".join(alive))

    # -- what is asked of it -----------------------------------------------------------------------------

    def now(self):
        """Return the seconds since the traffic began, the clock of ``Request.start``."""
        return time.monotonic() - self._began

    def failed(self):
        """Return a sentence for each request that failed; empty when all were answered."""
        return ["%s on %s failed %.2f s after the start: %s" % (one.kind, one.agent, one.start, one.error)
                for one in self._recorded() if one.error]

    def slowest(self, since=0.0, until=None):
        """Return the :class:`Request` that took longest among those under way between two moments, None when there was none."""
        until = float("inf") if until is None else until
        under_way = [one for one in self._recorded() if one.start <= until and one.start + one.seconds >= since]
        return max(under_way, key=lambda one: one.seconds, default=None)

    def by_kind(self, since=0.0, until=None):
        """Return {kind: {"count", "median", "maximum"}} in seconds of the requests begun between two moments."""
        until, kinds = float("inf") if until is None else until, {}
        for one in self._recorded():
            if since <= one.start <= until:
                kinds.setdefault(one.kind, []).append(one.seconds)
        return {kind: {"count": len(times), "median": round(statistics.median(times), 3), "maximum": round(max(times), 3)}
                for kind, times in sorted(kinds.items())}

    def rate_reached(self):
        """Return the requests a second that were begun so far (or until the end)."""
        return len(self._recorded()) / (self.seconds or self.now())

    def lag(self):
        """Return the most seconds by which a request began later than it should have."""
        return max((one.start - one.due for one in self._recorded()), default=0.0)

    def _recorded(self):
        with self._lock:
            return list(self.requests)

    # -- the threads ------------------------------------------------------------------------------------------

    def _walk(self, number, agent, conversation, kinds):
        choice = random.Random("%s %d %s" % (self.seed, number, sorted(kinds)))
        every = len(self.agent_ids) / self.rate * sum(self.mix.values()) / sum(kinds.values())
        due = every * number / len(self.agent_ids)
        counter = 0
        while not self._over.wait(max(0.0, due - self.now())):
            kind = choice.choices(list(kinds), list(kinds.values()))[0]
            start, error = self.now(), None
            try:
                self._ask(kind, agent, conversation, counter)
            except (ApiError, OSError, HTTPException, ValueError, RuntimeError) as exc:
                error = "%s: %s" % (type(exc).__name__, exc)
            with self._lock:
                self.requests.append(Request(kind, agent, due, start, self.now() - start, error))
            counter, due = counter + 1, due + every

    def _ask(self, kind, agent, conversation, counter):
        path, api = "/v1/agents/%s" % agent, self.letta.api
        text = "number %d of %s it's {{ x }} 🚀" % (counter, agent)
        if kind == "send":
            _check_turn(api("POST", path + "/messages", _said(text), TIMEOUT))
        elif kind == "stream":
            self._stream(conversation, text)
        elif kind == "insert":
            api("POST", path + "/archival-memory", {"text": text}, TIMEOUT)
        elif kind == "block patch":
            answer = api("PATCH", path + "/core-memory/blocks/human", {"value": text}, TIMEOUT)
            _expect(answer["value"] == text, "the block has another value: %r" % answer["value"])
        else:
            reads = {"agent": path, "messages": path + "/messages?limit=20", "agents": "/v1/agents/?limit=10",
                     "search": path + "/archival-memory/search?top_k=3&query=number+of", "block": path + "/core-memory/blocks/human",
                     "files": path + "/files?limit=10", "passages": path + "/archival-memory?limit=10"}
            _expect(api("GET", reads[kind], timeout=TIMEOUT), "the answer is empty")

    def _stream(self, conversation, text):
        """Send a message into a conversation and read its events to the end."""
        body = json.dumps(dict(_said(text), streaming=True)).encode()
        url = "%s/v1/conversations/%s/messages" % (self.letta.url, conversation)
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            events = [line[6:] for line in response.read().decode().splitlines() if line.startswith("data: ")]
        kinds = [json.loads(event).get("message_type") for event in events if event != "[DONE]"]
        _expect("assistant_message" in kinds and "stop_reason" in kinds, "the stream brought only %s" % kinds)


def _said(text):
    return {"messages": [{"role": "user", "content": text}]}


def _check_turn(answer):
    reason = answer["stop_reason"]["stop_reason"]
    _expect(reason == "end_turn", "the turn ended with %s" % reason)


def _expect(true, otherwise):
    if not true:
        raise RuntimeError(otherwise)
