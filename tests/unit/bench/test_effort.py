"""Processor seconds and instructions: counted of whom, and not invented where they cannot be counted."""
from __future__ import annotations

import shutil
import subprocess
import sys
import time

import pytest

from tests.bench import effort


def test_processor_seconds_are_of_children_too_and_of_what_a_server_started():
    burn = [sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"]
    # In the part of the server: a process that has a child at work.
    server = subprocess.Popen([sys.executable, "-c", "import subprocess; subprocess.run(%r); input()" % burn], stdin=subprocess.PIPE)
    try:
        with effort.measured([server.pid]) as spent:
            subprocess.run(burn, check=True)
            deadline = time.monotonic() + 60
            while effort.processor_seconds([server.pid]) < 1 and time.monotonic() < deadline:
                time.sleep(0.05)
        assert spent.instructions is None
    finally:
        server.communicate(b"\n")
    assert 0.5 <= spent.seconds < 10


@pytest.mark.skipif(not shutil.which("perf"), reason="no perf here")
def test_perf_counts_what_a_running_process_starts(monkeypatch):
    # An event that every machine has: it is about who is counted.
    monkeypatch.setattr(effort, "EVENT", "task-clock:u")
    if not effort.countable():
        pytest.skip("perf may not look at processes here")
    server = subprocess.Popen(["sleep", "60"])
    try:
        with effort.measured([server.pid], count=True) as spent:
            subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)
    finally:
        server.kill()
        server.wait()
    assert spent.instructions > 250  # of this event: milliseconds


@pytest.mark.parametrize(("printed", "count"), [
    ("5123,,instructions:u,1000,100.00,1.2,insn per cycle\n", 5123), ("<not supported>,,instructions:u,0,100.00,,\n", None), ("", None),
])
def test_a_machine_without_a_counter_is_noticed(printed, count):
    assert effort._count(printed) == count
