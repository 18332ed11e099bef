"""Tables with vectors as binary COPY beside the archive: taken of the dump's snapshot, loaded in parallel, equal to what was saved."""
from __future__ import annotations

import io
import json
import os
import threading
from contextlib import closing
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take, verify
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial.supply import Supply
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import binarycopy, packing, segments
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.archive import open_archive
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.catalog import quote_ident
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.pieces import Saved
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import stage
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import NoJournal
from tests.integration.restore_kit import content

PASSAGES = "letta.archival_passages"
SCHEMA, NAME = """o'dd "x""", """ve.c\tt"ors/1"""
# Every kind of type, names that want quoting, a column that was dropped, one that is generated, and rows without any value.
ODD = """
CREATE SCHEMA {schema};
CREATE TYPE {schema}.mood AS ENUM ('sad', 'glad');
CREATE TABLE {schema}.{name} (
  gone int, "i d" uuid PRIMARY KEY, b bool, n numeric, i8 int8, f float8, t timestamptz, d date, j jsonb, js json, raw bytea,
  m {schema}.mood, "tex\nt" text, twice int8 GENERATED ALWAYS AS (i8 * 2) STORED,
  h letta.halfvec(4), v letta.vector, s letta.sparsevec);
ALTER TABLE {schema}.{name} DROP COLUMN gone;
INSERT INTO {schema}.{name} ("i d", b, n, i8, f, t, d, j, js, raw, m, "tex\nt", h, v, s)
  SELECT gen_random_uuid(), n % 2 = 0, n / 7.0, n, 1.0 / n, '2026-01-01+00'::timestamptz + n * interval '1 hour', '2026-01-01'::date + n,
         jsonb_build_object('n', n), json_build_object('a', E'\\u00e4\n'), decode(md5(n::text), 'hex'), 'glad',
         E'tab\t line\n \\ ' || n, '[1,2,3,4]', ('[' || n || ',-0.5,1e-20]')::letta.vector, '{{1:1.5,3:2}}/5'
  FROM generate_series(1, 500) n;
INSERT INTO {schema}.{name} ("i d") SELECT gen_random_uuid() FROM generate_series(1, 3);
CREATE TABLE {schema}.ranges (r int4range, v letta.vector);
INSERT INTO {schema}.ranges VALUES ('[1,5)', '[1,2]');
""".format(schema=quote_ident(SCHEMA), name=quote_ident(NAME))


@pytest.fixture
def world(make_world, monkeypatch):
    """A live database whose tables with vectors come in many pieces."""
    monkeypatch.setattr(segments, "PIECE", 16 << 10)
    world = make_world()
    world.sql("INSERT INTO letta.archives (id, name, organization_id, vector_db_provider)"
              " SELECT 'archive-' || n, 'a' || n, id, 'NATIVE' FROM letta.organizations, generate_series(1, 40) n")
    world.sql("INSERT INTO letta.archival_passages (id, text, metadata_, organization_id, archive_id, embedding)"
              " SELECT 'passage-' || n, 'passage ' || n || repeat(' and more', 200), '{}', organization_id,"
              " 'archive-' || 1 + (n - 1) / 10, embedding FROM letta.archival_passages, generate_series(1, 400) n WHERE id LIKE '%000001'")
    return world


def section(world, set_id):
    return manifests.load("%s/%s" % (world.root, set_id))["database"]["segments"]


def table(found, name):
    return next(item for item in found["tables"] if item["name"] == name)


def staged(world, manifest, jobs=2, **changes):
    """Stage a set as the playbook does; returns what :func:`stage.stage_set` returns. The side database is dropped."""
    options = stage.StageOptions(set_dir="%s/%s" % (world.root, manifest["id"]), database=world.database + "_side", owner="letta",
                                 jobs=jobs, bin_dir=world.bin_dir)  # fmt: skip
    try:
        return stage.stage_set(world.admin, dict(manifest, **changes), options, NoJournal())
    finally:
        world.sql('DROP DATABASE IF EXISTS "%s"' % options.database, database="postgres")


def test_pieces_hold_every_row_once_and_list_the_archives_they_have(world):
    manifest = world.backup()
    found = section(world, manifest["id"])
    passages = table(found, "archival_passages")
    assert manifest["format"] == 2
    assert len(passages["pieces"]) > 5
    assert sum(piece["rows"] for piece in passages["pieces"]) == manifest["tables"][PASSAGES]["rows"] == 410
    folder = Path(world.root, manifest["id"])
    listed = [(folder / piece["keys"]["archive_id"]).read_text(encoding="utf-8").split() for piece in passages["pieces"]]
    assert {name for names in listed for name in names} == {row[0] for row in world.sql("SELECT archive_id FROM letta.archival_passages")}
    assert all(len(names) < 40 for names in listed), "a piece has the archives of its own rows only"
    archive = open_archive(str(folder / "database"), verify.tools_for(str(folder), world.bin_dir))
    with_data = {entry.name for entry in archive.data_entries()}
    assert "messages" in with_data
    assert not with_data & {"archival_passages", "source_passages"}


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_was_saved_in_pieces_is_loaded_equal(world, jobs):
    manifest = world.backup()
    assert {row["digest"] for row in staged(world, manifest, jobs)["tables"]} == {"equal"}


