"""One file out of a set: compared with its checksum, decrypted, private; nothing is written where the set does not fit."""
from __future__ import annotations

import os
import shutil
import stat

import pytest

from tests.integration.validate_kit import run_plain_module
from tests.lab.sample import sample


@pytest.fixture
def held(tmp_path):
    """A copy of the sample set, and a file of it that is small."""
    folder = tmp_path / sample()[0].name
    shutil.copytree(sample()[0], folder)
    return folder, "database/toc.dat"


def test_a_file_is_copied_private_and_a_second_call_changes_nothing(held, tmp_path):
    folder, path = held
    wanted = {"src": str(folder), "path": path, "dest": str(tmp_path / "taken")}
    assert run_plain_module("backup_set_file", check=True, **wanted)["changed"] and not os.path.exists(wanted["dest"])
    done = run_plain_module("backup_set_file", **wanted)
    assert (done["changed"], (tmp_path / "taken").read_bytes()) == (True, (folder / path).read_bytes())
    assert stat.S_IMODE(os.stat(wanted["dest"]).st_mode) == 0o600
    assert run_plain_module("backup_set_file", **wanted)["changed"] is False


def test_a_file_that_is_not_listed_or_not_as_it_was_is_refused_and_nothing_is_left(held, tmp_path):
    folder, path = held
    wanted = {"src": str(folder), "path": path, "dest": str(tmp_path / "taken")}
    for other in ("redis/none.rdb", "../outside", "manifest.json"):
        refused = run_plain_module("backup_set_file", **dict(wanted, path=other))
        assert (refused["failure_class"], "has no file" in refused["msg"]) == ("usage", True)
    with open(folder / path, "r+b") as stream:
        stream.seek(100)
        stream.write(b"\0\0\0\0")
    refused = run_plain_module("backup_set_file", **wanted)
    assert refused["failure_class"] == "backup_corrupt" and not os.path.exists(wanted["dest"])
