"""Values as Letta encrypts them, by other means than the code under test, and by Letta's own code."""
from __future__ import annotations

import base64
import json
import os
import subprocess
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from .letta_install import letta_home

_OWN_CODE = """
import json, sys
from letta.helpers.crypto_utils import CryptoUtils
key, values, sealed = json.load(sys.stdin)
read = [CryptoUtils.decrypt(value, key) for value in sealed]
print(json.dumps({"sealed": [CryptoUtils.encrypt(value, key) for value in values], "read": read}))
"""


@lru_cache
def _derived(key, salt):
    return PBKDF2HMAC(hashes.SHA256(), 32, salt, 100000).derive(key.encode())


def encrypt(value, key, salt=None):
    """Return ``value`` encrypted under ``key``; one ``salt`` for many values saves the time of deriving keys."""
    salt, nonce = salt or os.urandom(16), os.urandom(12)
    cipher = Cipher(algorithms.AES(_derived(key, salt)), modes.GCM(nonce)).encryptor()
    sealed = cipher.update(value.encode()) + cipher.finalize()
    return base64.b64encode(salt + nonce + sealed + cipher.tag).decode()


def by_letta(key, home, values=(), sealed=()):
    """Let Letta's own code encrypt ``values`` and decrypt ``sealed``; returns {"sealed": [...], "read": [...]}."""
    done = subprocess.run(
        [str(letta_home() / "venv" / "bin" / "python"), "-c", _OWN_CODE],
        input=json.dumps([key, list(values), list(sealed)]), env={"HOME": str(home), "PATH": "/usr/bin:/bin"}, cwd=home,
        text=True, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])
