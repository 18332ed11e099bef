# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognising Letta's encryption key without keeping it.

A backup set stores a slow, salted fingerprint of ``LETTA_ENCRYPTION_KEY``, so that a restore
can tell the right key from a wrong one before it loads anything. Letta takes the key as plain
text, of any length, and so do we: no trimming.
"""
from __future__ import annotations

import hashlib
import hmac
import os

from ..errors import RecoveryError

KDF = "pbkdf2-sha256"
ITERATIONS = 600000
# A manifest comes from outside: it must not be able to keep us busy for hours.
MAX_ITERATIONS = 10 * ITERATIONS
SALT_BYTES = 16


def fingerprint(key):
    """Return the fingerprint of an encryption key.

    :param key: the key as text, not empty.
    :returns: ``{"kdf": "pbkdf2-sha256", "iterations": 600000, "salt": hex, "fingerprint": hex}``; each call draws a new salt.
    :raises RecoveryError: ``usage`` when the key is empty.
    """
    if not key:
        raise RecoveryError("usage", "the encryption key is empty", next_step="set letta_encryption_key, or leave it out altogether")
    salt = os.urandom(SALT_BYTES)
    return {"kdf": KDF, "iterations": ITERATIONS, "salt": salt.hex(), "fingerprint": _derive(key, salt, ITERATIONS)}


def matches(key, known):
    """Tell whether a key is the one of a fingerprint, in constant time.

    :param key: the key as text.
    :param known: what :func:`fingerprint` returned.
    :returns: bool; an empty key matches nothing.
    :raises RecoveryError: ``preflight`` when the fingerprint is of a kind this version cannot compute.
    """
    try:
        kdf, iterations = known["kdf"], int(known["iterations"])
        salt, expected = bytes.fromhex(known["salt"]), known["fingerprint"].lower().encode("utf-8")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise _unreadable("it is incomplete") from None
    if kdf != KDF or not 0 < iterations <= MAX_ITERATIONS:
        raise _unreadable("kind %s with %d iterations is not supported" % (kdf, iterations))
    if not key:
        return False
    return hmac.compare_digest(_derive(key, salt, iterations).encode(), expected)


def _derive(key, salt, iterations):
    return hashlib.pbkdf2_hmac("sha256", key.encode("utf-8"), salt, iterations).hex()


def _unreadable(reason):
    return RecoveryError(
        "preflight",
        "the fingerprint of the encryption key cannot be read: %s" % reason,
        next_step="use the version of the collection that made the backup set",
    )
