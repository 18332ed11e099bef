"""Reads the agents of a database ten times a second, on a new connection each time, as a client that never gives up.

A process of its own, so that nothing else delays its clock. It prints one JSON object per read until its standard input closes.
"""
from __future__ import annotations

import json
import select
import subprocess
import sys
import time

import psycopg2

INTERVAL = 0.1


def read_agents():
    """Connect with the environment's settings and read; returns whether agents came back."""
    try:
        conn = psycopg2.connect("")
        try:
            with conn.cursor() as cursor:
                cursor.execute("SELECT id, name, message_ids FROM agents")
                return bool(cursor.fetchall())
        finally:
            conn.close()
    except psycopg2.Error:
        return False


def main():
    """Probe until standard input ends."""
    due = time.monotonic()
    while True:
        began = time.time()
        read = read_agents()
        print(json.dumps({"began": began, "ended": time.time(), "read": read}), flush=True)
        due = max(due + INTERVAL, time.monotonic())
        if select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
            return


class Prober:
    """Runs :func:`main` in a process beside us; ``reads`` holds what it saw once the block is left.

    :param server: Server of the role and database to read.
    :param log: path for the reads.
    """

    def __init__(self, server, log):
        self._server, self._log = server, log
        self.reads = []

    def __enter__(self):
        with open(self._log, "w", encoding="utf-8") as stream:
            self._process = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=stream, env=self._server.environment()
            )
        return self

    def __exit__(self, *exc_info):
        self._process.stdin.close()
        self._process.wait(30)
        with open(self._log, encoding="utf-8") as stream:
            self.reads = [json.loads(line) for line in stream]


def longest_gap(reads, began, ended):
    """Return the longest time without a successful read that touches the window, in seconds.

    A gap runs from the end of one successful read to the end of the next one: what a client had to wait.

    :raises RuntimeError: when nothing was read before and after the window, so that there is nothing to tell.
    """
    good = [read["ended"] for read in reads if read["read"]]
    gaps = [after - before for before, after in zip(good, good[1:]) if after >= began and before <= ended]
    if not gaps or good[0] > began or good[-1] < ended:
        raise RuntimeError("the prober has no successful reads around the cutover (%d of %d reads)" % (len(good), len(reads)))
    return max(gaps)


if __name__ == "__main__":
    main()
