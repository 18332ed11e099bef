"""Client tools are found by what they do, and what they say is told without secrets."""

from __future__ import annotations

import os
import sys
import time

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import tools as tools_module
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.process import ToolFailed, run_tool, running_tool, scrub
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import (
    Tools,
    find_tools,
)


def fake(folder, version, says="connection to server failed", code=0):
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("pg_dump", "pg_restore"):
        path = folder / name
        path.write_text(
            '#!/bin/sh\nif [ "$1" = --version ]; then echo "%s (PostgreSQL) %s (Debian 1)"; exit %d; fi\necho "%s" >&2\nexit 1\n'
            % (name, version, code, says)
        )
        path.chmod(0o755)
    return str(folder)


@pytest.fixture
def only(monkeypatch):
    def use(*folders):
        monkeypatch.setattr(tools_module, "candidate_dirs", lambda: list(folders))

    return use


def test_the_newest_that_fits_wins(tmp_path, only):
    only(fake(tmp_path / "a", "16.4"), fake(tmp_path / "b", "18.6"), fake(tmp_path / "c", "17.11"))
    assert find_tools() == Tools(str(tmp_path / "b"), (18, 6), ("zstd", "lz4", "gzip"))
    assert find_tools(bin_dir=str(tmp_path / "a")).version == (16, 4)


def test_a_build_without_a_compression_is_passed_over_when_that_compression_is_needed(tmp_path, only):
    refuses = "pg_dump: error: invalid compression specification: this build does not support compression with ZSTD"
    only(fake(tmp_path / "a", "17.1"), fake(tmp_path / "b", "18.6", refuses))
    assert find_tools(compression="zstd:3").version == (17, 1)
    assert find_tools(compression="none").version == (18, 6)
    assert find_tools(compression="none").compressions == ()


def test_a_shim_that_exists_and_does_not_run_is_no_tool(tmp_path, only):
    only(fake(tmp_path / "shim", "18.6", code=127), fake(tmp_path / "real", "15.2"))
    assert find_tools().version == (15, 2)


@pytest.mark.fault(13, "floor")
@pytest.mark.parametrize(
    ("says", "floor"),
    [
        ("18.5", "18.6"), ("18.6", ""), ("18beta1", "18.6"), ("17.10", "17.11"), ("17.11 (Debian 17.11-1)", ""), ("16.14", "16.15"),
        ("15.19", ""), ("14.23", "14.24"), ("13.23", "14.24"), ("9.6.24", "14.24"), ("19.0", ""), ("19devel", ""),
    ],
)
def test_tools_older_than_the_fixes_of_hostile_dumps_are_below_the_floor(tmp_path, says, floor):
    assert find_tools(fake(tmp_path / "a", says)).below_floor() == floor


def test_before_16_only_gzip_is_known(tmp_path):
    assert find_tools(bin_dir=fake(tmp_path / "a", "15.18")).compressions == ("gzip",)


def test_when_nothing_fits_the_error_names_what_was_found_needed_and_to_install(tmp_path, only):
    only(fake(tmp_path / "a", "15.18"))
    with pytest.raises(
        RecoveryError, match=r"needs pg_dump and pg_restore of PostgreSQL 18 or newer on this host; found: .*/a \(15.18"
    ) as failure:
        find_tools(min_major=18)
    assert failure.value.failure_class == "preflight"
    assert "postgresql-client-18" in failure.value.next_step
    with pytest.raises(RecoveryError, match="letta_pg_bin_dir .*none that runs was found"):
        find_tools(bin_dir=str(tmp_path))


def test_the_embedded_tools_are_found_beside_the_running_python(monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    found = find_tools(min_major=18)
    assert os.access(found.path("pg_restore"), os.X_OK)
    assert "gzip" in found.compressions


def test_secrets_are_scrubbed_from_what_a_tool_says():
    server = Server(password="hunter2 x")
    script = "import sys, os; sys.exit('bad hunter2 x postgresql://u:p%%40ss@h/db password=abc ' + os.environ['PGPASSWORD'])"
    with pytest.raises(ToolFailed) as failure:
        run_tool([sys.executable, "-c", script], server)
    assert failure.value.stderr.strip() == "bad *** postgresql://u:***@h/db password=*** ***"
    assert "hunter2" not in str(failure.value)
    assert scrub("postgresql+asyncpg://letta:a:b/c@h") == "postgresql+asyncpg://letta:***@h"


def test_a_tool_gets_the_servers_environment_and_nothing_stray(monkeypatch):
    monkeypatch.setenv("PGOPTIONS", "-c search_path=evil")
    monkeypatch.setenv("PGSERVICE", "other")
    out = run_tool(
        [sys.executable, "-c", "import os; print(sorted(k for k in os.environ if k.startswith('PG')))"], Server(password="x")
    ).stdout
    assert "PGPASSWORD" in out and "PGOPTIONS" not in out and "PGSERVICE" not in out


def test_a_tool_that_takes_too_long_is_ended_with_its_children(tmp_path):
    script = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); open(%r, 'w').write(str(p.pid)); p.wait()" % str(
        tmp_path / "pid"
    )
    with pytest.raises(ToolFailed, match="longer than 1 s"):
        run_tool([sys.executable, "-c", script], timeout=1)
    assert gone(int((tmp_path / "pid").read_text()))


def test_leaving_a_running_tool_early_ends_it():
    with pytest.raises(KeyError), running_tool(["/bin/sleep", "60"]) as process:
        raise KeyError
    assert gone(process.pid)


def gone(pid):
    for _unused in range(100):
        try:
            with open("/proc/%d/stat" % pid) as stream:
                if stream.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False