def test_pieces_are_of_the_dumps_snapshot_while_others_write(world):
    ended = threading.Event()

    def write():
        with closing(connect(world.live)) as conn, conn.cursor() as cursor:
            while not ended.is_set():
                cursor.execute("UPDATE letta.archival_passages SET text = md5(random()::text) WHERE random() < 0.1")
                cursor.execute("INSERT INTO letta.archival_passages (id, text, metadata_, organization_id, archive_id)"
                               " SELECT md5(random()::text), 'late', '{}', organization_id, archive_id"
                               " FROM letta.archival_passages LIMIT 5")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        manifest = world.backup()
    finally:
        ended.set()
        writer.join()
    assert {row["digest"] for row in staged(world, manifest)["tables"]} == {"equal"}


@pytest.mark.fault(38, "text")
def test_every_kind_of_value_and_name_comes_back_and_what_may_differ_elsewhere_stays_text(world):
    with closing(connect(world.live)) as conn, conn.cursor() as cursor:
        cursor.execute(ODD)
    manifest = world.backup()
    assert [text for text in manifest["warnings"] if "ranges" in text] == [
        "%s.ranges is saved as text: column r may have another binary form elsewhere" % SCHEMA
    ]
    found = section(world, manifest["id"])
    odd = next(item for item in found["tables"] if item["schema"] == SCHEMA)
    assert (odd["name"], sum(piece["rows"] for piece in odd["pieces"])) == (NAME, 503)
    assert "twice" not in odd["columns"]
    assert {row["digest"] for row in staged(world, manifest)["tables"]} == {"equal"}


def test_both_forms_have_the_same_digests_and_restore_by_the_same_command(world):
    binary, text = world.backup(), world.backup(vectors="text")
    assert binary["tables"] == text["tables"]
    assert binary["agents"] == text["agents"]
    assert (text["format"], "segments" in text["database"]) == (2, False)
    saved = content(world.fingerprint())
    for manifest in (binary, text):
        world.sql("DELETE FROM letta.archival_passages")
        played = world.play("restore-full.yml", "-e", "letta_backup_id=%s" % manifest["id"]).ok()
        assert {row["digest"] for row in played.report["tables"]} == {"equal"}
        assert content(world.fingerprint()) == saved


def damaged(world, manifest, change):
    """Apply a change to the largest piece, with checksums mended as somebody would who wants it to pass; returns its path."""
    folder = Path(world.root, manifest["id"])
    path = max((folder / segments.FOLDER).glob("archival*.copy*"), key=lambda item: item.stat().st_size)
    with packing.reading(str(path), section(world, manifest["id"])["compression"]) as stream:
        data = change(stream.read())
    path.unlink()
    with packing.writing(str(path), section(world, manifest["id"])["compression"]) as stream:
        stream.write(data)
    document = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    name = str(path.relative_to(folder))
    document["files"] = [manifests.hash_file(str(folder), name) if entry["path"] == name else entry for entry in document["files"]]
    (folder / "manifest.json").write_text(json.dumps(manifests.seal(document)), encoding="utf-8")
    return name


def cut_between_rows(data):
    """Leave out the last row and the end mark: the server takes such data for complete."""
    count = int.from_bytes(data[len(binarycopy.HEADER) :][:2], "big")
    rows = [row for row, _fields in binarycopy.rows(io.BytesIO(data), count)]
    return binarycopy.HEADER + b"".join(count.to_bytes(2, "big") + row for row in rows[:-1])


