"""The database in a container: made where there is none, and lending its client tools where the host has none that fit.

The engine is real; the image is no official one (``tests/lab/postgres_image.py``), nothing can be fetched here.
"""
from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import tools as tools_module
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.catalog import database_facts, user_schemas
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.digest import digest_database
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.process import running_tool
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import find_tools, tools_of_container
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.target import inspect_target, is_folder_of
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.database_container import Wanted, ensure_container
from ansible_collections.letta_ops.recovery.plugins.modules import letta_database_container
from tests.integration import restore_kit
from tests.lab import places
from tests.lab.modules import run_main
from tests.lab.postgres_image import import_postgres

pytestmark = pytest.mark.slow
ADDRESS = "127.0.0.2"  # not where the tools would go by themselves
SECRET = "hush1234"  # the part of the password that no quoting changes
PASSWORD = "pass' %s \"$(x)\" 7" % SECRET


@pytest.fixture(scope="module")
def image(engine):
    return import_postgres(engine)


@pytest.fixture(scope="module")
def wanted(engine, image):
    """A container to be made; on the host's network, for this engine has no other."""
    wanted = Wanted(
        "letta_db", image, password=PASSWORD, address=ADDRESS, port=places.free_port(), network="host", docker_host=engine.address,
        settings={"fsync": "off"}, timeout=30,
    )  # fmt: skip
    yield wanted
    remove(engine, wanted.name)


@pytest.fixture(scope="module")
def database(wanted):
    """The database of that container, made; a :class:`Server`."""
    ensure_container(wanted)
    return Server(ADDRESS, wanted.port, wanted.user, PASSWORD, wanted.database, sslmode="disable")


@pytest.fixture
def docker_program():
    if not shutil.which("docker"):
        pytest.skip("there is no program docker here: install docker-cli (Debian)")


@pytest.fixture
def bare_host(monkeypatch, docker_program):
    """A host without client tools."""
    monkeypatch.setattr(tools_module, "candidate_dirs", list)


def remove(engine, name):
    with suppress(Exception):
        engine.client.containers.get(name).remove(force=True, v=True)


def inspected(engine, name="letta_db"):
    return engine.client.api.inspect_container(name)


def tool_containers(engine):
    return engine.client.containers.list(all=True, filters={"label": "letta_ops.recovery=client-tool"})


def refused(failure_class, text, function, *arguments):
    with pytest.raises(RecoveryError, match=text) as told:
        function(*arguments)
    assert told.value.failure_class == failure_class
    assert told.value.next_step
    assert SECRET not in str(told.value.as_dict())
    return told.value


