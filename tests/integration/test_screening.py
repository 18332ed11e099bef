"""Archives of an enemy: real ones with every kind of foreign object, and crafted ones whose statements are not what their kind says."""
from __future__ import annotations

import contextlib
import os
import shutil
import stat
from contextlib import closing
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import adopt, screening
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.archive import open_archive
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import find_tools, run_tool
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import runs, stage
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import NoJournal
from tests.faults import kit
from tests.integration.restore_kit import PASSWORD

BLOCK = "CREATE TABLE letta.block ("
INDEX = "CREATE INDEX idx_messages_step_id"
NAMES = (
    "quote\" '", "{{ lookup('pipe', 'touch /tmp/x') }}", "$(touch /tmp/x)", "`id`", "a; DROP TABLE agents", "line\nbreak", "back\\slash",
)  # fmt: skip
KINDS = """
CREATE FUNCTION letta.plain() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION letta.definer() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
CREATE FUNCTION letta.program() RETURNS void LANGUAGE plpgsql AS $f$BEGIN COPY letta.block FROM PROGRAM 'true'; END$f$;
CREATE PROCEDURE letta.proc() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE letta.agg (int) (SFUNC = int4pl, STYPE = int);
CREATE FUNCTION letta.trig() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER trig BEFORE INSERT ON letta.agents FOR EACH ROW EXECUTE FUNCTION letta.trig();
CREATE FUNCTION letta.ev() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE RULE evil_rule AS ON DELETE TO letta.block DO ALSO SELECT 1;
CREATE POLICY evil_policy ON letta.block USING (true);
ALTER TABLE letta.block ENABLE ROW LEVEL SECURITY;
CREATE VIEW letta.evil_view AS SELECT 1 AS a;
CREATE MATERIALIZED VIEW letta.evil_mat AS SELECT 1 AS a;
CREATE DOMAIN letta.evil_domain AS int CHECK (VALUE > 0);
CREATE TYPE letta.evil_pair AS (a int, b int);
CREATE FOREIGN DATA WRAPPER evil_wrapper;
CREATE SERVER evil_server FOREIGN DATA WRAPPER evil_wrapper OPTIONS (host 'evil.example');
CREATE USER MAPPING FOR PUBLIC SERVER evil_server;
CREATE FOREIGN TABLE letta.evil_far (a int) SERVER evil_server;
CREATE PUBLICATION evil_publication FOR TABLE letta.block;
CREATE CAST (letta.evil_pair AS text) WITH INOUT;
CREATE OPERATOR letta.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE COLLATION letta.evil_collation FROM "C";
CREATE TEXT SEARCH DICTIONARY letta.evil_dictionary (TEMPLATE = pg_catalog.simple);
CREATE STATISTICS letta.evil_statistics ON id, value FROM letta.block;
SELECT lo_create(0);
"""
REFUSED = {
    "FUNCTION letta.plain()", "FUNCTION letta.definer()", "FUNCTION letta.program()", "PROCEDURE letta.proc()",
    "AGGREGATE letta.agg(integer)",
    "TRIGGER letta.agents trig", "RULE letta.block evil_rule", "POLICY letta.block evil_policy", "ROW SECURITY letta.block",
    "VIEW letta.evil_view", "MATERIALIZED VIEW letta.evil_mat", "DOMAIN letta.evil_domain", "TYPE letta.evil_pair",
    "FOREIGN DATA WRAPPER evil_wrapper", "SERVER evil_server", "USER MAPPING USER MAPPING public SERVER evil_server",
    "FOREIGN TABLE letta.evil_far", "PUBLICATION evil_publication", "PUBLICATION TABLE letta.evil_publication block",
    "CAST CAST (letta.evil_pair AS text)", "OPERATOR letta.===", "COLLATION letta.evil_collation",
    "TEXT SEARCH DICTIONARY letta.evil_dictionary", "STATISTICS letta.evil_statistics",
}  # fmt: skip


@pytest.fixture(scope="module")
def tools(pg):
    return find_tools(str(pg.bin_dir))


