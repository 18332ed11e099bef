"""What a value of an encrypted column is, told by trying the key and by nothing else."""
from __future__ import annotations

import base64
import os
import re
import sys

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import ciphers
from tests.lab import ROOT
from tests.lab.letta_cipher import by_letta, encrypt

KEY = "a key with spaces, ümlauts and a newline\n"
VALUES = ["", "b", "sk-proj-0123456789", "line one\nline two 🚀 'quoted' {{ x }}", "x" * 5000]
SCHEMA = (ROOT / "tests" / "integration" / "letta-0.16.8-schema.sql").read_text(encoding="utf-8")


def columns_of(table):
    body = re.search(r"CREATE TABLE letta\.%s \((.*?)\n\);" % table, SCHEMA, re.DOTALL)
    return set(re.findall(r"^    (\w+) ", body.group(1), re.MULTILINE))


def test_the_declared_columns_are_all_the_encrypted_ones_of_the_schema_with_the_plain_ones_beside_them():
    tables = re.findall(r"CREATE TABLE letta\.(\w+)", SCHEMA)
    in_schema = {(table, name) for table in tables for name in columns_of(table) if name.endswith("_enc")}
    assert {(table, name) for table, columns in ciphers.COLUMNS.items() for name in columns} == in_schema
    for table, columns in ciphers.COLUMNS.items():
        assert set(columns.values()) <= columns_of(table)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: "%d letters" % len(value))
def test_an_encrypted_value_opens_under_its_key_and_under_no_other(value):
    sealed = encrypt(value, KEY)
    assert ciphers.classify(sealed, KEY) == "under_key"
    assert ciphers.classify(sealed, KEY.strip()) == "other_key"
    assert ciphers.classify(sealed, "") == "unchecked"
    assert ciphers.classify(sealed, None) == "unchecked"
    assert ciphers.holds_nothing(sealed) is (value == "")


def test_a_value_with_one_bit_flipped_anywhere_does_not_open():
    sealed = base64.b64decode(encrypt("a secret", KEY))
    for place in (0, 15, 16, 27, 28, len(sealed) - 17, len(sealed) - 16, len(sealed) - 1):
        damaged = bytearray(sealed)
        damaged[place] ^= 1
        assert ciphers.classify(base64.b64encode(damaged).decode(), KEY) == "other_key", place


@pytest.mark.parametrize("value", ["", None])
def test_no_value_is_empty(value):
    assert ciphers.classify(value, KEY) == ciphers.classify(value, "") == "empty"


@pytest.mark.parametrize(
    "value",
    ["b", " ", "sk-proj-" + "A" * 100, "Bearer " + "aB3" * 30, "AKIA" + "aB3" * 20, '{"Authorization": "Bearer %s"}' % ("aB3" * 30),
     "0123456789abcdef" * 8, "0123456789ABCDEF" * 8, "aB3" * 19, "aB3/" * 40 + "=", "aB3/" * 40 + "\n", "ü" * 80, "<encrypted>"],
    ids=lambda value: value[:12],
)  # fmt: skip
@pytest.mark.parametrize("key", [KEY, ""], ids=["key", "no key"])
def test_text_that_letta_stored_without_a_key_is_plain(value, key):
    assert ciphers.classify(value, key) == "plain"


def test_without_the_package_only_what_must_be_opened_fails_and_says_what_to_install(monkeypatch):
    sealed = encrypt("a secret", KEY)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    assert [ciphers.classify(value, KEY) for value in ("", "plain")] == ["empty", "plain"]
    assert ciphers.classify(sealed, "") == "unchecked"
    with pytest.raises(RecoveryError) as caught:
        ciphers.classify(sealed, KEY)
    assert caught.value.failure_class == "preflight"
    assert "python3-cryptography" in caught.value.next_step
    assert sys.executable in caught.value.message
    assert KEY not in str(caught.value.as_dict())


@pytest.mark.slow
def test_letta_s_own_code_and_this_one_mean_the_same(tmp_path):
    ours = [ciphers.seal(value, KEY) for value in VALUES]
    letta = by_letta(KEY, tmp_path, VALUES, ours)
    assert letta["read"] == VALUES
    assert [ciphers.classify(value, KEY) for value in letta["sealed"]] == ["under_key"] * len(VALUES)
    assert [ciphers.classify(value, "another") for value in letta["sealed"]] == ["other_key"] * len(VALUES)
    assert [ciphers.holds_nothing(value) for value in letta["sealed"]] == [value == "" for value in VALUES]


def test_random_ciphertext_is_never_taken_for_plain_text():
    for _ in range(3000):
        assert ciphers.is_encrypted(base64.b64encode(os.urandom(ciphers.SHORTEST)).decode())


@pytest.mark.parametrize("value", VALUES, ids=lambda value: "%d letters" % len(value))
def test_a_value_sealed_here_is_the_same_when_unsealed_and_has_a_salt_of_its_own(value):
    sealed = ciphers.seal(value, KEY)
    assert ciphers.unseal(sealed, KEY) == value
    assert ciphers.unseal(sealed, "another key") is None
    assert ciphers.unseal(encrypt(value, KEY), KEY) == value
    assert ciphers.seal(value, KEY)[:24] != sealed[:24]


def test_what_is_no_encrypted_value_is_not_unsealed():
    assert ciphers.unseal("sk-plain", KEY) is None