def test_a_container_that_does_not_exist_is_planned_then_made_then_left_alone(engine, wanted, request, pg):
    plan = ensure_container(wanted, check=True)
    assert (plan["changed"], plan["created"], plan["container"]["id"]) == (True, True, None)
    assert not engine.client.containers.list(all=True, filters={"name": wanted.name})
    server = request.getfixturevalue("database")
    done = ensure_container(wanted)
    assert (done["changed"], done["did"], done["container"]["status"], done["server_version"]) == (False, [], "running", "18.6")
    made = inspected(engine)
    assert SECRET not in str(made)
    assert made["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert made["Config"]["Healthcheck"]["Test"][:2] == ["CMD", "pg_isready"]
    assert [(mount["Name"], mount["Destination"]) for mount in made["Mounts"]] == [("letta_pgdata", "/var/lib/postgresql/data")]
    # What Letta's init.sql leaves, as the rest of the suite knows it.
    reference = pg.create_letta_database("like_compose", schema="like_compose")
    try:
        expected, found = database_facts(reference), database_facts(server)
        assert user_schemas(server) == ["letta"]
        assert [(one["name"], one["schema"]) for one in found["extensions"] if one["name"] == "vector"] == [("vector", "letta")]
        assert str(found["settings"]) == str(expected["settings"]).replace("like_compose", "letta")
    finally:
        pg.drop_database("like_compose")


def test_a_container_that_differs_is_told_and_not_touched(engine, wanted, database):
    before = inspected(engine)
    other = replace(wanted, data="elsewhere", port=places.free_port(), user="somebody")
    text = r"letta_db is there and differs: command is .*POSTGRES_USER is letta, wanted somebody.*data is at letta_pgdata:"
    refused("preflight", text, ensure_container, other)
    assert inspected(engine) == before


def test_without_the_hosts_network_the_port_is_published_at_a_loopback_address(engine, wanted):
    """This engine has no network to publish from, so it ends there; what was made is looked at, and compared."""
    own = replace(wanted, name="own", data="own", network="", address="127.0.0.1", port=places.free_port(), settings={}, timeout=2)
    try:
        refused("preflight", "container own (cannot be started|runs, but its database does not answer)", ensure_container, own)
        made = inspected(engine, "own")["HostConfig"]
        assert made["PortBindings"] == {"5432/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(own.port)}]}
        assert made["ShmSize"] == 256 * 2**20
        text = r"differs: published ports is .*127\.0\.0\.1.*, wanted .*0\.0\.0\.0"
        refused("preflight", text, ensure_container, replace(own, address="0.0.0.0"))
        engine.client.containers.get("own").stop(timeout=5)
        assert ensure_container(own, check=True)["did"] == ["start it"]
    finally:
        remove(engine, "own")


def test_a_stopped_container_is_started_and_what_its_database_holds_is_not_prepared_again(engine, wanted, database):
    query(database, "CREATE SCHEMA public")
    query(database, "CREATE TABLE public.mine ()")
    engine.client.containers.get(wanted.name).stop(timeout=20)
    try:
        assert ensure_container(wanted, check=True)["did"] == ["start it"]
        done = ensure_container(wanted)
        assert (done["did"], done["prepared"]) == (["start it"], False)
        assert query(database, "SELECT to_regclass('public.mine') IS NOT NULL") == [(True,)]
        query(database, "DROP TABLE public.mine")
        # Empty once more, and not as it has to be.
        assert ensure_container(wanted, check=True)["prepared"]
        assert ensure_container(wanted)["prepared"]
        assert user_schemas(database) == ["letta"]
    finally:
        query(database, "DROP SCHEMA IF EXISTS public CASCADE")


@pytest.mark.fault(17)
def test_only_an_image_that_cannot_change_is_taken(wanted):
    for image in ("pgvector/pgvector:pg17", "postgres:latest", "postgres", ""):
        refused("usage", "names no certain image", ensure_container, replace(wanted, name="new", image=image))
    refused("preflight", "has no image sha256:0000", ensure_container, replace(wanted, name="new", image="sha256:" + "0" * 64))


def test_somebody_elses_server_at_the_address_is_not_taken_for_the_new_one(engine, wanted, pg):
    try:
        text = "container second was not started: something answers at 127.0.0.1 port %d already" % pg.port
        refused("preflight", text, ensure_container, replace(wanted, name="second", data="second", address="127.0.0.1", port=pg.port))
    finally:
        remove(engine, "second")


def test_a_database_that_does_not_come_up_is_told_with_its_own_words_and_without_its_password(engine, wanted):
    try:
        broken = replace(wanted, name="broken", data="broken", port=places.free_port(), settings={"no_such_setting": "1"})
        refused("preflight", "(?s)went down again.*no_such_setting", ensure_container, broken)
    finally:
        remove(engine, "broken")


def test_client_tools_come_out_of_the_containers_image_where_the_host_has_none(engine, wanted, database, bare_host, tmp_path):
    restore_kit.install_schema(database)
    restore_kit.fill(database)
    try:
        with tools_of_container(wanted.name, engine.address):
            tools = find_tools(min_major=18)
            assert (tools.version[0], "gzip" in tools.compressions) == (18, True)
            manifest = take.take_backup(take.BackupOptions(server=database, root=str(tmp_path / "store"), jobs=2))
        folder = tmp_path / "store" / manifest["id"] / "database"
        modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        assert (modes, {path.stat().st_uid for path in folder.iterdir()}) == ({0o600}, {os.geteuid()})
        assert manifest["postgresql"]["dump_version"].startswith("18.")
        assert not os.path.exists(tools.bin_dir)
        assert not tool_containers(engine)
    finally:
        query(database, "DROP SCHEMA letta CASCADE")
        ensure_container(wanted)


def test_a_tool_that_is_broken_off_leaves_no_container_and_showed_no_password(engine, wanted, database, bare_host):
    waits = ["-c", "SELECT pg_sleep(120)"]
    with tools_of_container(wanted.name, engine.address):
        tools = find_tools(need=("psql",))
        with suppress(KeyboardInterrupt), running_tool([tools.path("psql"), *waits], database):
            asleep = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(120)'"
            assert places.wait_for(lambda: query(database, asleep), 20)
            shown = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
            assert "pg_sleep(120)" in shown
            assert SECRET not in shown
            raise KeyboardInterrupt
    assert places.wait_for(lambda: not tool_containers(engine), 10)
    # A server that sleeps does not notice that its client is gone, wherever that ran.
    query(database, asleep.replace("1", "pg_terminate_backend(pid)", 1))


def test_a_tool_ends_with_a_module_that_is_killed(engine, wanted, database, docker_program, tmp_path):
    program = tmp_path / "module.py"
    program.write_text(HOLDS_A_TOOL % (wanted.name, engine.address, database.host, database.port, database.user, PASSWORD, database.dbname))
    asleep = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(119)'"
    with subprocess.Popen([sys.executable, str(program)], cwd=restore_kit.ROOT) as module:
        assert places.wait_for(lambda: query(database, asleep), 20)
        assert tool_containers(engine)
        module.kill()
    try:
        assert places.wait_for(lambda: not tool_containers(engine), 10)
    finally:
        query(database, asleep.replace("1", "pg_terminate_backend(pid)", 1))


HOLDS_A_TOOL = """
import sys
sys.path.insert(0, "playbooks/collections")
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import connection, tools
tools.candidate_dirs = list
with tools.tools_of_container(%r, %r):
    server = connection.Server(%r, %r, %r, %r, %r)
    tools.run_tool([tools.find_tools(need=("psql",)).path("psql"), "-c", "SELECT pg_sleep(119)"], server)
"""


def test_without_tools_that_fit_the_refusal_lists_what_was_looked_at(engine, wanted, database, bare_host):
    with tools_of_container("no_such", engine.address):
        told = refused("preflight", "none that runs was found; no client tools out of container no_such: .*o such container", find_tools)
    with tools_of_container(wanted.name, engine.address):
        told = refused("preflight", "none that runs was found; in the image of container letta_db: 18.6", find_tools, None, 19)
    assert "apt install postgresql-client-19" in told.next_step
    assert "letta_db_container" in refused("preflight", "none that runs", find_tools).next_step


def test_a_set_is_restored_into_the_new_container_with_nothing_but_its_own_tools(
    engine, wanted, database, docker_program, make_world, tmp_path
):
    """A whole playbook; the interpreter of the host knows psycopg2 and no client tools of PostgreSQL 18."""
    source = make_world()
    manifest = source.backup()
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(bare)], check=True)
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\nHOME='%s' PYTHONPATH='%s' exec '%s' \"$@\"\n" % (tmp_path, sysconfig.get_paths()["purelib"], bare / "bin" / "python")
    )
    python.chmod(0o755)
    asked = subprocess.run([str(python), "-c", WHAT_IS_HERE], capture_output=True, text=True, check=True, cwd=restore_kit.ROOT).stdout
    assert int(asked) < 18, "this host has client tools of its own for that interpreter"
    target = replace(source, database="letta", folder=tmp_path / "target", owner="letta")
    target.folder.mkdir()
    target.copy_set(Path(source.root) / manifest["id"], _made(Path(target.root)))
    target.variables = dict(
        letta_db_host=ADDRESS, letta_db_port=wanted.port, letta_db_password=PASSWORD, letta_db_admin_user=None,
        letta_db_admin_password=None, letta_pg_bin_dir=None, letta_db_container=wanted.name, letta_db_docker_host=engine.address,
    )  # fmt: skip
    target.play("restore-full.yml", "-e", "ansible_python_interpreter=%s" % python).ok()
    restored = {name: (table.rows, table.digest) for name, table in digest_database(database, form=None).items()}
    assert restored == {name: (table["rows"], table["digest"]) for name, table in manifest["tables"].items()}
    assert not tool_containers(engine)


