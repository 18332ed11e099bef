"""Roles with the rights that docs/privileges.md names, and not one more, do all that there is; each right that is missing is named."""
from __future__ import annotations

import os
import shutil

import pytest
from psycopg2 import sql

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server
from tests.integration.restore_kit import content
from tests.lab import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.fault(37, "modest")]
KEEPER, RESTORER, WORD = "keeper", "restorer", "nobody's-secret"
PAGE = (ROOT / "docs" / "privileges.md").read_text(encoding="utf-8")
# Statement that takes a right away: what the error must say, and what to type next.
OF_RESTORES = {
    "ALTER ROLE restorer NOCREATEDB": ("may not create databases", "ALTER ROLE restorer CREATEDB"),
    "REVOKE letta FROM restorer": ("cannot be read as restorer: permission denied", "GRANT letta TO restorer"),
    "ALTER ROLE restorer RESET extension_control_path": ("may not create extension vector", "superuser, or mark the extension trusted"),
}


def trusted_vector(pg):
    """Return a folder in which the server finds pgvector's own files, marked as trusted: what many hosted servers have."""
    if pg.execute("SHOW server_version_num") < [("180000",)]:
        pytest.skip("PostgreSQL before 18 has no extension_control_path to show another control file by")
    (source,) = [path.parent for path in pg.bin_dir.parent.rglob("vector.control")]
    folder = pg.home / "trusted"
    shutil.copytree(source, folder / "extension", ignore=lambda _dir, names: [one for one in names if not one.startswith("vector")])
    with open(folder / "extension" / "vector.control", "a", encoding="ascii") as control:
        control.write("trusted = true\n")
    for path in [folder, *folder.rglob("*")]:
        os.chmod(path, 0o755)
    return folder


@pytest.fixture(scope="module")
def roles(pg):
    """Both roles, made by the statements of the page."""
    folder = trusted_vector(pg)
    for name in (KEEPER, RESTORER):
        pg.ensure_role(name, WORD)
    for line in PAGE.splitlines():
        if line.startswith(("    GRANT ", "    ALTER ROLE ")):
            pg.execute(line.strip())
    pg.execute(sql.SQL("ALTER ROLE restorer SET extension_control_path = {}").format(sql.Literal("%s:$system" % folder)))
    yield
    for name in (KEEPER, RESTORER):
        pg.execute("DROP OWNED BY %s" % name)
        pg.execute("DROP ROLE %s" % name)
    shutil.rmtree(folder)


@pytest.fixture
def world(make_world, roles):
    world = make_world()
    world.variables.update(letta_db_admin_user=RESTORER, letta_db_admin_password=WORD)
    return world


def kept(world):
    """Take a set as the role for backups."""
    server = Server("127.0.0.1", world.pg.port, KEEPER, WORD, world.database, sslmode="disable")
    return take.take_backup(take.BackupOptions(server=server, root=world.root, bin_dir=world.bin_dir, jobs=1))


def test_with_these_rights_a_set_is_taken_restored_proven_taken_back_and_restored_again(world):
    kept(world)
    saved = content(world.fingerprint())
    world.sql("DELETE FROM letta.messages")
    lost = content(world.fingerprint())
    played = world.play("restore-full.yml").ok()
    assert {row["digest"] for row in played.report["tables"]} == {"equal"}
    assert content(world.fingerprint()) == saved
    world.play("rollback.yml").ok()
    assert content(world.fingerprint()) == lost
    world.play("restore-full.yml").ok()
    assert content(world.fingerprint()) == saved
    world.play("validate.yml").ok()


@pytest.mark.parametrize("taken", OF_RESTORES, ids=["createdb", "member", "extension"])
def test_a_right_that_is_missing_for_a_restore_is_named_before_anything_is_done(world, taken):
    kept(world)
    before = world.fingerprint()
    given = world.pg.execute("SELECT setconfig FROM pg_db_role_setting WHERE setrole = 'restorer'::regrole")
    try:
        world.pg.execute(taken)
        report = world.play("restore-full.yml").refused("preflight").report
    finally:
        world.pg.execute("ALTER ROLE restorer CREATEDB")
        world.pg.execute("GRANT letta TO restorer")
        path = given[0][0][0].split("=", 1)[1]
        world.pg.execute(sql.SQL("ALTER ROLE restorer SET extension_control_path = {}").format(sql.Literal(path)))
    told, next_step = OF_RESTORES[taken]
    assert told in report["message"]
    assert next_step in report["next_step"]
    assert world.fingerprint() == before
    assert world.leftovers() == []


def test_a_right_that_is_missing_for_a_backup_is_named_and_no_set_is_left(world):
    world.pg.execute("REVOKE pg_read_all_data FROM keeper")
    try:
        with pytest.raises(RecoveryError) as refusal:
            kept(world)
    finally:
        world.pg.execute("GRANT pg_read_all_data TO keeper")
    assert refusal.value.failure_class == "preflight"
    assert "GRANT pg_read_all_data TO keeper" in refusal.value.next_step
    assert not [name for name in os.listdir(world.root) if not name.startswith(".")]
