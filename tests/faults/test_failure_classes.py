"""Every failure ends with its class, a sentence that is true, and live data as it was.

Each fault is one function: it breaks something in a sound world and may return variables for the run. The decorator names the class
and what the failure must say. Whatever else a person relies on is checked for all of them alike, by ``test_a_fault_...`` below.
"""
from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import adopt
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.trust import Seal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.dump import dump_directory
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import find_tools
from tests.faults import kit
from tests.integration import restore_kit
from tests.integration.restore_kit import HEAD, PASSWORD, add_writes
from tests.lab import places
from tests.lab.letta_cipher import encrypt

pytestmark = pytest.mark.slow

RESTORE = "restore-full.yml"
CHAIN_BEFORE_HEAD = "ddb69be34a72"  # the head of Letta 0.11.7
FAULTS = {}


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    name: str
    failure_class: str
    says: tuple
    strike: object
    status: str = "failed"
    keeps: str = ""  # part of the names of databases that may stay
    resumable: bool = False  # the journal stays open on purpose
    family: tuple = ()  # number and case in families.yml


def fault(failure_class, *says, **more):
    """Register a fault under its function's name."""

    def register(function):
        FAULTS[function.__name__] = Fault(function.__name__, failure_class, says, function, **more)
        return function

    return register


def by_id(world):
    return {"letta_backup_id": kit.only_set(world).name}


# -- the store and its sets ---------------------------------------------------------------------------------------


@fault("no_usable_backup", "holds no backup set", "take a backup")
def the_store_is_empty(world):
    shutil.rmtree(kit.only_set(world))


@fault("no_usable_backup", "no backup set lb-20200101T000000Z-abcdef", "letta_backup_id=lb-")
def the_set_id_is_unknown(world):
    return {"letta_backup_id": "lb-20200101T000000Z-abcdef"}


@fault("preflight", "cannot be read", "No such file or directory", "letta_backup_root")
def the_store_is_not_there(world):
    return {"letta_backup_root": str(world.folder / "nowhere")}


@fault("preflight", "cannot be read", "Not a directory", "letta_backup_root")
def the_store_is_a_file(world):
    (world.folder / "file").write_text("no store")
    return {"letta_backup_root": str(world.folder / "file")}


@fault("preflight", "cannot be read", "letta_backup_root")
def the_store_is_a_dangling_link(world):
    (world.folder / "link").symlink_to(world.folder / "nowhere")
    return {"letta_backup_root": str(world.folder / "link")}


@fault("backup_corrupt", r"database/\S+ does not match its checksum \(byte range 0-\d+\)", family=(1, "dump"))
def one_bit_is_flipped_in_the_dump(world):
    kit.flip(kit.largest_member(kit.only_set(world)))
    return by_id(world)


@fault("no_usable_backup", r"database/\S+ does not match its checksum", family=(6,))
def one_bit_is_flipped_in_the_only_set_of_latest(world):
    kit.flip(kit.largest_member(kit.only_set(world)))


@fault("backup_corrupt", r"volumes/memory\.tar\.gz does not match its checksum", family=(1, "volume"))
def one_bit_is_flipped_in_the_archive_of_a_volume(world):
    shutil.rmtree(kit.only_set(world))
    (world.folder / "memory").mkdir()
    (world.folder / "memory" / "note.md").write_bytes(os.urandom(4000))
    world.backup(volumes=({"name": "memory", "path": str(world.folder / "memory")},))
    kit.flip(kit.only_set(world) / "volumes" / "memory.tar.gz")
    return by_id(world)


def signed(world, by="ours"):
    """Sign the one set by a key; returns what makes the run ask for a signature of ``ours``."""
    for name in ("ours", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(world.folder / name)], check=True)
    manifest = kit.only_set(world) / "manifest.json"
    argv = ["ssh-keygen", "-Y", "sign", "-n", "letta_ops.recovery", "-f", str(world.folder / by), str(manifest)]
    subprocess.run(argv, check=True, capture_output=True)
    return {"letta_backup_allowed_signers": "ops " + (world.folder / "ours.pub").read_text()}


@fault("no_usable_backup", r"it was signed by a stranger: ED25519 key SHA256:\S+ is not in letta_backup_allowed_signers",
       family=(3, "stranger"))
def the_only_set_is_signed_by_a_stranger(world):
    return signed(world, "stranger")