@pytest.fixture(scope="module")
def source(pg, letta_shape):
    """A database that holds everything no Letta database has."""
    server = pg.clone_database("screened", letta_shape, password=PASSWORD)
    admin = pg.server(dbname="screened")
    with closing(connect(admin)) as conn, conn.cursor() as cursor:
        cursor.execute(KINDS)
        cursor.execute("CREATE EVENT TRIGGER evil_event ON ddl_command_end EXECUTE FUNCTION letta.ev()")
        for number, name in enumerate(NAMES):
            quoted = '"%s"' % name.replace('"', '""')
            cursor.execute("CREATE TABLE letta.%s (a int)" % quoted if number % 2 else "CREATE INDEX %s ON letta.block (id)" % quoted)
        cursor.execute("ALTER TABLE letta.messages SET (autovacuum_vacuum_scale_factor = 0.05, fillfactor = 90)")
        cursor.execute("ALTER TABLE letta.messages ALTER COLUMN content SET STORAGE EXTERNAL, ALTER COLUMN role SET STATISTICS 500")
        cursor.execute("ALTER TABLE letta.messages REPLICA IDENTITY FULL")
        cursor.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA letta GRANT SELECT ON TABLES TO PUBLIC")
    yield server
    pg.drop_database("screened")


@pytest.mark.fault(11, "event-trigger", "function", "program", "extension", "server")
@pytest.mark.fault(12, "manifest")
def test_every_foreign_object_and_every_hostile_name_of_a_real_dump_is_refused_by_name(source, pg, tools, tmp_path):
    run_tool([tools.path("pg_dump"), "-Fc", "-f", str(tmp_path / "dump")], pg.server(dbname="screened"))
    found = {"%s %s" % one for one in screening.refused(open_archive(tmp_path / "dump", tools))}
    assert REFUSED - found == set()
    assert "EVENT TRIGGER evil_event" in found
    assert any(one.startswith("BLOB") for one in found)
    for name in NAMES:
        told = [one for one in found if name in one or repr("letta." + name) in one]
        assert any("a name that" in one or "control character" in one for one in told), name
    # What a live database may well have been tuned with is none of it.
    assert [one for one in found if "messages" in one or "DEFAULT" in one] == []
    with pytest.raises(RecoveryError, match="what no Letta database has") as caught:
        adopt.adopt_dump(adopt.AdoptOptions(str(tmp_path / "dump"), str(tmp_path / "store"), bin_dir=str(pg.bin_dir)))
    assert caught.value.failure_class == "backup_corrupt"
    assert os.listdir(tmp_path / "store") == []


# -- crafted archives: the kind says TABLE, the statement says otherwise -----------------------------------------------------------


def craft(set_dir, old, new):
    """Write another statement into the table of contents of a set, as no pg_dump would, and make checksums and manifest true again."""
    toc = Path(set_dir) / "database" / "toc.dat"
    data = toc.read_bytes()
    at = data.index(old.encode())
    size = int.from_bytes(data[at - 4 : at], "little")
    text = data[at : at + size].decode().replace(old, new, 1).encode()
    toc.write_bytes(data[: at - 4] + len(text).to_bytes(4, "little") + text + data[at + size :])
    kit.reseal(Path(set_dir))


