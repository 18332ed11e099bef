"""What pg_restore is told to take lies in a file that no killed process leaves for good."""
from __future__ import annotations

import os
import time

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import listing


def test_a_list_is_private_and_gone_with_its_block(tmp_path, monkeypatch):
    monkeypatch.setattr(listing.tempfile, "tempdir", str(tmp_path))
    with listing.use_list("%d;\n" % number for number in (7, 8)) as path:
        with open(path, encoding="ascii") as stream:
            assert stream.read() == "7;\n8;\n"
        assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_left_goes_with_a_later_list_and_what_is_held_or_fresh_or_a_link_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(listing.tempfile, "tempdir", str(tmp_path))
    past = time.time() - 120
    for name in ("left", "fresh", "elsewhere"):
        (tmp_path / (listing.PREFIX + name)).write_text("1;\n")
    (tmp_path / (listing.PREFIX + "elsewhere")).rename(tmp_path / "elsewhere")
    (tmp_path / (listing.PREFIX + "link")).symlink_to(tmp_path / "elsewhere")
    os.utime(tmp_path / (listing.PREFIX + "left"), (past, past))
    os.utime(tmp_path / (listing.PREFIX + "link"), (past, past), follow_symlinks=False)
    with listing.use_list(["2;\n"]) as held:
        os.utime(held, (past, past))
        with listing.use_list(["3;\n"]):
            assert os.path.exists(held)
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", listing.PREFIX + "fresh", listing.PREFIX + "link"]