@fault("key_mismatch", "is encrypted: the identity given opens nothing", "letta_backup_identity")
def the_identity_is_another(world):
    shutil.rmtree(kit.only_set(world))
    scratch = world.folder / "scratch"
    scratch.mkdir()
    world.backup(seal=Seal(recipients=(str(pyrage.x25519.Identity.generate().to_public()),), scratch_dir=str(scratch)))
    (world.folder / "identity").write_text(str(pyrage.x25519.Identity.generate()))
    return dict(signed(world), letta_backup_identity=str(world.folder / "identity"), letta_scratch_dir=str(scratch))


@fault("backup_corrupt", r"database/\S+ has \d+ bytes instead of \d+", family=(2, "cut"))
def the_dump_is_cut(world):
    kit.cut(kit.largest_member(kit.only_set(world)))
    return by_id(world)


def member_of(world, table):
    """Return the file with the rows of a table."""
    from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.archive import open_archive

    folder = kit.only_set(world) / "database"
    archive = open_archive(str(folder), find_tools(world.bin_dir))
    (entry,) = [item for item in archive.data_entries() if item.name == table]
    return next(path for path in folder.glob(entry.file + "*"))


@fault("load_failed", "pg_restore stopped at its first error", family=(2, "rebuilt"))
def the_dump_is_cut_and_its_manifest_rebuilt(world):
    kit.cut(member_of(world, "messages"))
    kit.reseal(kit.only_set(world))


@fault("verify_failed", "tables differ: letta.messages", keeps="__restore_", family=(2, "rebuilt"))
def rows_are_missing_and_the_manifest_is_rebuilt_over_the_files(world):
    import gzip

    path = member_of(world, "messages")
    lines = gzip.decompress(path.read_bytes()).split(b"\n")
    path.write_bytes(gzip.compress(b"\n".join(lines[7:])))
    kit.reseal(kit.only_set(world))


@fault("backup_corrupt", "toc.dat|table of contents", family=(2, "rebuilt"))
def the_table_of_contents_is_cut_and_the_manifest_rebuilt(world):
    kit.cut(kit.only_set(world) / "database" / "toc.dat")
    kit.reseal(kit.only_set(world))


@fault("backup_corrupt", "manifest.json was edited", family=(3, "edited"))
def the_manifest_is_edited(world):
    manifest = kit.read_manifest(kit.only_set(world))
    kit.write_manifest(kit.only_set(world), dict(manifest, taken_at="2026-01-01T00:00:00Z"))
    return by_id(world)


@fault("backup_corrupt", "manifest format 3 was written by a newer release", family=(3, "format"))
def the_manifest_is_of_a_later_format(world):
    kit.write_manifest(kit.only_set(world), dict(kit.read_manifest(kit.only_set(world)), format=3))
    return by_id(world)


@fault("backup_corrupt", "manifest.json names no format", family=(3, "format"))
def the_manifest_names_no_format(world):
    manifest = kit.read_manifest(kit.only_set(world))
    manifest.pop("format")
    kit.write_manifest(kit.only_set(world), manifest)
    return by_id(world)


@fault("backup_corrupt", "no manifest.json", family=(3, "missing"))
def the_manifest_is_missing(world):
    (kit.only_set(world) / "manifest.json").unlink()
    return by_id(world)


@fault("backup_corrupt", "is cut or is no JSON", family=(3, "cut"))
def the_manifest_is_cut(world):
    kit.cut(kit.only_set(world) / "manifest.json")
    return by_id(world)


@fault("backup_corrupt", "the folder is named lb-20260101T000000Z-aaaaaa but holds the set lb-", family=(3, "label"))
def the_folder_of_a_set_is_renamed(world):
    found = kit.only_set(world)
    found.rename(found.with_name("lb-20260101T000000Z-aaaaaa"))
    return by_id(world)


@fault("backup_corrupt", r"database/\S+ is listed in the manifest but absent", family=(4, "absent"))
def a_listed_file_is_absent(world):
    kit.largest_member(kit.only_set(world)).unlink()
    return by_id(world)


# -- the server and the role ---------------------------------------------------------------------------------------


@fault("preflight", r"has \S+ \w+ free, the side database needs", "in_place", family=(18, "load"))
def the_disk_is_too_small(world):
    kit.reseal(kit.only_set(world), database={"size_bytes": 1 << 60})


@fault("preflight", "password authentication failed", "letta_db_admin_password|letta_db_admin_\\*")
def the_password_is_wrong(world):
    return {"letta_db_admin_password": "not the password"}


@fault("preflight", "cannot connect", "letta_db_host")
def nobody_listens_at_the_port(world):
    return {"letta_db_port": 1}


