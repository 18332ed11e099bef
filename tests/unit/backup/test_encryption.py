"""Encryption by age, with the program and with the library; the private folder for plain copies; sets whose files are encrypted."""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import age, sealed, store, verify, workplace
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.trust import Seal, Trust
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError

OURS, OTHER = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
SECRET = b"a message of somebody\n" * 400000  # 8 MiB: more than one block of everything


@pytest.fixture(params=["program", "library"])
def tool(request):
    if request.param == "library":
        return age.Library()
    path = shutil.which("age")
    if path is None:
        pytest.skip("the program age is not installed here; the library does the same work")
    return age.Program(path)


@pytest.fixture
def plain(tmp_path):
    (tmp_path / "plain").write_bytes(SECRET)
    return str(tmp_path / "plain")


def test_what_is_encrypted_for_several_opens_for_each_and_for_nobody_else(tool, plain, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "ssh")], check=True)
    ssh = (tmp_path / "ssh.pub").read_text().strip()
    target = str(tmp_path / "sealed.age")
    tool.encrypt(plain, target, (str(OURS.to_public()), ssh))
    sealed_bytes = (tmp_path / "sealed.age").read_bytes()
    assert sealed_bytes.startswith(b"age-encryption.org/v1")
    assert b"somebody" not in sealed_bytes
    for number, identity in enumerate(("# made by age-keygen\n%s\n" % OURS, (tmp_path / "ssh").read_text())):
        back = tmp_path / ("back%d" % number)
        tool.decrypt(target, str(back), identity)
        assert back.read_bytes() == SECRET
    with pytest.raises(age.WrongIdentity, match="opens nothing"):
        tool.decrypt(target, str(tmp_path / "no"), str(OTHER))


def test_program_and_library_read_what_the_other_wrote(tool, plain, tmp_path):
    tool.encrypt(plain, str(tmp_path / "sealed"), (str(OURS.to_public()),))
    age.tool().decrypt(str(tmp_path / "sealed"), str(tmp_path / "back"), str(OURS))
    age.Library().decrypt(str(tmp_path / "sealed"), str(tmp_path / "back2"), str(OURS))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "back2").read_bytes() == SECRET


