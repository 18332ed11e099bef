"""Sets that are signed and encrypted, taken from a real database: what lies in the store, who may restore it, what stays afterwards."""
from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import adopt, age, catalogue, take, verify
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.trust import Seal, Trust
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import tools as pg_tools
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import find_tools, run_tool
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import in_place, runs
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import NoJournal
from tests.integration.restore_kit import PASSWORD, World, content
from tests.lab import ROOT

OURS, OTHER = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()


@pytest.fixture(scope="module")
def sealed_set(pg, letta_shape, tmp_path_factory):
    """One set, signed and encrypted: (its folder, allowed signers, Seal it was made with); never write to it."""
    folder = tmp_path_factory.mktemp("sealed")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    (folder / "scratch").mkdir()
    (folder / "memory").mkdir()
    (folder / "memory" / "private notes.md").write_text("of nobody's concern")
    (folder / "memory" / "a link").symlink_to("/etc")
    seal = Seal(str(folder / "key"), (str(OURS.to_public()),), str(folder / "scratch"))
    world = World(pg, "sealed_source", folder)
    pg.clone_database(world.database, letta_shape, password=PASSWORD)
    manifest = world.backup(seal=seal, volumes=({"name": "memory", "path": str(folder / "memory")},))
    pg.drop_database(world.database)
    assert os.listdir(folder / "scratch") == []
    return Path(world.root) / manifest["id"], "ops %s" % (folder / "key.pub").read_text(), seal


@pytest.fixture
def trust(sealed_set, tmp_path):
    (tmp_path / "scratch").mkdir()
    return Trust(sealed_set[1], "ops", str(OURS), str(tmp_path / "scratch"))


@pytest.fixture
def sealed_world(make_world, sealed_set):
    made = make_world()
    made.copy_set(sealed_set[0])
    return made


def test_the_store_holds_ciphertext_and_a_manifest_without_values(sealed_set):
    files = [path for path in sealed_set[0].rglob("*") if path.is_file()]
    plain = {path.name for path in files if not path.read_bytes().startswith(b"age-encryption.org/v1")}
    assert plain == {"manifest.json", "manifest.json.sig", "SHA256SUMS"}
    readable = b"".join((sealed_set[0] / name).read_bytes() for name in plain).decode()
    # Values of every kind of the sample: blocks, passages, messages, names of agents, of files in volumes.
    for value in ("remembers", "passage 1", "agent {{", "private notes", "a link", "nobody's concern", "gpt-4o", "context_window"):
        assert value not in readable, value
    assert not any(line.split()[-1].endswith((".dat", ".gz", ".sql")) for line in (sealed_set[0] / "SHA256SUMS").read_text().splitlines())
    assert len(manifests.load(str(sealed_set[0]))["agents"]) == 3


def test_a_full_verification_reads_everything_with_the_identity_and_says_so_without(sealed_world, sealed_set, trust):
    root, folder = sealed_world.root, str(Path(sealed_world.root) / sealed_set[0].name)
    (info,) = catalogue.list_sets(root, trust=trust)
    assert (info.encrypted, info.signed, info.usable) == (True, True, True)
    assert "signed  encrypted" in catalogue.format_line(info)
    found = verify.verify_set(folder, verify.tools_for(folder, sealed_world.bin_dir), True, trust=trust)
    assert {one.id: one.status for one in found} == dict.fromkeys(("files", "archive", "tables", "sequences", "volumes"), "pass")
    for identity in ("", str(OTHER)):
        closed = Trust(sealed_set[1], "", identity, trust.scratch_dir)
        findings, status = verify.verify_and_note(root, info, "full", sealed_world.bin_dir, trust=closed)
        assert status == "warn"
        assert any(one.detail.startswith("contents not checked: ") for one in findings)
        assert catalogue.list_sets(root)[0].verified_depth == "checksums", "no deeper than it was looked at"
    assert os.listdir(trust.scratch_dir) == []


@pytest.mark.parametrize("identity", ["", str(OTHER), "/nonexistent"], ids=["none", "another", "no file"])
def test_a_wrong_identity_is_found_when_the_restore_begins(sealed_world, trust, identity):
    wrong = Trust(trust.allowed_signers, "", identity, trust.scratch_dir)
    with pytest.raises(RecoveryError) as caught:
        runs.begin(sealed_world.admin, sealed_world.run_options(trust=wrong))
    assert caught.value.failure_class == "key_mismatch"
    assert "live database untouched" in caught.value.now
    assert str(OTHER) not in str(caught.value.as_dict())
    assert sealed_world.leftovers() == []
    assert os.listdir(trust.scratch_dir) == []