@pytest.mark.fault(1, "dump")
@pytest.mark.fault(2, "rebuilt")
@pytest.mark.parametrize("change", [cut_between_rows, lambda data: data[: len(data) // 2], lambda data: b"nothing of the kind"])
def test_a_damaged_piece_is_told_by_its_name_before_and_while_it_is_loaded(world, change):
    manifest = world.backup()
    name = damaged(world, manifest, change)
    loaded = manifests.load("%s/%s" % (world.root, manifest["id"]))
    findings = verify.verify_set("%s/%s" % (world.root, manifest["id"]))
    assert [name in item.detail for item in findings if item.status == "fail"] == [True]
    with pytest.raises(RecoveryError, match="archival_passages") as caught:
        staged(world, loaded)
    assert caught.value.failure_class in ("backup_corrupt", "load_failed")
    assert "side database" in caught.value.now
    assert world.database + "_side" not in world.databases()


@pytest.mark.fault(14, "older")
def test_a_server_whose_vectors_have_another_binary_form_is_refused_before_anything_is_loaded(world):
    manifest = world.backup()
    folder = Path(world.root, manifest["id"])
    document = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    document["database"]["segments"]["probe"] = "00" + document["database"]["segments"]["probe"][2:-2] + "77"
    (folder / "manifest.json").write_text(json.dumps(manifests.seal(document)), encoding="utf-8")
    before = world.fingerprint()
    played = world.play("restore-full.yml").refused("schema")
    assert "binary form" in played.report["message"]
    assert "letta_backup_vectors=text" in played.report["next_step"]
    assert world.fingerprint() == before
    world.sql("DROP EXTENSION vector CASCADE")  # nothing here tells then: the side database does
    with pytest.raises(RecoveryError, match="binary form"):
        staged(world, manifests.load(str(folder)))


@pytest.mark.parametrize("break_it", [
    lambda found: found.update(compression="brotli"),
    lambda found: found["tables"][0].pop("columns"),
    lambda found: found["tables"][0]["pieces"][0].update(path="database/../../../etc/passwd"),
    lambda found: found["tables"][0]["pieces"][0].update(rows="many"),
    lambda found: found.update(tables=7),
])  # fmt: skip
def test_a_manifest_whose_pieces_make_no_sense_is_refused(world, break_it):
    manifest = world.backup()
    path = Path(world.root, manifest["id"], "manifest.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    document["database"]["segments"]["tables"].sort(key=lambda item: -len(item["pieces"]))
    break_it(document["database"]["segments"])
    path.write_text(json.dumps(manifests.seal(document)), encoding="utf-8")
    with pytest.raises(RecoveryError) as caught:
        manifests.load(str(path.parent))
    assert caught.value.failure_class == "backup_corrupt"


def test_one_archive_is_found_without_opening_the_pieces_of_others(world):
    manifest = world.backup()
    folder = Path(world.root, manifest["id"])
    archive = open_archive(str(folder / "database"), verify.tools_for(str(folder), world.bin_dir))
    saved = Saved.of(manifest, str(folder))
    supply = Supply(archive, None, "letta", saved)
    wanted = {b"archive-17"}
    kept = [piece for piece in saved.tables[PASSAGES]["pieces"] if saved.listed(piece, "archive_id") & wanted]
    assert 0 < len(kept) < 4
    for piece in saved.tables[PASSAGES]["pieces"]:
        if piece not in kept:
            os.unlink(folder / piece["path"])
    place = supply.columns("archival_passages").index("archive_id")
    rows = [fields for _row, fields in supply.rows("archival_passages", lambda listed: listed["archive_id"] & wanted)]
    assert sum(fields[place] in wanted for fields in rows) == 10


def test_a_backup_that_fails_beside_the_dump_leaves_nothing(world, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(segments.Taking, "_piece", full)
    with pytest.raises(RecoveryError, match="No space left"):
        world.backup()
    assert not [name for name in os.listdir(world.root) if not name.startswith(".")]


def test_a_database_in_latin1_comes_back_equal(pg, tmp_path, make_world):
    world = make_world()
    name = world.database + "_latin"
    pg.execute("CREATE DATABASE %s OWNER letta TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'" % name)
    try:
        pg.execute("CREATE EXTENSION vector", name)
        pg.execute("CREATE TABLE alembic_version (version_num text PRIMARY KEY); INSERT INTO alembic_version VALUES ('1c28e167b74f')", name)
        pg.execute("CREATE TABLE organizations (id text); CREATE TABLE agents (id text, name text)", name)
        pg.execute("CREATE TABLE archival_passages (id text PRIMARY KEY, text text, archive_id text, embedding vector(2))", name)
        pg.execute("INSERT INTO archival_passages VALUES ('passage-1', 'Grüße', 'archive-ä', '[1,2]')", name)
        manifest = take.take_backup(take.BackupOptions(server=world.admin.database(name), root=world.root, bin_dir=world.bin_dir, jobs=1))
        assert table(manifest["database"]["segments"], "archival_passages")["pieces"][0]["rows"] == 1
        assert {row["digest"] for row in staged(world, manifest)["tables"]} == {"equal"}
    finally:
        pg.execute("DROP DATABASE %s WITH (FORCE)" % name)
