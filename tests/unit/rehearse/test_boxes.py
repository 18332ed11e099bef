"""Containers of a rehearsal: what counts as one, which images are taken, and what closes their network."""
from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse import boxes, fence

SYSTEM = "rh-20261121T213000Z-4f2a9c-1"
MARKS = {boxes.LABEL: SYSTEM, boxes.MADE: "1763760000"}


@pytest.mark.parametrize("name", ["letta_rehearsal_" + SYSTEM, "letta_rehearsal_" + SYSTEM + "_db"])
def test_what_has_name_and_label_of_the_same_rehearsal_is_its(name):
    assert boxes.owner(name, MARKS) == (SYSTEM, 1763760000)


@pytest.mark.parametrize(
    ("name", "marks"),
    [
        ("letta_db", MARKS),
        ("letta_rehearsal_%s_db" % SYSTEM, {}),
        ("letta_rehearsal_%s_db" % SYSTEM, {boxes.LABEL: SYSTEM}),
        ("letta_rehearsal_%s_db" % SYSTEM, {**MARKS, boxes.MADE: "yesterday"}),
        ("letta_rehearsal_%s_db" % SYSTEM, {**MARKS, boxes.LABEL: SYSTEM[:-1] + "2"}),
        ("letta_rehearsal_%s2_db" % SYSTEM, MARKS),
        ("letta_rehearsal__db", {**MARKS, boxes.LABEL: ""}),
        ("letta_rehearsal_mine_db", {**MARKS, boxes.LABEL: "mine"}),
    ],
)
def test_what_lacks_either_is_nobodys(name, marks):
    assert boxes.owner(name, marks) is None


@pytest.mark.parametrize("name", ["", "letta/letta", "letta/letta:latest", "host:5000/letta", "sha256:12", "letta/letta@sha256:12"])
def test_an_image_that_may_be_another_tomorrow_is_refused_before_an_engine_is_asked(name):
    with pytest.raises(RecoveryError) as caught:
        boxes.image_of(None, name, "letta_rehearse_letta_image")
    assert caught.value.failure_class == "usage" and "letta_rehearse_letta_image" in caught.value.message and caught.value.next_step


DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize("name", ["letta/letta:0.16.8", "host:5000/letta:0.16.8", "letta/letta@" + DIGEST, DIGEST, "pgvector/pg:17"])
def test_an_image_that_is_certain_is_taken_as_the_engine_has_it(name):
    class Engine:
        def image(self, asked):
            return {"Id": asked}

    assert boxes.image_of(Engine(), name, "letta_rehearse_letta_image") == {"Id": name}


CLOSED = """
import fcntl, runpy, socket, struct, sys
fence = runpy.run_path(sys.argv[1])
with socket.socket() as probe:
    fcntl.ioctl(probe, 0x8914, struct.pack("16sh22x", b"lo", 1))
    try:
        fence["close"]("127.0.0.0/8", [5432])
    except OSError as exc:
        print("refused:", exc)
        sys.exit()
    fence["close"]("127.0.0.0/8", [5432])
    print(fence["reached"](["192.0.2.1:9"]), fence["listens"](9, 0.1), fence["reached"](["127.0.0.1:9"]))
"""


def test_the_kernel_takes_the_rules_twice_and_loopback_stays_open():
    if not shutil.which("unshare"):
        pytest.skip("there is no unshare here")
    argv = ["unshare", "--user", "--map-root-user", "--net", "--", sys.executable, "-I", "-c", CLOSED, fence.__file__]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode or done.stdout.startswith("refused"):
        pytest.skip("no such network here: %s" % (done.stderr or done.stdout))
    assert done.stdout == "[] False ['127.0.0.1:9 (%s)']\n" % os.strerror(111)


def test_a_rule_names_its_subnet_and_port():
    rule = fence.message(socket.AF_INET, 1, 10, "172.18.0.0/16", 5432)
    assert int.from_bytes(rule[:4], sys.byteorder) == len(rule) and rule[17] == 16 and socket.inet_aton("172.18.0.0") in rule
    assert len(fence.message(socket.AF_INET6, 7, 20)) < len(rule)
