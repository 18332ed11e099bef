"""A flipped byte anywhere in a set is found before anything is loaded, and the next good set is restored in the same run."""
from __future__ import annotations

import dataclasses
import json
import os
import random
import re
import shutil
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import catalogue
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.redisserver import RedisServer
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import assess, endings, runs, stage, target
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import journal as journals
from tests.faults.rclone_kit import PASSWORD as STORE_PASSWORD
from tests.faults.rclone_kit import Served
from tests.integration.restore_kit import PASSWORD, World, add_writes, content

SEED = 20261121
POSITIONS = 520
WHITE = b" \t\n\r"


@pytest.fixture(scope="module")
def pair(pg, letta_shape, redis_server, tmp_path_factory):
    """(folder of an older set, folder of a newer one with one agent and five messages more); both with Redis and a volume."""
    folder = tmp_path_factory.mktemp("pair")
    world = World(pg, "lr_pair", folder)
    os.makedirs(world.root, 0o700)
    os.mkdir(folder / "memory")
    (folder / "memory" / "note.md").write_bytes(random.Random(SEED).randbytes(3000))
    redis_server.client().set("letta:kept", "x" * 2000)
    more = dict(
        redis=RedisServer(redis_server.host, redis_server.port, redis_server.password),
        volumes=({"name": "memory", "path": str(folder / "memory")},),
    )
    pg.clone_database(world.database, letta_shape, password=PASSWORD)
    try:
        older = world.backup(**more)
        add_writes(world.live, name="intake-2")
        newer = world.backup(**more)
    finally:
        pg.drop_database(world.database)
    # A real day between them: the loss is told in time, too.
    return _backdate(Path(world.root) / older["id"]), Path(world.root) / newer["id"]


def _backdate(set_dir):
    """Make a set one day older, as if it had been taken then."""
    manifest = {key: value for key, value in manifests.load(str(set_dir)).items() if key != "checksum"}
    moment = manifests.parse_stamp(manifest["taken_at"]).replace(year=2026, month=11, day=1)
    manifest.update(id=manifests.new_id(moment), taken_at=manifests.stamp(moment))
    there = set_dir.with_name(manifest["id"])
    set_dir.rename(there)
    (there / manifests.MANIFEST).write_text(json.dumps(manifests.seal(manifest)), encoding="utf-8")
    return there


def positions(set_dir, wanted, chance):
    """[(file, offset)] over all files in proportion to their size, the first and the last byte of each among them."""
    sizes = {path: path.stat().st_size for path in sorted(set_dir.rglob("*")) if path.is_file() and path.stat().st_size}
    chosen = {(path, offset) for path, size in sizes.items() for offset in (0, size - 1)}
    while len(chosen) < wanted:
        path = chance.choices(list(sizes), weights=list(sizes.values()))[0]
        chosen.add((path, chance.randrange(sizes[path])))
    return sorted(chosen)


class _Flipped:
    """A file with one byte changed for the time of a block."""

    def __init__(self, path, offset, value):
        self.path, self.offset, self.value = path, offset, value

    def __enter__(self):
        with open(self.path, "r+b") as stream:
            stream.seek(self.offset)
            self.was = stream.read(1)
            stream.seek(self.offset)
            stream.write(bytes([self.value]))

    def __exit__(self, *exc_info):
        with open(self.path, "r+b") as stream:
            stream.seek(self.offset)
            stream.write(self.was)


def same_meaning(path, original):
    """Whether a changed manifest still says what it said: JSON knows several ways to write a few things (white space, E for e)."""
    try:
        return path.name == manifests.MANIFEST and json.loads(path.read_bytes()) == json.loads(original)
    except ValueError:
        return False


