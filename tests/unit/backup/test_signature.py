"""Signed manifests: each way a signature can be wrong is its own reason, told before anything of the set is believed."""
from __future__ import annotations

import os
import shutil
import subprocess
from datetime import timedelta

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import (
    catalogue,
    choosing,
    retention,
    signature,
    stores,
    verify,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.trust import Trust
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError

from .conftest import NOW


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Paths of private keys: ``ours``, ``other`` (known too), ``stranger``, ``locked`` (with a passphrase)."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "other", "stranger", "locked"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-C", name, "-N", "secret words" if name == "locked" else "", "-f", str(folder / name)]
        subprocess.run(argv, check=True)
    return {name: str(folder / name) for name in ("ours", "other", "stranger", "locked")}


def signers(keys, options="", names=("ours", "other")):
    lines = []
    for name in names:
        with open(keys[name] + ".pub", encoding="utf-8") as stream:
            lines.append("%s@example.org %s %s" % (name, options, stream.read().strip()))
    return "\n".join(lines)


def sign(sets, set_id, key, namespace=signature.NAMESPACE):
    path = sets.path(set_id, manifests.MANIFEST)
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", key, path], check=True, capture_output=True)


def problem(sets, set_id, trust):
    with pytest.raises(RecoveryError) as caught:
        manifests.load(sets.path(set_id), trust)
    assert caught.value.failure_class == "backup_corrupt"
    assert set_id in caught.value.message
    return caught.value.details["problem"]


def test_a_signed_set_is_accepted_by_content_and_by_path_by_anybody_listed_and_by_the_one_named(sets, keys, tmp_path):
    set_id = sets.add()
    manifest = manifests.load(sets.path(set_id))
    os.unlink(sets.path(set_id, manifests.MANIFEST))
    (listed := tmp_path / "signers").write_text(signers(keys))
    manifest.pop("checksum")
    manifest["files"] = manifest["files"][:-1]
    manifests.write(sets.path(set_id), manifest, keys["ours"])
    for trust in (Trust(signers(keys)), Trust(str(listed)), Trust(signers(keys), "ours@example.org"), Trust()):
        assert manifests.load(sets.path(set_id), trust)["id"] == set_id
    assert os.stat(sets.path(set_id, "manifest.json.sig")).st_mode & 0o777 == 0o600
    assert {finding.status for finding in verify.verify_set(sets.path(set_id), deep=False, trust=Trust(signers(keys)))} == {"pass"}
    # OpenSSH alone says the same: the line of README.md for a restore by hand.
    argv = ["ssh-keygen", "-Y", "verify", "-f", str(listed), "-I", "ours@example.org", "-n", "letta_ops.recovery", "-s"]
    with open(sets.path(set_id, "manifest.json"), "rb") as stream:
        subprocess.run([*argv, sets.path(set_id, "manifest.json.sig")], stdin=stream, check=True, capture_output=True)


@pytest.mark.fault(3, "unsigned", "stranger")
def test_each_fault_of_a_signature_has_its_own_reason(sets, keys):
    trust, found = Trust(signers(keys)), {}
    found["unsigned"] = problem(sets, sets.add(), trust)
    stranger, edited, other, purpose, swapped, broken = (sets.add() for _number in range(6))
    sign(sets, stranger, keys["stranger"])
    found["signed_by_stranger"] = problem(sets, stranger, trust)
    sign(sets, edited, keys["ours"])
    manifest = manifests.load(sets.path(edited))
    manifests.durable.write_json(sets.path(edited, manifests.MANIFEST), manifests.seal(dict(manifest, kind="safety")))
    assert manifests.load(sets.path(edited))["kind"] == "safety", "its own checksum is right again: only the signature tells"
    found["edited_after_signing"] = problem(sets, edited, trust)
    sign(sets, other, keys["other"])
    assert manifests.load(sets.path(other), trust)
    found["wrong_signer"] = problem(sets, other, Trust(signers(keys), "ours@example.org"))
    found["key_expired"] = problem(sets, other, Trust(signers(keys, 'valid-before="20200101"')))
    sign(sets, purpose, keys["ours"], "git")
    found["wrong_purpose"] = problem(sets, purpose, trust)
    assert problem(sets, other, Trust(signers(keys, 'namespaces="git"'))) == "wrong_purpose"
    shutil.copyfile(sets.path(other, "manifest.json.sig"), sets.path(swapped, "manifest.json.sig"))
    assert problem(sets, swapped, trust) == "edited_after_signing", "a good signature of another set is none"
    with open(sets.path(broken, "manifest.json.sig"), "w", encoding="utf-8") as stream:
        stream.write("no signature\n")
    found["bad_signature"] = problem(sets, broken, trust)
    assert found == {word: word for word in found}
    assert problem(sets, other, Trust("nobody@example.org")) == "signed_by_stranger", "a list of nobody trusts nobody"