WHAT_IS_HERE = """
import sys
sys.path.insert(0, "playbooks/collections")
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import tools
found = tools._probe_all(tools.candidate_dirs(), ("pg_restore",))
print(max([one.version[0] for one in found] or [0]))
"""


def _made(folder):
    folder.mkdir(mode=0o700, parents=True)
    return folder


def test_the_module_plans_in_check_mode_and_tells_no_password(wanted, database, capsys, monkeypatch):
    arguments = {name: getattr(wanted, name) for name in ("name", "image", "address", "port", "network", "settings", "docker_host")}
    for name, changed in (("letta_db", False), ("another", True)):
        run_main(monkeypatch, letta_database_container, dict(arguments, name=name, password=PASSWORD), check=True)
        printed = capsys.readouterr().out
        result = json.loads(printed)
        assert (result["changed"], result["created"], result.get("failed", False)) == (changed, changed, False)
        assert SECRET not in printed


def test_free_space_is_only_told_of_the_servers_own_folder(pg, tmp_path):
    ((folder, started),) = query(pg.server(), "SELECT current_setting('data_directory'), %s" % STARTED)
    assert is_folder_of(folder, started)
    assert not is_folder_of(folder, started + 3600)  # another server's, of the same name
    assert not is_folder_of(str(tmp_path), started)
    assert inspect_target(pg.server(), "none")["free_bytes"] > 0


STARTED = "extract(epoch FROM pg_postmaster_start_time())::float"
