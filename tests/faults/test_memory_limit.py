"""The modules, with all that they start, have so much memory and no more: kept by the kernel, which kills whoever wants more."""
from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.restore_kit import content

pytestmark = pytest.mark.slow
LIMIT = 256  # MiB
LINE = "a line of 50 bytes, ending in what escapes: \\\\ \\n"


class Group:
    """A group of processes whose memory is limited, by version 1 or 2 of the kernel's control groups."""

    def __init__(self, root, name, limit):
        self.limit = limit
        self.path, self.first = root / name, (root / "memory.limit_in_bytes").exists()
        if not (self.first or (root / "cgroup.subtree_control").exists()):
            raise OSError("%s is a folder like any other, not the kernel's" % root)
        self.path.mkdir()
        self.write("memory.limit_in_bytes" if self.first else "memory.max", limit)
        with suppress(OSError):  # the kernel may not count it; there may be none
            self.write("memory.memsw.limit_in_bytes" if self.first else "memory.swap.max", limit if self.first else 0)

    def write(self, name, value):
        (self.path / name).write_text("%s\n" % value, encoding="ascii")

    def end(self):
        """Remove it as soon as its last process has ended: the one that watches over a detached module looks every 5 s."""
        until = time.monotonic() + 30
        while (self.path / "cgroup.procs").read_text(encoding="ascii") and time.monotonic() < until:
            time.sleep(0.1)
        self.path.rmdir()

    def peak(self):
        """Return the most bytes it had, what the kernel keeps of files among them."""
        return int((self.path / ("memory.max_usage_in_bytes" if self.first else "memory.peak")).read_text(encoding="ascii"))

    def kills(self):
        """Return how many of its processes the kernel killed for want of memory."""
        name = "memory.oom_control" if self.first else "memory.events"
        counts = dict(line.split() for line in (self.path / name).read_text(encoding="ascii").splitlines())
        return int(counts["oom_kill"])


@pytest.fixture
def limited(request, tmp_path):
    """Yield (:class:`Group`, path of an interpreter whose processes are in it); the parameter is the limit in MiB."""
    for root in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")):
        try:
            group = Group(root, "letta-ops-test-%d" % os.getpid(), getattr(request, "param", LIMIT) << 20)
        except OSError:
            continue
        break
    else:
        pytest.skip("no control group can be made here (root alone may, where the kernel's are mounted for writing)")
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\necho $$ >%s/cgroup.procs\nexec %s \"$@\"\n" % (group.path, sys.executable), encoding="utf-8")
    interpreter.chmod(0o755)
    yield group, interpreter
    group.end()


LARGE = "UPDATE letta.messages SET content = json_build_array(json_build_object('type', 'text', 'text', repeat(%s, %s)))"


def with_a_large_message(world, megabytes):
    """Make the content of the first message as large; returns the id of its agent."""
    where = " WHERE id = (SELECT min(id) FROM letta.messages) RETURNING agent_id"
    ((agent,),) = world.sql(LARGE + where, (LINE, megabytes * 20_000))
    return agent


@pytest.mark.fault(38, "limit")
@pytest.mark.parametrize(("megabytes", "limited"), [(52, 256), (100, 512)], indirect=["limited"])
def test_a_backup_and_a_restore_with_a_large_message_stay_within_their_memory(make_world, megabytes, limited):
    group, interpreter = limited
    world = make_world()
    with_a_large_message(world, megabytes)
    saved = content(world.fingerprint())
    modest = ("-e", "ansible_python_interpreter=%s" % interpreter)
    world.play("backup.yml", *modest).ok()
    world.sql("DELETE FROM letta.messages")
    played = world.play("restore-full.yml", *modest).ok()
    assert {row["digest"] for row in played.report["tables"]} == {"equal"}
    assert content(world.fingerprint()) == saved
    assert group.kills() == 0
    assert 30 << 20 < group.peak() <= group.limit


@pytest.mark.fault(38, "limit")
@pytest.mark.parametrize("limited", [768], indirect=True)
def test_an_agent_with_a_message_of_a_hundred_megabytes_is_restored_alone_within_its_memory(make_world, limited):
    group, interpreter = limited
    world = make_world()
    agent = with_a_large_message(world, 100)
    others = " WHERE id IN (SELECT id FROM letta.messages WHERE agent_id <> %s ORDER BY id LIMIT 3)"  # read, and not kept
    world.sql(LARGE + others, (LINE, 2_000_000, agent))
    tables = content(world.fingerprint())["tables"]
    world.backup()
    world.sql("DELETE FROM letta.messages WHERE agent_id = %s", (agent,))
    named = json.dumps({"letta_agents": [agent], "ansible_python_interpreter": str(interpreter)})
    world.play("restore-partial.yml", "--tags", "agents", "-e", named).ok()
    assert content(world.fingerprint())["tables"] == tables
    assert group.kills() == 0
    assert 100 << 20 < group.peak() <= group.limit


@pytest.mark.fault(38, "limit")
def test_the_limit_is_one(limited):
    """The tests above could not fail otherwise."""
    group, interpreter = limited
    done = os.spawnl(os.P_WAIT, str(interpreter), "python", "-c", "b = bytearray(400 << 20); b[::4096] = b'x' * len(b[::4096])")
    assert done == -9
    assert group.kills() == 1
