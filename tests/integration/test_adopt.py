"""Dumps this project never saw become sets, in every form; what could run code is refused and runs none."""
from __future__ import annotations

import json
import os
import tarfile

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import adopt, verify
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.digest import digest_database
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import find_tools, run_tool
from tests.integration.restore_kit import HEAD, PASSWORD

FORMS = {
    "custom": ["-Fc"],
    "custom-uncompressed": ["-Fc", "-Z0"],
    "directory-gzip": ["-Fd", "-j2"],
    "directory-none": ["-Fd", "-Z0"],
    "directory-zstd": ["-Fd", "-Zzstd"],
    "directory-lz4": ["-Fd", "-Zlz4"],
    "tar": ["-Ft"],
    "plain": ["-Fp"],
}


@pytest.fixture(scope="module")
def source(pg, letta_shape):
    """A Letta database and its digests, the same for all tests here."""
    server = pg.clone_database("adopt_source", letta_shape, password=PASSWORD)
    yield server
    pg.drop_database("adopt_source")


@pytest.fixture(scope="module")
def expected(source):
    return {name: {"rows": one.rows, "digest": one.digest} for name, one in digest_database(source).items()}


@pytest.fixture
def dump(pg, source, tmp_path, request):
    def make(form="custom", database=None):
        rich = form.endswith(("zstd", "lz4"))
        tools = find_tools(request.getfixturevalue("rich_bin_dir") if rich else str(pg.bin_dir))
        target = str(tmp_path / ("dump-" + form))
        server = pg.server(dbname=database) if database else source
        run_tool([tools.path("pg_dump"), *FORMS[form], "-f", target], server)
        return target

    return make


@pytest.fixture
def options(sound_bin_dir, tmp_path):
    def make(path, **changes):
        return adopt.AdoptOptions(**dict({"dump": path, "root": str(tmp_path / "store"), "bin_dir": sound_bin_dir}, **changes))

    return make


def databases_and_roles(pg):
    return pg.execute("SELECT datname FROM pg_database WHERE datname LIKE 'letta\\_adopt\\_%' UNION ALL"
                      " SELECT rolname FROM pg_roles WHERE rolname LIKE 'letta\\_adopt\\_%'")


def refusal(options):
    with pytest.raises(RecoveryError) as caught:
        adopt.adopt_dump(options)
    assert not os.path.isdir(options.root) or os.listdir(options.root) == []
    return caught.value


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_dump_of_each_form_becomes_a_set_equal_to_the_database_it_came_from(form, dump, options, expected, pg, tmp_path, request):
    path, bin_dir = dump(form), None
    extra = {"trust_sql": True, "server": pg.server()} if form == "plain" else {}
    if form.endswith(("zstd", "lz4")):
        extra["bin_dir"] = bin_dir = request.getfixturevalue("rich_bin_dir")
    manifest = adopt.adopt_dump(options(path, **extra))
    assert manifest["tables"] == expected
    assert manifest["kind"] == "adopted"
    assert manifest["letta"]["alembic_revisions"] == [HEAD]
    assert manifest["sequences"] == {"letta.message_seq_id": {"last_value": 300, "is_called": True, "column": "letta.messages.sequence_id"}}
    assert manifest["database"]["settings"] == [{"role": None, "name": "search_path", "value": "letta"}]
    assert manifest["database"]["extensions"] == [{"name": "vector", "version": None, "schema": "letta"}]
    assert len(manifest["agents"]) == 3
    set_dir = str(tmp_path / "store" / manifest["id"])
    assert {finding.status for finding in verify.verify_set(set_dir, verify.tools_for(set_dir, bin_dir))} == {"pass"}
    assert databases_and_roles(pg) == []


def test_redis_file_and_volumes_are_taken_over(dump, options, tmp_path):
    (tmp_path / "old.rdb").write_bytes(b"REDIS0011rest")
    (tmp_path / "a.txt").write_text("text")
    with tarfile.open(tmp_path / "memfs.tgz", "w:gz") as tar:
        tar.add(tmp_path / "a.txt", "a.txt")
    manifest = adopt.adopt_dump(
        options(dump(), redis=str(tmp_path / "old.rdb"), volumes=({"name": "memfs", "path": str(tmp_path / "memfs.tgz")},))
    )
    assert manifest["redis"] == {"path": "redis/dump.rdb", "bytes": 13, "server_version": None}
    assert [(one["archive"], one["files"]) for one in manifest["volumes"]] == [("volumes/memfs.tgz", 1)]


@pytest.mark.fault(8, "up")
def test_a_volume_that_reaches_out_refuses_the_whole_adoption(dump, options, tmp_path):
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(info)
    assert refusal(options(dump(), volumes=({"name": "v", "path": str(tmp_path / "evil.tar")},))).failure_class == "backup_corrupt"


@pytest.mark.fault(11, "function", "event-trigger")
def test_objects_that_carry_code_are_refused_by_name(pg, letta_shape, dump, options, make_database):
    name = make_database("coded").dbname
    pg.drop_database(name)
    pg.clone_database(name, letta_shape, password=PASSWORD)
    pg.execute("CREATE FUNCTION letta.sneak() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'", name)
    pg.execute("CREATE TRIGGER sneaky BEFORE INSERT ON letta.agents FOR EACH ROW EXECUTE FUNCTION letta.sneak()", name)
    error = refusal(options(dump(database=name)))
    assert error.failure_class == "backup_corrupt"
    assert "FUNCTION letta.sneak" in error.message
    assert any(entry.startswith("TRIGGER ") for entry in error.details["refused"])


