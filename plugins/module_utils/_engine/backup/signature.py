# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures of manifests. OpenSSH's ``ssh-keygen -Y`` makes and judges them, for one purpose named in each."""
from __future__ import annotations

import os
import re
import tempfile

from ..errors import RecoveryError
from . import programs

NAMESPACE = "letta_ops.recovery"
SUFFIX = ".sig"
_INSTALL = "OpenSSH's client tools, 8.1 or newer (Debian: openssh-client; RHEL: openssh)"
_KEY = re.compile(r"with (\S+ key \S+:\S+)")


def sign(data, key):
    """Return the signature (bytes, armoured) of bytes.

    :param key: path of a private key without passphrase, or of the public key of one that ``ssh-agent`` holds.
    :raises RecoveryError: ``preflight`` with what ssh-keygen said.
    """
    done = programs.run([programs.find("ssh-keygen", _INSTALL), "-Y", "sign", "-n", NAMESPACE, "-f", key], data)
    if done.returncode:
        raise RecoveryError(
            "preflight",
            "the manifest cannot be signed with the key of letta_backup_signing_key: %s" % programs.last_line(done.stderr),
            next_step="name a private key without passphrase that this user can read, or the .pub file of one that ssh-agent holds",
        )
    return done.stdout


def check_ready(trust):
    """Make sure that signatures can be judged here, if they are asked for. :raises RecoveryError: ``preflight``."""
    if trust.allowed_signers:
        programs.find("ssh-keygen", _INSTALL)
        with _signers_file(trust.allowed_signers):
            return


def problem_with(data, signature, trust):
    """Judge a signature.

    :param data: the signed bytes. :param signature: path of the signature, which may be absent. :param trust: :class:`~.trust.Trust`.
    :returns: None for a good one, else (word for programs, sentence): ``unsigned``, ``bad_signature``, ``wrong_purpose``,
        ``edited_after_signing``, ``signed_by_stranger``, ``key_expired``, ``wrong_signer``.
    :raises RecoveryError: ``preflight`` without ssh-keygen or without the file of allowed signers.
    """
    keygen = programs.find("ssh-keygen", _INSTALL)
    if not os.path.isfile(signature) or os.path.islink(signature):
        return "unsigned", "it carries no signature, and letta_backup_allowed_signers asks for one"
    whole = programs.run([keygen, "-Y", "check-novalidate", "-n", NAMESPACE, "-s", signature], data)
    if whole.returncode:
        return _broken(whole.stderr)
    found = _KEY.search(whole.stdout.decode("utf-8", "replace"))
    with _signers_file(trust.allowed_signers) as signers:
        return _judge(keygen, data, signature, signers, trust.signer, found.group(1) if found else "an unknown key")


def _broken(said):
    if "incorrect signature" in said:
        return "edited_after_signing", "its signature is of another content: manifest.json was edited after it was signed"
    if "namespace" in said:
        return "wrong_purpose", "its signature was made for another purpose than %s" % NAMESPACE
    return "bad_signature", "its signature cannot be read (%s)" % programs.last_line(said.replace("Could not verify signature.", ""))


def _judge(keygen, data, signature, signers, wanted, key):
    known = programs.run([keygen, "-Y", "find-principals", "-f", signers, "-s", signature], data)
    names = known.stdout.decode("utf-8", "replace").split("\n") if known.returncode == 0 else []
    said = known.stderr
    for name in [wanted] if wanted else [name for name in names if name]:
        done = programs.run([keygen, "-Y", "verify", "-f", signers, "-I", name, "-n", NAMESPACE, "-s", signature], data)
        if done.returncode == 0:
            return None
        said += done.stderr
    if "expired" in said or "not yet valid" in said:
        return "key_expired", "the key it was signed with (%s) is outside of its term in letta_backup_allowed_signers" % key
    if "not permitted for use in signature namespace" in said:
        return "wrong_purpose", "letta_backup_allowed_signers does not allow %s to sign for %s" % (key, NAMESPACE)
    if wanted and any(names):
        return "wrong_signer", "it was signed by %s (%s), not by %s" % (", ".join(filter(None, names)), key, wanted)
    return "signed_by_stranger", "it was signed by a stranger: %s is not in letta_backup_allowed_signers" % key


class _signers_file:
    """The path of the allowed signers for the time of a block; content goes through a private temporary file."""

    def __init__(self, value):
        self._value, self._temporary = value, None

    def __enter__(self):
        if self._value.lstrip().startswith(("/", "~")) and "\n" not in self._value.strip():
            path = os.path.expanduser(self._value.strip())
            if not os.access(path, os.R_OK) or os.path.isdir(path):
                raise RecoveryError(
                    "preflight",
                    "the file of letta_backup_allowed_signers cannot be read: %s" % path,
                    next_step="put it on the database host, or give its content",
                )
            return path
        self._temporary = tempfile.NamedTemporaryFile("w", prefix="letta-signers-", encoding="utf-8")
        self._temporary.write(self._value.strip() + "\n")
        self._temporary.flush()
        return self._temporary.name

    def __exit__(self, *exc_info):
        if self._temporary:
            self._temporary.close()
