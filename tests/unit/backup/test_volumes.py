"""Volumes: what goes into an archive, and what is refused when one comes from elsewhere."""
from __future__ import annotations

import hashlib
import io
import os
import socket
import subprocess
import tarfile

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import unpack, volumes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError


@pytest.fixture
def tree(tmp_path):
    source = tmp_path / "memfs"
    (source / "sub").mkdir(parents=True)
    (source / "a.txt").write_text("first")
    (source / "sub" / "b.bin").write_bytes(os.urandom(10 << 20))
    (source / "empty").mkdir()
    os.chmod(source / "a.txt", 0o4755)
    return source


def test_only_files_and_folders_are_archived_and_the_rest_is_listed(tree, tmp_path):
    os.symlink("/etc/passwd", tree / "link")
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tree / "sock"))
        facts = volumes.archive_volume(str(tree), str(tmp_path / "v.tar.gz"))
    assert {(entry["path"], entry["reason"]) for entry in facts["skipped"]} == {("link", "link"), ("pipe", "pipe"), ("sock", "socket")}
    assert unpack.read_volume(str(tmp_path / "v.tar.gz")) == {key: facts[key] for key in ("files", "bytes", "tree_digest")}
    assert facts["files"] == 2
    with tarfile.open(tmp_path / "v.tar.gz") as tar:
        modes = {member.name: member.mode for member in tar}
    assert modes["a.txt"] == 0o755
    assert "empty" in modes


def test_the_same_tree_gives_the_same_archive(tree, tmp_path):
    digests = []
    for name in ("one.tar.gz", "two.tar.gz"):
        volumes.archive_volume(str(tree), str(tmp_path / name))
        digests.append(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def test_a_git_repository_comes_back_intact(tmp_path):
    repo = tmp_path / "repo"
    env = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", HOME=str(tmp_path))
    subprocess.run(["git", "init", "-q", str(repo)], check=True, env=env)
    (repo / "memory.md").write_text("remember this\n")
    subprocess.run(["git", "-C", str(repo), "add", "."], check=True, env=env)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(repo), *identity, "commit", "-qm", "m"], check=True, env=env)
    volumes.archive_volume(str(repo), str(tmp_path / "v.tar.gz"))
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xzf", str(tmp_path / "v.tar.gz"), "-C", str(tmp_path / "out")], check=True)
    done = subprocess.run(["git", "-C", str(tmp_path / "out"), "fsck", "--strict"], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    status = subprocess.run(["git", "-C", str(tmp_path / "out"), "status", "--porcelain"], capture_output=True, text=True, env=env)
    assert status.stdout == ""


def evil_tar(path, change):
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("good.txt")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"good"))
        bad = tarfile.TarInfo("bad")
        bad.size = 0
        change(bad)
        tar.addfile(bad, io.BytesIO(b"x" * bad.size))


@pytest.mark.parametrize(
    "change",
    [
        lambda info: setattr(info, "name", "../outside"),
        lambda info: setattr(info, "name", "/etc/cron.d/x"),
        lambda info: setattr(info, "name", "a/../../x"),
        lambda info: (setattr(info, "type", tarfile.SYMTYPE), setattr(info, "linkname", "/etc/passwd")),
        lambda info: (setattr(info, "type", tarfile.LNKTYPE), setattr(info, "linkname", "good.txt")),
        lambda info: setattr(info, "type", tarfile.CHRTYPE),
        lambda info: setattr(info, "type", tarfile.FIFOTYPE),
        lambda info: setattr(info, "mode", 0o4755),
        lambda info: setattr(info, "name", "GOOD.txt"),
        lambda info: setattr(info, "name", "x/" * 5000 + "y"),
    ],
)
def test_a_member_that_could_reach_out_refuses_the_whole_archive(tmp_path, change):
    evil_tar(tmp_path / "evil.tar", change)
    with pytest.raises(ValueError, match="the member"):
        unpack.read_volume(str(tmp_path / "evil.tar"))


def test_a_folder_that_is_absent_is_told_before_any_work(tmp_path):
    with pytest.raises(RecoveryError) as caught:
        volumes.check_volumes([{"name": "memfs", "path": str(tmp_path / "nowhere")}])
    assert caught.value.failure_class == "preflight"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path, name):
    with pytest.raises(RecoveryError) as caught:
        volumes.check_volumes([{"name": name, "path": str(tmp_path)}])
    assert caught.value.failure_class == "usage"