@pytest.mark.fault(1, "anywhere")
def test_a_flipped_bit_at_any_place_of_a_set_is_found_before_anything_is_loaded(make_world, pair, monkeypatch):
    older, newer = pair
    world = make_world()
    for source in pair:
        world.copy_set(source)
    damaged, chance = Path(world.root) / newer.name, random.Random(SEED)
    original = (damaged / manifests.MANIFEST).read_bytes()
    options = world.run_options()
    server = world.admin
    context = runs.Context(server, options, target.inspect_target(server, world.database, world.owner), "key", world.root, "r-1", None)
    context.progress = runs.Progress(None)
    monkeypatch.setattr(stage, "stage_set", None)  # nothing here may load
    monkeypatch.setattr(assess, "_refuse_foreign_objects", lambda *_all: None)  # asks pg_restore about the good set, each time the same
    before = world.databases()
    tried = positions(damaged, POSITIONS, chance)
    assert {path.relative_to(damaged).parts[0] for path, _offset in tried} == {
        "database", "vectors", "redis", "volumes", manifests.MANIFEST, manifests.SUMS}  # fmt: skip
    unseen, harmless, losses = [], [], set()
    for path, offset in tried:
        value = path.read_bytes()[offset] ^ (1 << chance.randrange(8))
        with _Flipped(path, offset, value):
            info, _manifest, rejected = assess.choose_set(context, None)
            if info.id == newer.name and same_meaning(path, original):
                harmless.append(offset)
                continue
            named = path.relative_to(damaged).as_posix() if path.name != manifests.MANIFEST else "manifest"
            found = info.id == older.name and rejected[0]["id"] == newer.name and named in rejected[0]["reason"]
            unseen += [] if found else [(named, offset, info.id, rejected)]
            losses.add(rejected[0]["loss"]["source"] if found else None)
    assert unseen == []
    assert len(tried) - len(harmless) >= 500, "harmless: %s" % harmless
    assert losses == {"manifests", "live"}, "the live database is asked where the newer manifest cannot be read"
    assert world.databases() == before
    assert assess.choose_set(context, None)[0].id == newer.name, "unflipped, it is the one"


@pytest.mark.fault(1, "anywhere")
def test_the_only_bytes_that_may_change_without_harm_are_spellings_of_the_manifest(pair, tmp_path):
    """No checksum covers how the manifest is spelt, only what it says. What is accepted says the very same."""
    set_dir = tmp_path / pair[1].name
    shutil.copytree(pair[1], set_dir)
    path = set_dir / manifests.MANIFEST
    small = json.loads(path.read_bytes())
    for key in ("tables", "agents"):  # a manifest small enough to try everything
        small[key] = dict(sorted(small[key].items())[:1])
    small["files"] = [entry for entry in small["files"] if entry["path"].startswith("vectors/")]
    small.update(volumes=[], redis=None)  # what they hold must be among the files
    text = json.dumps(manifests.seal({key: value for key, value in small.items() if key != "checksum"}), indent=1).encode()
    chance, accepted = random.Random(SEED), []
    for offset in range(len(text)):
        spelling = offset % 3 == 0 and text[offset:offset + 1] in (b" ", b"\n", b"e", b"E")
        values = WHITE + b"eE" if spelling else b""
        some = bytes([chance.randrange(256)]) if offset % 5 == 0 else b""
        for value in set(values + some) - {text[offset]}:
            changed = text[:offset] + bytes([value]) + text[offset + 1:]
            path.write_bytes(changed)
            try:
                loaded = manifests.load(str(set_dir))
            except RecoveryError:  # and nothing else: an odd manifest is no crash
                continue
            assert loaded == json.loads(text), (offset, value)
            accepted.append((text[offset], value))
    assert accepted, "white space for white space is such a change"
    assert {was for was, _now in accepted} <= set(WHITE + b"eE")