def test_the_plan_decrypts_no_more_than_it_looks_at(sealed_world, trust, monkeypatch):
    seen, kind = [], type(age.tool())
    decrypt = kind.decrypt
    monkeypatch.setattr(kind, "decrypt", lambda self, source, *rest: (seen.append(os.path.basename(source)), decrypt(self, source, *rest)))
    begun = runs.begin(sealed_world.admin, sealed_world.run_options(trust=trust, check=True))
    assert begun["plan"]["tables"] > 40
    assert begun["plan"]["tools"]["pg_restore"]
    assert "toc.dat.age" in seen
    assert len(seen) < 10, "the table of contents and the tables that hold secrets"
    assert os.listdir(trust.scratch_dir) == []


@pytest.mark.fault(3, "unsigned", "stranger")
def test_an_unsigned_and_a_strangers_set_are_passed_over_by_name(sealed_world, shape_set, sealed_set, trust):
    sealed_world.copy_set(shape_set)
    newer = os.path.join(sealed_world.root, "lb-20991231T000000Z-abcdef")
    shutil.copytree(shape_set, newer)
    manifest = manifests.load(str(shape_set))
    manifests.durable.write_json(newer + "/manifest.json", manifests.seal(dict(manifest, id=os.path.basename(newer))))
    begun = runs.begin(sealed_world.admin, sealed_world.run_options(trust=trust, check=True))
    assert begun["backup"]["id"] == sealed_set[0].name
    assert ["no signature" in one["reason"] for one in begun["backup"]["rejected"] if one["id"] == os.path.basename(newer)] == [True]
    with pytest.raises(RecoveryError, match="carries no signature"):
        runs.begin(sealed_world.admin, sealed_world.run_options(trust=trust, backup_id=shape_set.name))
    assert sealed_world.leftovers() == []


def test_in_place_is_refused_when_its_safety_set_could_not_be_opened_again(sealed_world, trust):
    seal = Seal(recipients=(str(OTHER.to_public()),), scratch_dir=trust.scratch_dir)
    options = sealed_world.run_options(trust=trust, seal=seal, mode="in_place", check=True)
    with pytest.raises(RecoveryError, match="could not be brought back") as caught:
        runs.begin(sealed_world.admin, options)
    assert caught.value.failure_class == "key_mismatch"


def test_an_encrypted_safety_set_brings_the_old_content_back(sealed_world, trust):
    before = sealed_world.fingerprint()
    safety = sealed_world.backup(kind="safety", seal=Seal(recipients=(str(OURS.to_public()),), scratch_dir=trust.scratch_dir))
    sealed_world.sql('DROP DATABASE "%s"' % sealed_world.database, database="postgres")
    journal, live = NoJournal(), sealed_world.database
    names = {"live": live, "undone": live + "_undone", "previous": live + "_previous"}
    journal.data.update(names=names, safety_set=safety["id"], facts={"owner": "letta"})
    closed = in_place.bring_back(sealed_world.admin, sealed_world.root, journal, sealed_world.bin_dir)
    assert closed[1] == "manual_help_needed"
    assert "is encrypted" in closed[0]
    told, failure_class = in_place.bring_back(sealed_world.admin, sealed_world.root, journal, sealed_world.bin_dir, trust=trust)
    assert failure_class == "swap_rolled_back", told
    assert content(sealed_world.fingerprint())["tables"] == content(before)["tables"]
    assert os.listdir(trust.scratch_dir) == []


def test_an_adopted_dump_is_signed_and_encrypted_too(sealed_set, pg, letta_shape, tmp_path):
    source = pg.clone_database("sealed_adopted", letta_shape, password=PASSWORD)
    tools = find_tools(str(pg.bin_dir))
    run_tool([tools.path("pg_dump"), "-Fc", "-f", str(tmp_path / "dump")], source)
    pg.drop_database("sealed_adopted")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    seal = Seal(sealed_set[2].signing_key, sealed_set[2].recipients, str(scratch))
    made = adopt.adopt_dump(adopt.AdoptOptions(str(tmp_path / "dump"), str(tmp_path / "store"), bin_dir=str(pg.bin_dir), seal=seal))
    folder = str(tmp_path / "store" / made["id"])
    assert sorted(os.listdir(folder + "/database")) == ["archive.dump.age"]
    trust = Trust(sealed_set[1], "ops", str(OURS), str(scratch))
    assert {one.status for one in verify.verify_set(folder, tools, True, trust=trust)} == {"pass"}
    assert os.listdir(scratch) == []


@pytest.mark.parametrize(
    ("seal", "failure_class", "says"),
    [
        (Seal(signing_key="/nonexistent/key"), "preflight", "letta_backup_signing_key"),
        (Seal(recipients=("age1nonsense",)), "usage", "letta_backup_recipients"),
        (Seal(recipients=(str(OURS.to_public()),), scratch_dir="/nonexistent"), "preflight", "letta_scratch_dir"),
    ],
)
def test_what_cannot_sign_or_encrypt_is_told_before_the_dump(world, seal, failure_class, says):
    options = take.BackupOptions(server=world.live, root=world.root, bin_dir=world.bin_dir, seal=seal)
    for call in (take.plan_backup, take.take_backup):
        with pytest.raises(RecoveryError) as caught:
            call(options)
        assert caught.value.failure_class == failure_class
        assert says in caught.value.message + caught.value.next_step
    assert len(catalogue.list_sets(world.root)) == 1


