"""A set goes to a newer release of PostgreSQL and is proven equal there, never back; newer client tools serve an older server."""
from __future__ import annotations

import os
import re
import secrets

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import load, rowsums
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.archive import open_archive
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import find_tools
from tests.integration import restore_kit
from tests.integration.restore_kit import ADMIN, ADMIN_PASSWORD, PASSWORD, World, content
from tests.lab import servers
from tests.lab.postgres import EmbeddedPostgres

# On PostgreSQL 16 an older one still, which is not everywhere to be had.
OLD = "16" if int(servers.chosen(servers.POSTGRES)) > 16 else "15"


@pytest.fixture(scope="module")
def old_pg(tmp_path_factory):
    """An older PostgreSQL, with Letta's schema and a few hundred rows in ``letta_shape``."""
    try:
        server = EmbeddedPostgres(tmp_path_factory.mktemp("old-pg"), fsync=False, release=OLD)
    except RuntimeError as exc:
        pytest.skip("PostgreSQL %s cannot be had here: %s" % (OLD, exc))
    try:
        server.start()
        letta = server.create_letta_database("letta_shape", password=PASSWORD, schema="letta")
        restore_kit.install_schema(letta)
        restore_kit.fill(letta)
        server.execute("CREATE ROLE %s SUPERUSER LOGIN PASSWORD $pw$%s$pw$" % (ADMIN, ADMIN_PASSWORD))
        yield server
    finally:
        server.destroy()


@pytest.fixture
def old_world(old_pg, tmp_path):
    """A target on the older PostgreSQL, with its client tools; gone after the test."""
    world = World(old_pg, "lr_%s" % secrets.token_hex(4), tmp_path / "old")
    os.makedirs(world.root, 0o700)
    old_pg.clone_database(world.database, "letta_shape", password=PASSWORD)
    yield world
    for name in world.databases():
        old_pg.drop_database(name)


def newer(make_world):
    """A target on the tests' own server, which is newer."""
    world = make_world()
    if servers.chosen(servers.POSTGRES) == OLD:
        pytest.skip("the tests run on PostgreSQL %s: there is no newer one beside it" % OLD)
    return world


def saved(world):
    """What a restore on whatever release brings back: everything but the facts of the server itself."""
    found = content(world.fingerprint())
    facts = {name: value for name, value in found["facts"].items() if name in ("owner", "encoding", "collate", "ctype", "comment", "acl")}
    return {**found, "facts": facts}


def taken(world, bin_dir):
    """Take a set of this target with these client tools; returns its manifest."""
    return take.take_backup(take.BackupOptions(server=world.live, root=world.root, bin_dir=bin_dir, jobs=1))


def test_both_releases_hash_alike_so_one_proves_what_the_other_saved(pg, old_pg):
    for server in (pg, old_pg):
        assert query(server.server(), rowsums.PROBE) == [(rowsums.PROBE_ANSWER,)]


@pytest.mark.slow
def test_a_set_of_an_older_release_is_restored_into_a_newer_one_and_proven_equal(old_world, make_world):
    world, before = newer(make_world), saved(old_world)
    manifest = old_world.backup()
    assert manifest["postgresql"]["server_version"].startswith(OLD + ".") and manifest["postgresql"]["dump_version"].startswith(OLD + ".")
    assert rowsums.form_of(manifest["tables"]) == rowsums.ROW
    world.copy_set(os.path.join(old_world.root, manifest["id"]))
    restore_kit.add_writes(world.live)
    done = world.play("restore-full.yml").ok()
    assert saved(world) == before
    assert {table["digest"] for table in done.report["tables"]} == {"equal"}


@pytest.mark.fault(13, "server")
@pytest.mark.slow
@pytest.mark.parametrize(("tools", "failure_class", "words"), [
    ("old", "preflight", "needs pg_restore of PostgreSQL 1[678] or newer"), ("new", "schema", "PostgreSQL restores forward only"),
])  # fmt: skip
def test_a_set_of_a_newer_release_is_refused_before_anything_is_touched(old_world, make_world, tools, failure_class, words):
    world = newer(make_world)
    old_world.copy_set(os.path.join(world.root, world.backup()["id"]))
    before = old_world.fingerprint()
    old_world.variables["letta_pg_bin_dir"] = (old_world if tools == "old" else world).bin_dir
    told = old_world.play("restore-full.yml").refused(failure_class)
    assert re.search(words, told.report["message"])
    assert old_world.fingerprint() == before and old_world.leftovers() == []


@pytest.mark.fault(13, "ahead")
@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 3])
def test_tools_newer_than_the_server_back_it_up_and_restore_it(old_world, make_world, jobs):
    """pg_restore 17 and newer sets transaction_timeout, which PostgreSQL 16 does not know."""
    tools = newer(make_world).bin_dir
    before = saved(old_world)
    manifest = taken(old_world, tools)
    assert not manifest["postgresql"]["dump_version"].startswith(OLD + ".")
    restore_kit.add_writes(old_world.live)
    old_world.variables.update(letta_pg_bin_dir=tools, letta_restore_jobs=jobs)
    old_world.play("restore-full.yml").ok()
    assert saved(old_world) == before


@pytest.mark.fault(13, "ahead")
def test_whatever_else_fails_there_fails_the_load_with_its_own_words(old_pg, old_world, make_world):
    tools = find_tools(newer(make_world).bin_dir)
    archive = os.path.join(old_world.root, taken(old_world, tools.bin_dir)["id"], "database")
    side = old_pg.create_letta_database(old_world.database + "_side", password=PASSWORD, schema="letta")
    query(side, "CREATE TABLE agents ()")
    with pytest.raises(RecoveryError, match='"agents" already exists') as failure:
        load.load_archive(old_world.admin, side.dbname, open_archive(archive, tools), tools, "letta")
    assert failure.value.failure_class == "load_failed" and "transaction_timeout" not in failure.value.message