@pytest.mark.fault(1, "next")
@pytest.mark.slow
def test_a_restore_falls_back_in_the_same_run_and_reports_what_it_passed_over_and_what_that_costs(make_world, pair):
    older, newer = pair
    world = make_world()
    for source in pair:
        world.copy_set(source)
    volume = Path(world.root) / newer.name / "volumes" / "memory.tar.gz"
    with open(volume, "r+b") as stream:
        stream.seek(-9, os.SEEK_END)
        byte = stream.read(1)[0]
        stream.seek(-9, os.SEEK_END)
        stream.write(bytes([byte ^ 1]))
    played = world.play("restore-full.yml").ok()
    assert (played.report["status"], played.report["backup"]["id"]) == ("succeeded", older.name)
    (passed,) = played.report["backup"]["rejected"]
    assert passed["id"] == newer.name
    assert passed["reason"].startswith("volumes/memory.tar.gz does not match its checksum (byte range 0-")
    assert (passed["loss"]["messages"], passed["loss"]["agents"], passed["loss"]["agent_names"]) == (5, 1, ["intake-2"])
    assert passed["loss"]["seconds"] > 0
    plan = " ".join(played.output.split())
    assert "falls back past 1 set (%s), which costs" % newer.name in plan
    assert "5 messages, 1 agent (intake-2)" in plan
    page = (world.reports / "latest" / "report.html").read_text(encoding="utf-8")
    assert "falling back past it costs" in page
    assert world.sql("SELECT count(*) FROM agents WHERE name = 'intake-2'") == [(0,)]
    assert not catalogue.list_sets(world.root)[0].verified_at, "a restore notes nothing beside the sets"


@pytest.fixture
def remote(make_world, pair, tmp_path):
    """(world without a live database, its server of a remote store with one set, engine options for it)."""
    world = make_world(live=False)
    (tmp_path / "far").mkdir()
    world.copy_set(pair[0], tmp_path / "far")
    served = Served(tmp_path / "far", tmp_path / "serve").start()
    world.variables.update(letta_stores=["rclone:store:"], letta_rclone_config=served.config, letta_store_timeout=20)
    yield world, served, world.run_options(stores=("rclone:store:",), rclone_config=served.config, store_timeout=3)
    served.stop()


def test_a_plan_from_a_remote_store_needs_no_backup_root_and_makes_none(remote, pair):
    world, _served, options = remote
    nowhere = str(world.folder / "nowhere")
    begun = runs.begin(world.admin, dataclasses.replace(options, root=nowhere, check=True))
    assert (begun["backup"]["id"], os.path.exists(nowhere)) == (pair[0].name, False)


def test_what_was_fetched_is_kept_when_the_restore_fails_and_the_next_run_needs_no_network_for_it(remote, pair):
    world, served, options = remote
    begun = runs.begin(world.admin, options)
    kept = Path(world.root) / ".fetched" / pair[0].name
    assert begun["set_dir"] == str(kept)
    journal = journals.Journal.load(begun["run_dir"])
    endings.fail(world.admin, world.root, journal, {"failure_class": "load_failed", "message": "x", "next_step": ""})
    assert kept.is_dir()
    served.stop()
    again = runs.begin(world.admin, options)
    assert again["set_dir"] == str(kept)
    assert "a newer set may lie there" in again["plan"]["warnings"][0]
    endings.fail(world.admin, world.root, journals.Journal.load(again["run_dir"]), {"failure_class": "load_failed", "message": "x"})


@pytest.mark.slow
def test_a_restore_from_a_remote_store_shows_the_fetch_leaves_nothing_of_it_and_a_second_run_fetches_nothing(remote, pair):
    world, served, options = remote
    older, _newer = pair
    planned = world.play("restore-full.yml", "--check", confirm=False).ok()
    assert "%s is in rclone:store:: a restore fetches its" % older.name in " ".join(planned.output.split())
    assert not list(Path(world.root).iterdir())
    played = world.play("restore-full.yml", "-vvv", env={"RCLONE_BWLIMIT": "16k"}).ok()
    assert re.search(r"^\[db1\] fetch \d+% .* KiB of ", played.output, re.MULTILINE), "whoever waits sees how far it is"
    assert played.report["backup"]["id"] == older.name
    assert played.report["plan"]["why"].endswith("from rclone:store:")
    assert not (Path(world.root) / ".fetched").exists()
    assert STORE_PASSWORD not in played.output
    assert Path(served.config).read_text(encoding="utf-8").split("pass = ")[1].strip() not in played.output
    assert content(world.fingerprint())["sequences"]["letta.message_seq_id"]["last_value"] == 300
    again = runs.begin(world.admin, options)
    assert (again["plan"]["kind"], (Path(world.root) / ".fetched").exists()) == ("unchanged", False)