@fault("preflight", "may not create databases", "ALTER ROLE modest CREATEDB", family=(37, "createdb"))
def the_role_may_not_create_databases(world):
    world.pg.ensure_role("modest", "no-secret-of-anybody")
    world.pg.execute("GRANT letta TO modest")
    return {"letta_db_admin_user": "modest", "letta_db_admin_password": "no-secret-of-anybody"}


@fault("preflight", "role nobody_here does not exist", "CREATE ROLE nobody_here")
def the_role_of_letta_does_not_exist(world):
    return {"letta_db_user": "nobody_here"}


@fault("schema", "the dump was taken from PostgreSQL 99", "forward only", "PostgreSQL 99 or newer", family=(13, "server"))
def the_server_is_older_than_the_dump(world):
    kit.reseal(kit.only_set(world), postgresql={"server_version_num": 990001, "server_version": "99.1"})


@fault("schema", "extension vector is not installed on the server", "pgvector", family=(14, "missing"))
def pgvector_is_missing(world):
    if world.pg.execute("SHOW server_version_num") < [("180000",)]:
        pytest.skip("PostgreSQL before 18 has no extension_control_path to hide pgvector by")
    # The server looks for extensions where this setting says: this role's sessions find no pgvector, as on a server without it.
    world.pg.execute("DROP ROLE IF EXISTS no_vector")
    world.pg.execute("CREATE ROLE no_vector SUPERUSER LOGIN PASSWORD 'no-secret-of-anybody'")
    world.pg.execute("ALTER ROLE no_vector SET extension_control_path = '/nonexistent'")
    return {"letta_db_admin_user": "no_vector", "letta_db_admin_password": "no-secret-of-anybody"}


@fault("key_mismatch", "letta_encryption_key is not the key", "LETTA_ENCRYPTION_KEY", family=(26, "wrong"))
def the_encryption_key_is_another(world):
    shutil.rmtree(kit.only_set(world))
    world.backup(encryption_key="the key of then")
    return {"letta_encryption_key": "the key of now"}


@fault("key_mismatch", r"1 of 2 encrypted values", r"providers\.api_key_enc 1 open, 1 do not", "LETTA_ENCRYPTION_KEY", family=(26, "half"))
def half_the_secrets_are_under_another_key(world):
    shutil.rmtree(kit.only_set(world))
    for key in ("the key of then", "the key of now"):
        row = (key, key, encrypt("a secret", key))
        columns = "id, name, organization_id, api_key_enc"
        world.sql("INSERT INTO letta.providers (%s) SELECT %%s, %%s, id, %%s FROM letta.organizations" % columns, row)
    world.backup(encryption_key="the key of now")
    return {"letta_encryption_key": "the key of now"}


@fault("usage", "'elsewhere/letta'", "letta_confirm=db1/")
def the_confirmation_names_another_target(world):
    return {"letta_confirm": "elsewhere/letta"}


# -- the schema of the backup ---------------------------------------------------------------------------------------


def backup_of_revision(world, *revisions, letta_version=None):
    """Take a backup while ``alembic_version`` holds other revisions than it should; live is put right again."""
    shutil.rmtree(kit.only_set(world))
    world.sql("DELETE FROM letta.alembic_version")
    for revision in revisions:
        world.sql("INSERT INTO letta.alembic_version VALUES (%s)", (revision,))
    world.backup()
    world.sql("DELETE FROM letta.alembic_version")
    world.sql("INSERT INTO letta.alembic_version VALUES (%s)", (HEAD,))
    return {"letta_version": letta_version} if letta_version else None


@fault("schema", "is older than the release that will run: 50 migrations", "letta_version=0.11.7", family=(15, "older"))
def the_backup_is_of_an_older_release(world):
    return backup_of_revision(world, CHAIN_BEFORE_HEAD)


@fault("schema", "is newer", "a schema is never taken back", family=(15, "newer"))
def the_backup_is_of_a_newer_release(world):
    return {"letta_version": "0.11.7"}


@fault("schema", "revision deadbeef0000, which no Letta release", "choose another set", family=(15, "unknown"))
def the_revision_of_the_backup_is_unknown(world):
    return backup_of_revision(world, "deadbeef0000")


@fault("schema", "more than one Alembic revision", CHAIN_BEFORE_HEAD, family=(15, "heads"))
def the_backup_has_two_heads(world):
    return backup_of_revision(world, HEAD, CHAIN_BEFORE_HEAD)


