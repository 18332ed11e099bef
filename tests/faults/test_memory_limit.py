"""The modules, with all that they start, have 256 MB and no more: kept by the kernel, which kills whoever wants more."""
from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.restore_kit import content

pytestmark = pytest.mark.slow
LIMIT = 256 << 20
LINE = "a line of 50 bytes, ending in what escapes: \\\\ \\n"


class Group:
    """A group of processes whose memory is limited, by version 1 or 2 of the kernel's control groups."""

    def __init__(self, root, name):
        self.path, self.first = root / name, (root / "memory.limit_in_bytes").exists()
        self.path.mkdir()
        self.write("memory.limit_in_bytes" if self.first else "memory.max", LIMIT)
        with suppress(OSError):  # the kernel may not count it; there may be none
            self.write("memory.memsw.limit_in_bytes" if self.first else "memory.swap.max", LIMIT if self.first else 0)

    def write(self, name, value):
        (self.path / name).write_text("%s\n" % value, encoding="ascii")

    def peak(self):
        """Return the most bytes it had, what the kernel keeps of files among them."""
        return int((self.path / ("memory.max_usage_in_bytes" if self.first else "memory.peak")).read_text(encoding="ascii"))

    def kills(self):
        """Return how many of its processes the kernel killed for want of memory."""
        name = "memory.oom_control" if self.first else "memory.events"
        counts = dict(line.split() for line in (self.path / name).read_text(encoding="ascii").splitlines())
        return int(counts["oom_kill"])


@pytest.fixture
def limited(tmp_path):
    """Yield (:class:`Group`, path of an interpreter whose processes are in it)."""
    for root in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")):
        try:
            group = Group(root, "letta-ops-test-%d" % os.getpid())
        except OSError:
            continue
        break
    else:
        pytest.skip("no control group can be made here (root alone may, where the kernel's are mounted for writing)")
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\necho $$ >%s/cgroup.procs\nexec %s \"$@\"\n" % (group.path, sys.executable), encoding="utf-8")
    interpreter.chmod(0o755)
    yield group, interpreter
    group.path.rmdir()


@pytest.mark.fault(38, "limit")
def test_a_backup_and_a_restore_with_a_message_of_fifty_megabytes_stay_within_their_memory(make_world, limited):
    group, interpreter = limited
    world = make_world()
    large = "UPDATE letta.messages SET content = json_build_array(json_build_object('type', 'text', 'text', repeat(%s, %s)))"
    world.sql(large + " WHERE id = (SELECT min(id) FROM letta.messages)", (LINE, 1 << 20))
    saved = content(world.fingerprint())
    modest = ("-e", "ansible_python_interpreter=%s" % interpreter)
    world.play("backup.yml", *modest).ok()
    world.sql("DELETE FROM letta.messages")
    played = world.play("restore-full.yml", *modest).ok()
    assert {row["digest"] for row in played.report["tables"]} == {"equal"}
    assert content(world.fingerprint()) == saved
    assert group.kills() == 0
    assert 30 << 20 < group.peak() <= LIMIT


@pytest.mark.fault(38, "limit")
def test_the_limit_is_one(limited):
    """The tests above could not fail otherwise."""
    group, interpreter = limited
    done = os.spawnl(os.P_WAIT, str(interpreter), "python", "-c", "b = bytearray(400 << 20); b[::4096] = b'x' * len(b[::4096])")
    assert done == -9
    assert group.kills() == 1
