"""No wrong verdict: what was changed, cut or flipped is refused, or it still means the same."""
from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tarfile
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import rehearsals, unpack
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import secrets
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial import rows as partial_rows
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial import selection
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import archive as archives
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.copytext import NULL
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal
from tests.fuzz import archives as made
from tests.fuzz import sets
from tests.fuzz.bench import as_bytes, sample_manifest
from tests.fuzz.documents import HALVES, NUMBERS, changed, deep

QUICK = settings(derandomize=True, database=None, deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
OTHERS = (*NUMBERS, "", "x", "\0", [], {}, [None], {"a": None}, *HALVES)
BAD_ARCHIVE = (tarfile.TarError, OSError, EOFError, ValueError)


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / sets.SET_ID
    folder.mkdir()
    return folder


@pytest.mark.fault(3, "edited")
def test_a_manifest_with_one_changed_place_is_refused_or_means_the_same(place):
    whole = sample_manifest()
    canonical = manifests.checksum(whole)

    @QUICK
    @given(st.integers(0, 1 << 32))
    def check(seed):
        loaded = sets.judged(place, as_bytes(changed(whole, Random(seed))))
        assert loaded is None or (loaded["checksum"], manifests.checksum(loaded)) == (whole["checksum"], canonical)

    check()


@pytest.mark.fault(3, "cut")
def test_a_manifest_that_was_cut_at_any_byte_is_refused(place):
    data = as_bytes(sample_manifest())
    for end in [*range(0, len(data), 7), len(data) - 1]:
        assert sets.judged(place, data[:end]) is None


def paths(node, above=()):
    """Every place of a document, as keys from its top; of things of one kind the first only."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node[:1]):
        yield (*above, key)
        if isinstance(value, (dict, list)):
            yield from paths(value, (*above, key))


@pytest.mark.fault(12, "manifest")
@pytest.mark.parametrize("whole", [sample_manifest(), dict(sample_manifest(), **sets.VOLUMES)], ids=["plain", "encrypted"])
def test_a_manifest_sealed_anew_with_a_value_of_another_kind_is_refused_or_harmless(place, whole):
    @settings(QUICK, max_examples=150)
    @given(st.sampled_from(sorted(paths(whole), key=repr)), st.sampled_from(OTHERS))
    def check(path, value):
        other = json.loads(json.dumps(whole))
        node = other
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
        sets.judged(place, as_bytes(other if value in HALVES else manifests.seal(other)))

    check()


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None, [1], 3])
def test_a_manifest_of_no_known_format_is_refused(place, version):
    assert sets.judged(place, as_bytes(manifests.seal(dict(sample_manifest(), format=version)))) is None


@pytest.mark.parametrize("data", sets.seeds()["journal"])
def test_a_journal_that_was_cut_at_any_byte_is_refused_and_never_another_state(tmp_path, data):
    folder = tmp_path / sets.RUN_ID
    folder.mkdir()
    for end in range(len(data)):
        (folder / "journal.json").write_bytes(data[:end])
        with pytest.raises(RecoveryError, match="cannot be read") as caught:
            Journal.load(str(folder))
        assert caught.value.failure_class == "manual_help_needed"
        assert caught.value.next_step


@pytest.mark.parametrize("change", [
    {"status": "opened"}, {"status": None}, {"steps": None}, {"steps": {}}, {"steps": [{}]}, {"steps": [{"name": "a", "state": "maybe"}]},
    {"steps": [{"name": "a", "state": "done"}, {"name": "a", "state": "begun"}]}, {"created_at": None}, {"created_at": "yesterday"},
    {"run_id": "r-00000000"}, {"format": 2},
])  # fmt: skip
def test_a_journal_in_no_state_that_a_run_can_be_in_is_refused(tmp_path, change):
    folder = tmp_path / sets.RUN_ID
    folder.mkdir()
    (folder / "journal.json").write_bytes(as_bytes(dict(json.loads(sets.seeds()["journal"][0]), **change)))
    with pytest.raises(RecoveryError, match="cannot be read"):
        Journal.load(str(folder))


@pytest.mark.fault(2, "rebuilt")
def test_a_table_of_contents_that_was_cut_at_any_byte_is_refused(tmp_path):
    data = made.small_archive()
    for end in range(len(data)):
        (tmp_path / "toc.dat").write_bytes(data[:end])
        with pytest.raises(RecoveryError):
            archives.read_own(str(tmp_path))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, bytes], ids=["gzip", "bzip2", "xz", "plain"])
def test_a_volume_that_was_cut_or_flipped_anywhere_is_refused_or_holds_the_same(tmp_path, pack):
    path = tmp_path / "v"
    whole = pack(made._tar({"a": bytes(range(256)) * 8, "b/c": b"x" * 3000}))
    path.write_bytes(whole)
    facts = unpack.read_volume(str(path))
    named = {True: 0, False: 0}

    @QUICK
    @given(st.integers(0, len(whole) - 1), st.integers(-1, 7))
    def check(at, bit):
        path.write_bytes(whole[:at] if bit < 0 else whole[:at] + bytes((whole[at] ^ 1 << bit,)) + whole[at + 1 :])
        try:
            found = unpack.read_volume(str(path))
        except BAD_ARCHIVE:
            return
        named[found == facts] += 1

    check()
    # Without compression nothing but the manifest's digest tells a flipped bit in a file: it is another one then.
    assert pack is bytes or named[False] == 0


def test_json_of_a_row_that_is_nested_beyond_reading_leads_nowhere():
    assert partial_rows.inside(deep(), "a.b") == NULL
    assert selection._ids(deep().decode()) == []


@pytest.mark.parametrize(
    "change", [{"iterations": float("inf")}, {"iterations": 10**400}, {"fingerprint": "\ud800"}, {"salt": "x"}, {"kdf": []}]
)
def test_a_fingerprint_of_a_key_that_is_none_is_refused(change):
    known = {"kdf": secrets.KDF, "iterations": 1, "salt": "aa", "fingerprint": "bb"}
    assert secrets.matches("key", known) is False
    with pytest.raises(RecoveryError, match="cannot be read"):
        secrets.matches("key", dict(known, **change))


def test_a_line_of_the_history_that_was_cut_is_counted_and_the_others_stay(tmp_path):
    root, (data, *_others) = tmp_path, sets.seeds()["history"]
    (root / rehearsals.FOLDER).mkdir()
    first, second, _end = data.split(b"\n")
    for end in range(1, len(second)):
        (root / rehearsals.FOLDER / rehearsals.FILE).write_bytes(first + b"\n" + second[:end])
        records, damaged = rehearsals.read(str(root))
        assert ([record["verdict"] for record in records], damaged) == (["passed"], 1)