@fault("schema", "empty alembic_version", family=(15, "empty"))
def the_backup_has_an_empty_alembic_version(world):
    return backup_of_revision(world)


# -- code in the dump ------------------------------------------------------------------------------------------------


def canary(world):
    """Return a file that only the server's user could write, into a folder where that user may."""
    folder = Path("/tmp") / ("canary-%s" % secrets.token_hex(4))
    folder.mkdir()
    folder.chmod(0o777)
    world.canaries = [folder / "sang"]
    return folder / "sang"


def sing(path):
    return "BEGIN COPY (SELECT 1) TO '%s'; RETURN NULL; END" % path


def plant(world, *statements):
    """Take a backup of a live database that holds more than Letta made, then remove that again."""
    shutil.rmtree(kit.only_set(world))
    for statement in statements:
        world.sql(statement)
    world.backup()


@fault("backup_corrupt", r"FUNCTION letta\.evil\(\)", "runs no code that came in a dump", family=(11, "function"))
def the_dump_holds_a_function(world):
    plant(world, "CREATE FUNCTION letta.evil() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    return by_id(world)


@fault("backup_corrupt", r"TRIGGER letta\.messages evil", r"FUNCTION letta\.evil\(\)", family=(11, "event-trigger"))
def the_dump_holds_a_trigger(world):
    body = sing(canary(world))
    plant(
        world,
        "CREATE FUNCTION letta.evil() RETURNS trigger LANGUAGE plpgsql AS $f$ %s $f$" % body,
        "CREATE TRIGGER evil AFTER INSERT ON letta.messages EXECUTE FUNCTION letta.evil()",
    )
    return by_id(world)


@fault("backup_corrupt", r"EVENT TRIGGER evil_event", r"FUNCTION letta\.evil\(\)", family=(11, "event-trigger"))
def the_dump_holds_an_event_trigger(world):
    body = sing(canary(world)).replace("RETURN NULL; ", "")
    plant(
        world,
        "CREATE FUNCTION letta.evil() RETURNS event_trigger LANGUAGE plpgsql AS $f$ %s $f$" % body,
        "CREATE EVENT TRIGGER evil_event ON ddl_command_end EXECUTE FUNCTION letta.evil()",
    )
    world.sql("DROP EVENT TRIGGER evil_event")
    for path in world.canaries:
        path.unlink(missing_ok=True)
    return by_id(world)


# -- the cutover ----------------------------------------------------------------------------------------------------


@fault("swap_rolled_back", r"1 session\(s\) do not leave", "letta from 127.0.0.1", "old-worker", "letta_foreign_sessions=terminate",
       keeps="__restore_", resumable=True, family=(23, "stays"))
def a_foreign_session_will_not_go(world):
    from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server

    owner = Server("127.0.0.1", world.pg.port, world.owner, PASSWORD, world.database, sslmode="disable")
    world.stays = kit.session(world, user=owner).__enter__()
    return {"letta_session_timeout": 1}


@fault("preflight", "the service will not stop", "still says it runs", "letta_service_stop_timeout", keeps="__restore_", resumable=True,
       family=(24, "stop"))
def the_service_will_not_stop(world):
    world.service.misbehave("stubborn")


@fault("swap_rolled_back", "the service is not up", "cannot work with database", status="rolled_back", keeps="__restore_",
       family=(24, "start"))
def the_service_will_not_start_on_the_restored_database(world):
    world.service.misbehave("only", str(world.databases()[world.database]))


@fault("manual_help_needed", "the service is not up", "the service is broken", status="rolled_back", keeps="__restore_",
       family=(24, "start"))
def the_service_will_not_start_at_all(world):
    world.service.misbehave("broken")


@fault("backup_corrupt", "SETTING session_preload_libraries", "runs no code that came in a dump", family=(11, "setting"))
def the_database_settings_of_the_set_load_a_library(world):
    settings = [{"role": None, "name": "session_preload_libraries", "value": "/tmp/evil.so"}]
    kit.reseal(kit.only_set(world), database={"settings": settings})
    return by_id(world)


@fault("backup_corrupt", "EXTENSION plperlu", family=(11, "extension"))
def the_manifest_asks_for_another_extension(world):
    extensions = kit.read_manifest(kit.only_set(world))["database"]["extensions"]
    kit.reseal(kit.only_set(world), database={"extensions": [*extensions, {"name": "plperlu", "version": "1", "schema": "letta"}]})
    return by_id(world)


@fault("backup_corrupt", "lists the unsafe path", family=(12, "manifest"))
def the_manifest_names_an_archive_outside_the_set(world):
    found = kit.only_set(world)
    shutil.copytree(found / "database", world.folder / "elsewhere")
    archive = kit.read_manifest(found)["database"]["archive"]
    with pytest.raises(RecoveryError):  # it reads what it wrote
        kit.reseal(found, database={"archive": dict(archive, path="../../elsewhere")})
    return by_id(world)


PUT_BACK = "the_service_will_not_start_on_the_restored_database"


def with_redis(world, server):
    """Give the world a Redis with one key of Letta's and one of somebody else."""
    client = server.client(db=8)
    client.flushdb()
    client.mset({"sse:run:run-6a0ff4d6-6f9e-4f0c-8d0b-1d4b8a3c2e11": "x", "sse:run:mine": "x"})
    client.close()
    world.variables.update(
        letta_redis_host=server.host, letta_redis_port=server.port, letta_redis_password=server.password, letta_redis_database=8
    )


@pytest.fixture
def struck(request, world):
    """A world after one fault struck: (world, fault, fingerprint of live before the run)."""
    what = FAULTS[request.param]
    world.service, world.stays, world.canaries = None, None, []
    if what.name.startswith("the_service_"):
        world.service = kit.Service(world, PASSWORD)
        assert world.service.run("start") == 0
    if what.name == PUT_BACK:
        with_redis(world, request.getfixturevalue("redis_server"))
    world.variables.update(what.strike(world) or {})
    yield world, what, world.fingerprint()
    if world.stays is not None:
        world.stays.close()
    if world.service is not None:
        world.service.close()
    for path in world.canaries:
        shutil.rmtree(path.parent)


def marked(name):
    """The name of a fault, with the family it shows."""
    family = FAULTS[name].family
    return pytest.param(name, marks=[pytest.mark.fault(*family)] if family else [])


@pytest.mark.parametrize("struck", [marked(name) for name in sorted(FAULTS)], indirect=True)
def test_a_fault_ends_with_its_class_a_true_sentence_and_live_as_it_was(struck):
    world, what, before = struck
    played = world.play(RESTORE, confirm="letta_confirm" not in world.variables).refused(what.failure_class)
    report, out = played.report, played.output
    fail, now, following = (kit.said(out, label) for label in ("FAIL", "NOW", "NEXT"))

    assert report["status"] == what.status, out[-3000:]
    assert fail.startswith(what.failure_class + " · "), out[-3000:]
    assert now, out[-3000:]
    assert following, out[-3000:]
    assert (report["now"], report["next_step"]) == (now, following)
    for text in what.says:
        assert re.search(text, " ".join((fail, following))), (text, fail, following)
    assert "Traceback" not in out
    assert "unforeseen" not in fail

    calls = world.service.calls[1:] if world.service else []
    assert world.fingerprint() == before
    assert kit.untrue_claims(world, before, now, calls) == []
    assert unexpected(world, what) == []
    assert [str(path) for path in world.canaries if path.exists()] == []
    if world.service is not None and what.name != "the_service_will_not_start_at_all":
        assert world.service.serving == before["oid"], "Letta serves the old database again"
    if what.name == PUT_BACK:
        dropped = {"dropped": 0, "kept": 1}  # aligned before the start that failed, and once more before the old database was served
        assert report["redis"] == dropped


def unexpected(world, what):
    """Return what is left that neither the fault nor its NOW explains."""
    kept = {name for name in world.databases() if what.keeps and what.keeps in name}
    found = world.leftovers(kept)
    if what.resumable:
        assert any(item.startswith("unfinished journal") for item in found), found
        found = [item for item in found if not item.startswith("unfinished journal")]
    return found


@pytest.mark.fault(15, "table")
def test_a_database_without_alembic_version_becomes_no_set(world):
    world.sql("DROP TABLE letta.alembic_version")
    before = sorted(os.listdir(world.root))
    with pytest.raises(RecoveryError) as refused:
        world.backup()
    assert refused.value.failure_class == "schema"
    assert "no table alembic_version" in refused.value.message
    tools = find_tools(world.bin_dir)
    dump_directory(world.live, str(world.folder / "dump"), tools, 1, "gzip:1")
    with pytest.raises(RecoveryError) as refused:
        adopt.adopt_dump(adopt.AdoptOptions(dump=str(world.folder / "dump"), root=world.root, bin_dir=world.bin_dir))
    assert refused.value.failure_class == "schema"
    assert "no table alembic_version" in refused.value.message
    assert sorted(os.listdir(world.root)) == before


def without_privilege(folder):
    """Return the path of an ansible-playbook for which the rights of files count although root starts it."""
    if shutil.which("setpriv") is None:
        pytest.skip("root reads everything, and there is no setpriv to take that from it")
    program, taken = folder / "unprivileged", "-dac_override,-dac_read_search"
    argv = "setpriv --bounding-set=%s --inh-caps=%s %s" % (taken, taken, shlex.quote(restore_kit.ANSIBLE_PLAYBOOK))
    program.write_text('#!/bin/sh\nexec %s "$@"\n' % argv)
    program.chmod(0o755)
    return str(program)


@pytest.mark.fault(5, "refused")
def test_a_store_that_may_not_be_read_is_named(world, monkeypatch):
    if os.geteuid() == 0:
        monkeypatch.setattr(restore_kit, "ANSIBLE_PLAYBOOK", without_privilege(world.folder))
    os.chmod(world.root, 0)
    try:
        before = world.fingerprint()
        played = world.play(RESTORE).refused("preflight")
        assert "Permission denied" in played.output
        assert world.fingerprint() == before
    finally:
        os.chmod(world.root, 0o700)


@pytest.mark.fault(4, "unlisted")
def test_a_file_nobody_listed_is_a_warning_and_the_restore_goes_on(world):
    (kit.only_set(world) / "stray.txt").write_text("who put this here?")
    played = world.play(RESTORE).ok()
    assert played.report["status"] == "succeeded"
    assert any("stray.txt" in warning for warning in played.report["warnings"]), played.report["warnings"]


@pytest.mark.fault(1, "next")
def test_latest_passes_over_a_damaged_set_and_says_so(world):
    older, newer = sorted(world.backup()["id"] for _set in range(2))
    kit.flip(kit.largest_member(Path(world.root) / newer))
    played = world.play(RESTORE, "--check")
    assert played.rc == 0, played.output[-3000:]
    assert "restore %s" % older in played.output
    assert re.search(r"%s: database/\S+ does not match its checksum \(byte range 0-\d+\)" % newer, kit.said(played.output, "REJECT"))


@pytest.mark.fault(11, "event-trigger")
def test_a_trigger_of_a_dump_would_sing_if_it_were_loaded(world):
    # The other half of the proof that nothing ran: this canary can sing.
    path = canary(world)
    try:
        world.sql("CREATE FUNCTION letta.evil() RETURNS trigger LANGUAGE plpgsql AS $f$ %s $f$" % sing(path))
        world.sql("CREATE TRIGGER evil AFTER INSERT ON letta.messages EXECUTE FUNCTION letta.evil()")
        add_writes(world.live)
        assert path.exists()
    finally:
        shutil.rmtree(path.parent)


@pytest.mark.fault(23, "stays")
def test_after_a_foreign_session_the_next_run_ends_it_and_goes_on_at_the_cutover(world):
    with kit.session(world):
        played = world.play(RESTORE, "-e", "letta_session_timeout=1").refused("swap_rolled_back")
        assert len(kit.databases_named(world, played.report["now"])) == 1
        again = world.play(RESTORE, "-e", "letta_foreign_sessions=terminate", "-e", "letta_session_timeout=3").ok()
    assert "Load and prove the side database" not in again.output
    assert again.rc == 0
    report = kit.latest_report(world)
    assert (report["status"], report["run_id"]) == ("succeeded", played.report["run_id"])
    assert world.leftovers(world.kept_names()) == []


@pytest.mark.fault(19, "postgres")
def test_a_server_that_goes_away_during_the_cutover_is_told_and_the_next_run_goes_on(world):
    with kit.session(world):
        first = world.start_play(RESTORE, "-e", "letta_session_timeout=120")
        assert places.wait_for(lambda: any(item.state("cutover.drain") for item in world.journals()), 90), first.poll()
        world.pg.stop()
        output, _nothing = first.communicate(timeout=120)
    world.pg.start()
    report = kit.latest_report(world)
    assert first.returncode != 0
    assert report["failure_class"] == "manual_help_needed"
    assert kit.said(output, "NOW").startswith("not known: what was begun could not be put right")
    assert "run the same command again" in kit.said(output, "NEXT")
    again = world.play(RESTORE).ok()
    assert "Load and prove the side database" not in again.output
    assert kit.latest_report(world)["status"] == "succeeded"
    assert kit.latest_report(world)["run_id"] == report["run_id"]
    assert world.leftovers(world.kept_names()) == []