@pytest.mark.parametrize("damage", ["flip", "cut", "no age file"])
def test_a_damaged_file_is_told_from_a_wrong_identity(tool, plain, tmp_path, damage):
    target = tmp_path / "sealed"
    tool.encrypt(plain, str(target), (str(OURS.to_public()),))
    data = bytearray(target.read_bytes())
    data[len(data) // 2] ^= 1
    target.write_bytes({"flip": bytes(data), "cut": target.read_bytes()[:-100], "no age file": SECRET}[damage])
    with pytest.raises(age.Damaged):
        tool.decrypt(str(target), str(tmp_path / "back"), str(OURS))


BROKEN_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.mark.parametrize("text", ["", "AGE-SECRET-KEY-1NOTAKEY", BROKEN_KEY, "# x\n"])
def test_what_is_no_identity_is_told_and_not_quoted(tool, plain, tmp_path, text):
    tool.encrypt(plain, str(tmp_path / "sealed"), (str(OURS.to_public()),))
    with pytest.raises(age.WrongIdentity) as caught:
        tool.decrypt(str(tmp_path / "sealed"), str(tmp_path / "back"), text)
    assert "NOTAKEY" not in str(caught.value)


@pytest.mark.parametrize("recipient", ["age1nonsense", "--help", "ssh-ed25519 nonsense", "", "age1x\nage1y"])
def test_what_is_no_recipient_is_refused(tool, plain, tmp_path, recipient):
    with pytest.raises(RecoveryError) as caught:
        tool.encrypt(plain, str(tmp_path / "sealed"), (recipient,))
    assert caught.value.failure_class == "usage"


def test_without_either_tool_what_to_install_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(age, "pyrage", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RecoveryError, match="neither the program age nor the Python package pyrage") as caught:
        age.tool()
    assert caught.value.failure_class == "preflight"


def test_encrypting_and_decrypting_keep_memory_flat(tmp_path):
    code = """
import os, resource, sys
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import age
path = sys.argv[1]
with open(path, "wb") as out:
    for _number in range(96):
        out.write(os.urandom(1 << 20))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
age.Library().encrypt(path, path + ".age", (sys.argv[2],))
age.Library().decrypt(path + ".age", path + ".back", sys.stdin.read())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    argv = [sys.executable, "-c", code, str(tmp_path / "big"), str(OURS.to_public())]
    done = subprocess.run(argv, input=str(OURS), env=env, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20 * 1024, "KiB, for a file of 96 MiB"


# -- the private folder ---------------------------------------------------------------------------------------------


def test_the_private_folder_is_private_and_gone_afterwards_also_after_an_error(tmp_path):
    with pytest.raises(KeyError), workplace.private_folder(str(tmp_path)) as folder:
        assert os.stat(folder).st_mode & 0o777 == 0o700
        assert workplace.reap(str(tmp_path)) == [], "a living one is left alone"
        raise KeyError("x")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_killed_process_left_goes_at_once_or_with_the_next_one(tmp_path, number):
    code = """
import sys, time
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import workplace
with workplace.private_folder(sys.argv[1]) as folder:
    open(folder + "/plain", "w").write("plain")
    print("ready", flush=True)
    time.sleep(60)
"""
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=env, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    process.wait()
    assert len(os.listdir(tmp_path)) == (1 if number == signal.SIGKILL else 0)
    with workplace.private_folder(str(tmp_path)) as folder:
        assert os.listdir(tmp_path) == [os.path.basename(folder)]


def test_reaping_follows_no_link_and_leaves_strangers_alone(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / store.manifests.HOLDER).touch()
    (tmp_path / (workplace.PREFIX + "link")).symlink_to(tmp_path / "precious")
    (tmp_path / (workplace.PREFIX + "fresh")).mkdir()
    assert workplace.reap(str(tmp_path)) == []
    os.utime(tmp_path / (workplace.PREFIX + "fresh"), (1, 1))
    assert workplace.reap(str(tmp_path)) == [workplace.PREFIX + "fresh"]
    assert (tmp_path / "precious" / store.manifests.HOLDER).exists()


def test_a_place_without_room_is_told_before_any_work(tmp_path):
    with pytest.raises(RecoveryError, match="letta-scratch|plain copies") as caught, workplace.private_folder(str(tmp_path), 1 << 60):
        pass
    assert caught.value.failure_class == "preflight"
    assert "letta_scratch_dir" in caught.value.next_step


# -- sets --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def made(sets, tmp_path):
    """An encrypted set: (folder, manifest, Trust that opens it)."""
    (tmp_path / "scratch").mkdir()
    scratch = str(tmp_path / "scratch")
    manifest = manifests.load(sets.path(sets.add()))
    seal = Seal(recipients=(str(OURS.to_public()),), scratch_dir=scratch)
    for name in ("checksum", "files"):
        manifest.pop(name)
    manifest["id"] = manifest["id"][:-6] + "abcdef"
    with store.incoming(sets.root, manifest["id"]) as folder, sealed.making(folder, seal) as plain:
        assert os.path.dirname(plain) == scratch
        os.mkdir(os.path.join(plain, "database"))
        for name in ("toc.dat", "1.dat"):
            with open(os.path.join(plain, "database", name), "wb") as stream:
                stream.write(SECRET[: 100 if name == "toc.dat" else None])
        manifest = sealed.encrypt(plain, folder, manifest, seal)
        manifest["files"] = manifests.checksum_files(folder)
        manifest = manifests.write(folder, manifest)
    assert os.listdir(scratch) == []
    return sets.path(manifest["id"]), manifest, Trust(identity=str(OURS), scratch_dir=scratch)


def test_an_encrypted_set_holds_nothing_plain_and_its_files_are_read_back_equal(made):
    folder, manifest, trust = made
    everything = b"".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())
    assert b"somebody" not in everything
    assert str(OURS).encode() not in everything
    assert sorted(os.listdir(os.path.join(folder, "database"))) == ["1.dat.age", "toc.dat.age"]
    assert manifests.load(folder)["agents"] == {"agent-1": {"name": None, "digest": "sha256:0"}}
    with sealed.opened(folder, manifest, trust) as plain:
        assert sorted(os.listdir(os.path.join(plain.folder, "database"))) == ["toc.dat"], "the smallest file proves the identity"
        plain.fetch()
        with open(os.path.join(plain.folder, "database", "1.dat"), "rb") as stream:
            assert stream.read() == SECRET
    assert os.listdir(trust.scratch_dir) == []


def test_damage_is_found_without_the_identity(made):
    folder, _manifest, _trust = made
    with open(os.path.join(folder, "database", "1.dat.age"), "r+b") as stream:
        stream.seek(5 << 20)
        stream.write(b"!")
    found = verify.verify_set(folder, deep=True)
    assert [(one.id, "byte range 4194304-8" in one.detail) for one in found] == [("files.checksum", True)]


@pytest.mark.parametrize("identity", ["", str(OTHER), "/nonexistent/identity", "rubbish"], ids=["none", "another", "no file", "rubbish"])
def test_a_wrong_or_missing_identity_ends_in_key_mismatch_and_leaves_nothing(made, identity):
    folder, manifest, trust = made
    with pytest.raises(RecoveryError) as caught, sealed.opened(folder, manifest, Trust(identity=identity, scratch_dir=trust.scratch_dir)):
        raise AssertionError("it opened")
    assert caught.value.failure_class == "key_mismatch"
    assert "letta_backup_identity" in caught.value.next_step
    assert str(OTHER) not in str(caught.value.as_dict())
    assert os.listdir(trust.scratch_dir) == []


def test_a_file_that_was_exchanged_for_another_of_the_same_recipients_is_refused(made):
    folder, manifest, trust = made
    age.tool().encrypt(__file__, os.path.join(folder, "x"), manifest["encryption"]["recipients"])
    os.replace(os.path.join(folder, "x"), os.path.join(folder, "database", "1.dat.age"))
    with sealed.opened(folder, manifest, trust) as plain, pytest.raises(RecoveryError, match="other content") as caught:
        plain.fetch()
    assert caught.value.failure_class == "backup_corrupt"


def test_a_pair_of_recipients_and_identity_that_do_not_belong_together_is_found(tmp_path):
    seal = Seal(recipients=(str(OURS.to_public()),), scratch_dir=str(tmp_path))
    sealed.check_pair(seal, Trust(identity=str(OURS)))
    with pytest.raises(RecoveryError) as caught:
        sealed.check_pair(seal, Trust(identity=str(OTHER)))
    assert caught.value.failure_class == "key_mismatch"
    assert os.listdir(tmp_path) == []