# -- by hand -------------------------------------------------------------------------------------------------------------------


def by_hand(number):
    """Return the lines of a block of README.md's section on restoring by hand."""
    section = (ROOT / "README.md").read_text().split("## Restoring by hand")[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[number]


def test_the_lines_in_the_readme_check_a_signature_and_decrypt_a_set(sealed_set, trust, tmp_path):
    (tmp_path / "signers").write_text(sealed_set[1])
    (tmp_path / "identity").write_text(str(OURS))
    (tmp_path / "bin").mkdir()
    if shutil.which("age") is None:  # the same lines, with the library behind the name of the program
        program = "#!%s\nimport sys, pyrage\nopt = dict(zip(sys.argv[2::2], sys.argv[3::2]))\n" % sys.executable
        program += "pyrage.decrypt_file(sys.argv[-1], opt['--output'], [pyrage.x25519.Identity.from_str(open(opt['--identity']).read())])\n"
        (tmp_path / "bin" / "age").write_text(program)
        (tmp_path / "bin" / "age").chmod(0o755)
    signing = by_hand(1).replace("/etc/letta/allowed_signers", str(tmp_path / "signers")).replace("ops@example.org", "ops")
    opening = by_hand(2).replace("/root/letta-backup.identity", str(tmp_path / "identity")).replace("/var/tmp/", "%s/" % tmp_path)

    def run(script, folder):
        env = {"PATH": "%s:/usr/bin:/bin" % (tmp_path / "bin"), "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(["/bin/sh", "-euc", script], cwd=folder, env=env, capture_output=True, text=True, check=False)

    done = run(signing + "sha256sum --check --quiet SHA256SUMS\n" + opening + "pwd\n", sealed_set[0])
    assert done.returncode == 0, done.stderr
    plain = Path(done.stdout.splitlines()[-1])
    wanted = {entry["path"]: entry["sha256"] for entry in manifests.load(str(sealed_set[0]))["encryption"]["files"]}
    found = {str(path.relative_to(plain)): hashlib.sha256(path.read_bytes()).hexdigest() for path in plain.rglob("*") if path.is_file()}
    assert found == wanted
    for change in ("manifest.json", "SHA256SUMS"):
        edited = tmp_path / change / sealed_set[0].name
        shutil.copytree(sealed_set[0], edited)
        with open(edited / change, "a", encoding="utf-8") as stream:
            stream.write("\n")
        assert run(signing, edited).returncode != 0, change


# -- client tools below the floor -----------------------------------------------------------------------------------------


def old_tools(folder, bin_dir, says):
    """Real tools that tell another version: wrappers, as Debian's are."""
    folder.mkdir()
    for name in ("pg_dump", "pg_restore"):
        text = '#!/bin/sh\n[ "$1" = --version ] && { echo "%s (PostgreSQL) %s"; exit; }\nexec "%s/%s" "$@"\n'
        (folder / name).write_text(text % (name, says, bin_dir, name))
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.fault(13, "floor")
def test_tools_below_the_floor_are_a_warning_for_archives_and_a_refusal_for_plain_sql(world, pg, tmp_path, sound_bin_dir):
    old = old_tools(tmp_path / "old", sound_bin_dir, "18.5 (Debian 18.5-1)")
    begun = runs.begin(world.admin, world.run_options(bin_dir=old, check=True))
    assert begun["plan"]["tools"] == {"pg_restore": "18.5", "bin_dir": old, "floor": "18.6"}
    assert any("18.5 is older than 18.6" in one and "CVE-2026-18408" in one for one in begun["plan"]["warnings"])
    begun = runs.begin(world.admin, world.run_options(bin_dir=sound_bin_dir, check=True))
    assert begun["plan"]["tools"]["floor"] == ""
    assert not any("CVE" in one for one in begun["plan"]["warnings"])
    run_tool([pg_tools.find_tools(str(pg.bin_dir)).path("pg_dump"), "-Fp", "-f", str(tmp_path / "plain.sql")], world.live)
    options = adopt.AdoptOptions(str(tmp_path / "plain.sql"), str(tmp_path / "store"), trust_sql=True, server=world.admin, bin_dir=old)
    for call in (adopt.plan_adopt, adopt.adopt_dump):
        with pytest.raises(RecoveryError, match=r"PostgreSQL 18\.6 or newer; found: .*18\.5") as caught:
            call(options)
        assert caught.value.failure_class == "schema"
