"""The encryption key is recognised, never kept."""
from __future__ import annotations

import json

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta.secrets import fingerprint, matches

KEY = "a key with spaces, ümlauts and a newline\n"


@pytest.fixture(scope="module")
def known():
    return fingerprint(KEY)


def test_the_same_key_matches_and_any_other_does_not(known):
    assert matches(KEY, known) is True
    assert matches(KEY.strip(), known) is False
    assert matches("", known) is False


def test_a_fingerprint_is_slow_salted_plain_data_without_the_key(known):
    assert (known["kdf"], known["iterations"], len(known["salt"]), len(known["fingerprint"])) == ("pbkdf2-sha256", 600000, 32, 64)
    assert "key with" not in json.dumps(known)
    other = fingerprint(KEY)
    assert (other["salt"], other["fingerprint"]) != (known["salt"], known["fingerprint"])
    assert matches(KEY, json.loads(json.dumps(other)))


def test_an_empty_key_has_no_fingerprint():
    with pytest.raises(RecoveryError) as caught:
        fingerprint("")
    assert caught.value.failure_class == "usage"


@pytest.mark.parametrize(
    "change",
    [{"kdf": "scrypt"}, {"iterations": 10**12}, {"iterations": 0}, {"iterations": "many"}, {"salt": "zz"}, {"fingerprint": None}],
)
def test_a_fingerprint_that_cannot_be_computed_is_refused_at_once_and_says_no_key_is_wrong(known, change):
    with pytest.raises(RecoveryError) as caught:
        matches(KEY, {**known, **change})
    assert caught.value.failure_class == "preflight"
