# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Letta encrypts, and how: enough to tell whether a value opens under a key, and to bring it under another.

Read from ``letta/helpers/crypto_utils.py``, ``letta/schemas/secret.py`` and the ORM classes of Letta 0.16.8. A value is the standard
base64 of salt (16) | iv (12) | ciphertext | tag (16): AES-256-GCM under PBKDF2-HMAC-SHA256 of ``LETTA_ENCRYPTION_KEY`` as text,
100 000 iterations. Values carry no id of their key. Without a key Letta stores plain text in the very same columns.
"""
from __future__ import annotations

import base64
import binascii
import hashlib
import os
import sys

from ..errors import RecoveryError

# Table -> {encrypted column: the legacy column beside it}. The legacy ones held the plain text before 0.12; migrations leave it there.
COLUMNS = {
    "agent_environment_variables": {"value_enc": "value"},
    "mcp_oauth": {
        "access_token_enc": "access_token",
        "authorization_code_enc": "authorization_code",
        "client_secret_enc": "client_secret",
        "refresh_token_enc": "refresh_token",
    },
    "mcp_server": {"custom_headers_enc": "custom_headers", "token_enc": "token"},
    "providers": {"access_key_enc": "access_key", "api_key_enc": "api_key"},
    "sandbox_environment_variables": {"value_enc": "value"},
}

UNDER_KEY, OTHER_KEY, PLAIN, EMPTY, UNCHECKED = CLASSES = ("under_key", "other_key", "plain", "empty", "unchecked")

SALT_BYTES, IV_BYTES, TAG_BYTES, KEY_BYTES = 16, 12, 16, 32
ITERATIONS = 100000
# The encryption of the empty string: Letta writes it for every provider whose key comes from the environment.
SHORTEST = SALT_BYTES + IV_BYTES + TAG_BYTES
# Those of Letta's list of plain credentials that consist of letters of base64; every other one holds a sign base64 has not.
AWS_PREFIXES = ("AKIA", "ABIA", "ACCA", "ASIA")


def is_encrypted(value):
    """Tell whether a value has the shape of what Letta's encryption writes.

    Stricter than Letta's own guess, which skips over signs that are no base64 and so takes long JSON for ciphertext. Text in one
    case only (a key in hexadecimal digits) is no ciphertext either: of sixty random letters that has a chance of 1 in 10^13.

    :param value: text, not None.
    """
    return _sealed(value) is not None


def holds_nothing(value):
    """Tell whether an encrypted value is, whatever the key, the encryption of the empty string."""
    return len(_sealed(value) or b"") == SHORTEST


def classify(value, key):
    """Tell what a value of an encrypted column is, without showing it.

    :param value: text or None. :param key: ``LETTA_ENCRYPTION_KEY`` as text; empty or None when it is not known.
    :returns: ``empty``, ``plain``, ``under_key`` (it opens and is authentic), ``other_key`` (it does not: encrypted under another
        key, or damaged; nobody can tell these two apart), or ``unchecked`` for an encrypted value without a key.
    :raises RecoveryError: ``preflight`` when there is something to open and the package ``cryptography`` is not installed.
    """
    if not value:
        return EMPTY
    sealed = _sealed(value)
    if sealed is None:
        return PLAIN
    if not key:
        return UNCHECKED
    return UNDER_KEY if _open(sealed, key) is not None else OTHER_KEY


def seal(text, key):
    """Return a secret as Letta's encryption writes it: under a salt and an iv of its own.

    :param text: the plain value. :param key: ``LETTA_ENCRYPTION_KEY`` as text, not empty.
    :raises RecoveryError: ``preflight`` without the package ``cryptography``.
    """
    aead, _invalid = _library()
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(IV_BYTES)
    return base64.b64encode(salt + nonce + aead(_derive(key, salt)).encrypt(nonce, text.encode("utf-8"), None)).decode("ascii")


def unseal(value, key):
    """Return the plain text of an encrypted value; None when it does not open under the key, or is no encrypted value.

    :raises RecoveryError: ``preflight`` without the package ``cryptography``.
    """
    sealed = _sealed(value)
    data = _open(sealed, key) if sealed is not None else None
    return None if data is None else data.decode("utf-8")


def _sealed(value):
    """Return the bytes of an encrypted value, None when it is not one."""
    if value.startswith(AWS_PREFIXES) or value in (value.lower(), value.upper()):
        return None
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    # Python forgives signs behind the end; Letta writes none.
    return data if len(data) >= SHORTEST and base64.b64encode(data).decode() == value else None


def _open(sealed, key):
    """Return what is in an encrypted value, None when it is not authentic under the key."""
    aead, invalid = _library()
    salt, nonce, rest = sealed[:SALT_BYTES], sealed[SALT_BYTES : SALT_BYTES + IV_BYTES], sealed[SALT_BYTES + IV_BYTES :]
    try:
        return aead(_derive(key, salt)).decrypt(nonce, rest, None)
    except invalid:
        return None


def _derive(key, salt):
    return hashlib.pbkdf2_hmac("sha256", key.encode("utf-8"), salt, ITERATIONS, KEY_BYTES)


def _library():
    """Return (AESGCM, InvalidTag). Loaded only when there is something to open: a database host may lack the package."""
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise RecoveryError(
            "preflight",
            "letta_encryption_key cannot be tried: the Python package cryptography is missing for %s on this host" % sys.executable,
            next_step="install python3-cryptography there, or leave letta_encryption_key out: the key is then not proven",
        ) from None
    return AESGCM, InvalidTag