CRAFTED = {
    "a second statement": (BLOCK, "RESET ROLE; COPY (SELECT 1) TO PROGRAM 'touch {canary}';\n" + BLOCK),
    "a second statement on its own line": (BLOCK, "RESET ROLE;\nCOPY (SELECT 1) TO PROGRAM 'touch {canary}';\n" + BLOCK),
    "a block of code": (BLOCK, "DO $$BEGIN RESET ROLE; COPY (SELECT 1) TO PROGRAM 'touch {canary}'; END$$;\n" + BLOCK),
    "a function": (BLOCK, "CREATE FUNCTION letta.f() RETURNS int LANGUAGE sql AS 'SELECT 1';\n" + BLOCK),
    "rows from a program": ("COPY letta.block (", "RESET ROLE; COPY (SELECT 1) TO PROGRAM 'touch {canary}'; COPY letta.block ("),
    "rows of a program": ("COPY letta.block (", "COPY letta.block FROM PROGRAM 'touch {canary}' -- ("),
    "a role": (BLOCK, "SET role = 'postgres';\n" + BLOCK),
    "a role, spelled otherwise": (BLOCK, "SET SESSION AUTHORIZATION DEFAULT;\n" + BLOCK),
    "a check that takes the role back": (
        BLOCK,
        BLOCK + "\n    CHECK ((pg_catalog.set_config('role', 'none', false) IS NOT NULL) AND (pg_catalog.query_to_xml("
        "'SELECT lo_export(lo_from_bytea(0, ''''), ''{canary}'')', false, false, '') IS NOT NULL)),",
    ),
    "a check under a quoted name": (BLOCK, BLOCK + "\n    CHECK ((\"set_config\" ('role', 'none', false) IS NOT NULL)),"),
    "a default that reads a file": (BLOCK, BLOCK + "\n    x text DEFAULT pg_read_file('/etc/passwd'),"),
    "a table out of a query": (BLOCK, "CREATE TABLE letta.x AS SELECT 1 AS a;\n" + BLOCK),
    "an extension": (BLOCK, "CREATE EXTENSION plperlu WITH SCHEMA letta;\n" + BLOCK),
    "a comment that hides the end": (BLOCK, "/* */ RESET ROLE; " + BLOCK),
    "an index over a function": (INDEX, "CREATE INDEX evil ON letta.messages USING btree (pg_read_file(id));\n" + INDEX),
    "a grant of a role": (BLOCK, "GRANT pg_execute_server_program TO letta;\n" + BLOCK),
}


@pytest.fixture
def canary():
    """A file that the server's own user may write; gone after the test."""
    folder = Path("/tmp") / ("canary-%s" % os.urandom(4).hex())
    folder.mkdir()
    folder.chmod(0o777 | stat.S_ISVTX)
    yield folder / "sang"
    shutil.rmtree(folder)


@pytest.mark.fault(11, "disguised")
@pytest.mark.parametrize("kind", CRAFTED)
def test_a_statement_that_is_not_what_its_kind_says_is_refused_by_the_name_of_the_object(shape_set, tools, tmp_path, kind):
    shutil.copytree(shape_set, tmp_path / shape_set.name)
    craft(tmp_path / shape_set.name, *CRAFTED[kind])
    (found,) = screening.refused(open_archive(tmp_path / shape_set.name / "database", tools))
    assert ("letta.idx_messages_step_id" if kind == "an index over a function" else "letta.block") in found[1]


@pytest.mark.fault(11, "disguised")
def test_a_restore_of_a_crafted_archive_ends_when_it_begins_and_nothing_of_it_runs(make_world, shape_set, canary):
    world = make_world()
    world.copy_set(shape_set)
    old, new = CRAFTED["a second statement on its own line"]
    craft(os.path.join(world.root, shape_set.name), old, new.replace("{canary}", str(canary)))
    with pytest.raises(RecoveryError, match=r"TABLE letta\.block \(") as caught:
        runs.begin(world.admin, world.run_options(backup_id=shape_set.name))
    assert caught.value.failure_class == "backup_corrupt"
    assert "live database untouched" in caught.value.now
    assert not canary.exists()
    assert world.leftovers() == []


@pytest.mark.fault(11, "disguised")
def test_a_crafted_archive_would_sing_if_it_were_loaded(make_world, shape_set, canary):
    # The other half of the proof: without the screening, the load itself runs it as the administrator.
    world = make_world()
    world.copy_set(shape_set)
    folder = os.path.join(world.root, shape_set.name)
    old, new = CRAFTED["a second statement on its own line"]
    craft(folder, old, new.replace("{canary}", str(canary)))
    options = stage.StageOptions(folder, world.database + "_sung", "letta", 1, world.bin_dir)
    with contextlib.suppress(RecoveryError):  # whether the load goes on afterwards does not matter
        stage.stage_set(world.admin, manifests.load(folder), options, NoJournal())
    assert canary.exists()


def test_the_sets_of_this_project_and_all_of_their_statements_pass(shape_set, tools):
    samples = Path(__file__).resolve().parents[2] / "playbooks" / "files" / "sample-sets"
    for folder in (shape_set, *samples.glob("lb-*")):
        assert screening.refused(open_archive(folder / "database", tools)) == []
