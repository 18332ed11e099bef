"""A stand-in for a Letta server, to be started and stopped by real service managers: ``stand_in.py PORT FOLDER`` (or ``check FOLDER``).

It answers what a start is judged by, on loopback. Files in its folder make it misbehave; each name is explained where it is looked for.
"""
from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
import threading
import time


def main(port, folder):
    """Serve until told to end."""

    def has(name):
        return os.path.exists(os.path.join(folder, name))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.path in ("/v1/health/", "/v1/agents/?limit=1")
            self.send_response(200 if known and not has("unhealthy") else 503)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args):
            pass

    def end(number, _frame):
        with open(os.path.join(folder, "signals"), "a", encoding="ascii") as told:
            told.write("%s %s\n" % (port, signal.Signals(number).name))
        if has("deaf"):  # it hears the signal and goes on
            return
        # Letta still answers for seconds after it was told to end.
        threading.Timer(2 if has("lingers") else 0, os._exit, (0,)).start()

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, end)
    print("stand-in for Letta: LETTA_PG_URI=%s, token %s" % (os.environ.get("LETTA_PG_URI"), os.environ.get("LETTA_TOKEN")), flush=True)
    if has("crashes"):
        sys.exit("it crashed")
    if has("leaves_a_child"):
        subprocess.Popen(["/usr/bin/sleep", "300"])
    time.sleep(float(os.environ.get("SLOW", "0")))
    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


def check(folder):
    """A container's own health check: it fails while there is a file ``sick``."""
    if os.path.exists(os.path.join(folder, "sick")):
        print("it feels sick")
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1] == "check":
        check(sys.argv[2])
    else:
        main(sys.argv[1], sys.argv[2])