@pytest.mark.fault(12, "manifest")
def test_a_line_break_in_a_name_refuses_the_archive(pg, letta_shape, dump, options, make_database):
    name = make_database("broken").dbname
    pg.drop_database(name)
    pg.clone_database(name, letta_shape, password=PASSWORD)
    pg.execute('CREATE TABLE letta."x\n\\! touch canary" (a int)', name)
    assert "touch canary" in refusal(options(dump(database=name))).message


@pytest.mark.fault(2, "cut")
@pytest.mark.parametrize("form", ["custom", "tar", "directory-gzip"])
def test_a_truncated_dump_is_refused(form, dump, options):
    path = dump(form)
    members = [os.path.join(path, name) for name in os.listdir(path)] if os.path.isdir(path) else [path]
    largest = max(members, key=os.path.getsize)
    os.truncate(largest, os.path.getsize(largest) * 2 // 3)
    assert refusal(options(path)).failure_class == "backup_corrupt"


def test_a_directory_with_a_foreign_file_or_a_link_is_refused(dump, options):
    path = dump("directory-gzip")
    os.symlink("/etc/passwd", os.path.join(path, "9999.dat"))
    assert refusal(options(path)).failure_class == "backup_corrupt"
    os.unlink(os.path.join(path, "9999.dat"))
    with open(os.path.join(path, "run.sh"), "w", encoding="utf-8") as stream:
        stream.write("touch canary")
    assert "run.sh" in refusal(options(path)).message


def test_a_dump_of_another_application_and_a_missing_one_are_told_apart(dump, options, make_database, pg, tmp_path):
    other = make_database("other")
    pg.execute("CREATE TABLE public.t (a int)", other.dbname)
    assert refusal(options(dump(database=other.dbname))).failure_class == "schema"
    assert refusal(options(str(tmp_path / "nowhere"))).failure_class == "usage"


@pytest.mark.fault(10, "shell")
def test_plain_sql_needs_the_flag(dump, options):
    error = refusal(options(dump("plain")))
    assert error.failure_class == "usage"
    assert "letta_adopt_trust_sql" in error.next_step


@pytest.mark.fault(10, "shell", "program")
@pytest.mark.parametrize(
    "evil",
    [
        "\\! touch {canary}\n",
        "\\copy letta.agents_tags to program 'touch {canary}'\n",
        "COPY letta.agents_tags FROM PROGRAM 'touch {canary}';\n",
        "COPY letta.agents_tags (tag) FROM PROGRAM 'touch {canary}';\n",
        "-- Name: x\n\\! touch {canary}\n; Type: TABLE\n",
        "\\unrestrict forged\n\\! touch {canary}\n",
        "CREATE TABLE letta.\"x\n\\! touch {canary}\n\" (a int);\n",
        "DO $$ BEGIN COPY (SELECT 1) TO PROGRAM 'touch {canary}'; END $$;\n",
        "CREATE TABLE letta.t (a text DEFAULT pg_read_file('/etc/passwd'));\nCOPY letta.t (ctid) FROM stdin;\n1\n\\.\n",
    ],
)
@pytest.mark.parametrize("place", ["head", "tail"])
def test_no_command_of_a_plain_dump_ever_runs(dump, options, pg, tmp_path, evil, place):
    canary = tmp_path / "canary"
    path = dump("plain")
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    before, mark, after = text.partition("SET statement_timeout" if place == "head" else "--\n-- PostgreSQL database dump complete")
    assert mark
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(before + evil.format(canary=canary) + mark + after)
    error = refusal(options(path, trust_sql=True, server=pg.server()))
    assert error.failure_class in ("usage", "load_failed")
    assert "line " in error.message
    assert not canary.exists()
    assert databases_and_roles(pg) == []


def test_code_hidden_in_a_default_runs_without_privileges(dump, options, pg, tmp_path):
    path = dump("plain")
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    before, mark, after = text.partition("--\n-- PostgreSQL database dump complete")
    evil = "CREATE TABLE letta.t (a int, b text DEFAULT pg_read_file('/etc/passwd'));\nCOPY letta.t (a) FROM stdin;\n1\n\\.\n"
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(before + evil + mark + after)
    error = refusal(options(path, trust_sql=True, server=pg.server()))
    assert error.failure_class == "load_failed"
    assert "permission denied" in error.message
    assert databases_and_roles(pg) == []


@pytest.mark.fault(37, "createdb")
def test_a_role_without_createdb_is_told_what_to_grant(dump, options, pg):
    pg.ensure_role("adopt_nobody", "pw")
    error = refusal(options(dump("plain"), trust_sql=True, server=pg.server("adopt_nobody", "pw")))
    assert error.failure_class == "preflight"
    assert "CREATEDB" in error.next_step


def test_the_dump_itself_is_not_changed(dump, options):
    path = dump("custom")
    with open(path, "rb") as stream:
        before = stream.read()
    json.dumps(adopt.adopt_dump(options(path)))
    with open(path, "rb") as stream:
        assert stream.read() == before