def test_a_manifest_is_not_even_parsed_before_its_signature_is_good(sets, keys):
    set_id = sets.add()
    with open(sets.path(set_id, manifests.MANIFEST), "w", encoding="utf-8") as stream:
        stream.write("{" * 100000)
    assert problem(sets, set_id, Trust(signers(keys))) == "unsigned"
    os.symlink(keys["ours"], sets.path(set_id, "manifest.json.sig"))
    assert problem(sets, set_id, Trust(signers(keys))) == "unsigned", "a link is no signature"


def test_latest_passes_over_a_strangers_set_and_pruning_neither_removes_nor_counts_it(sets, keys):
    ours = [sets.add(age) for age in (timedelta(days=2), timedelta(days=1))]
    for set_id in ours:
        sign(sets, set_id, keys["ours"])
    stranger = sets.add()
    sign(sets, stranger, keys["stranger"])
    trust = Trust(signers(keys))
    assert choosing.choose(sets.root, now=NOW)[0].id == stranger, "without allowed signers any set is as good as another"
    info, rejected = choosing.choose(sets.root, now=NOW, trust=trust)
    assert info.id == ours[1]
    assert [(one["id"], "stranger" in one["reason"]) for one in rejected] == [(stranger, True)]
    with pytest.raises(RecoveryError, match="signed by a stranger") as caught:
        choosing.choose(sets.root, stranger, now=NOW, trust=trust)
    assert caught.value.failure_class == "backup_corrupt"
    outcome = retention.prune(sets.root, {"last": 1}, NOW, trust=trust)
    assert outcome["removed"] == [ours[0]]
    assert "remove it by name" in outcome["keep"][stranger][0]
    assert ours[1] in outcome["keep"]


def test_a_missing_list_of_signers_stops_everything_and_is_not_taken_for_no_list(sets, keys):
    set_id = sets.add()
    sign(sets, set_id, keys["ours"])
    for call in (lambda trust: catalogue.list_sets(sets.root, NOW, trust), lambda trust: verify.verify_set(sets.path(set_id), trust=trust)):
        with pytest.raises(RecoveryError, match="allowed_signers") as caught:
            call(Trust("/nonexistent/signers"))
        assert caught.value.failure_class == "preflight"


@pytest.mark.parametrize("key", ["locked", "nowhere"])
def test_a_key_that_cannot_sign_is_told_without_waiting_for_a_passphrase(keys, key):
    with pytest.raises(RecoveryError, match="letta_backup_signing_key") as caught:
        signature.sign(b"x", keys.get(key, "/nonexistent/key"))
    assert caught.value.failure_class == "preflight"


def test_a_key_that_only_an_agent_holds_signs_by_its_public_half(keys, tmp_path, monkeypatch):
    socket = str(tmp_path / "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        while not os.path.exists(socket):
            assert agent.poll() is None
        subprocess.run(["ssh-add", "-q", keys["ours"]], check=True, capture_output=True)
        shutil.copyfile(keys["ours"] + ".pub", tmp_path / "held.pub")
        (tmp_path / "sig").write_bytes(signature.sign(b"data", str(tmp_path / "held.pub")))
    finally:
        agent.terminate()
        agent.wait()
    assert signature.problem_with(b"data", str(tmp_path / "sig"), Trust(signers(keys))) is None


@pytest.mark.parametrize("kind", ["rclone", "folder"])
def test_a_remote_store_is_asked_for_signatures_too(sets, keys, tmp_path, kind):
    ours, stranger = sets.add(timedelta(days=1)), sets.add()
    sign(sets, ours, keys["ours"])
    sign(sets, stranger, keys["stranger"])
    root = str(tmp_path / "here")
    os.mkdir(root)
    name = "rclone::local:%s" % sets.root if kind == "rclone" else sets.root
    with stores.opened([name], root, trust=Trust(signers(keys))) as places:
        choice = choosing.search(places, choosing.Request(now=NOW))
    assert choice.info.id == ours
    assert [(one["id"], "stranger" in one["reason"]) for one in choice.rejected] == [(stranger, True)]
    assert manifests.load(choice.info.path, Trust(signers(keys)))["id"] == ours, "what was brought carries its signature"
