"""One of two servers runs another release than it should: what restore-full says of it, before anything is stopped or written."""
from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytestmark = pytest.mark.slow
SAID = "servers of different schemas run on this database: letta1 runs Letta 0.16.4, letta2 runs Letta 0.16.8"


@contextlib.contextmanager
def telling(release):
    """A server that is healthy and says that it is this release; yields its address. Of a real one, nothing else is asked here."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"version": release, "status": "ok"} if "health" in self.path else []).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield "http://127.0.0.1:%d" % server.server_port
    finally:
        server.shutdown()
        server.server_close()


def test_servers_of_two_releases_are_told_by_name_and_nothing_is_touched_until_one_is_chosen(world):
    before = world.fingerprint()
    with telling("0.16.4") as wrong, telling("0.16.8") as right:
        world.hosts = {"letta1": {"letta_api_url": wrong}, "letta2": {"letta_api_url": right}}
        refused = world.play("restore-full.yml")
        planned = world.play("restore-full.yml", "--check", "-e", "letta_version=0.16.8")
    assert refused.rc == 2 and SAID in " ".join(refused.output.split()), refused.output[-3000:]
    assert "-e letta_version=" in refused.output and refused.report["failure_class"] == "preflight"
    assert planned.rc == 0 and "letta1 runs Letta 0.16.4, the plan is for 0.16.8" in " ".join(planned.output.split())
    assert world.fingerprint() == before and world.leftovers() == []
