# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encryption of files by age: by the program of that name where it is installed, else by the library pyrage.

Both stream: memory stays flat whatever the size of a file. An identity is only ever passed through a pipe or in memory.
"""
from __future__ import annotations

import os
import shutil

from ..errors import RecoveryError
from . import programs

try:
    import pyrage
except ImportError:
    pyrage = None

SUFFIX = ".age"
_NO_MATCH = ("no identity matched", "No matching keys", "no matching keys")
_MARK = "AGE-SECRET-KEY-"


class WrongIdentity(Exception):
    """The identity is none, cannot be read, or opens nothing that was encrypted for others. The text holds no secret."""


class Damaged(Exception):
    """The file is no age file, or not as it was encrypted."""


def tool():
    """Return what encrypts here. :raises RecoveryError: ``preflight`` with what to install."""
    path = shutil.which("age")
    if path:
        return Program(path)
    if pyrage is not None:
        return Library()
    raise RecoveryError(
        "preflight",
        "encrypted backup sets need age, and neither the program age nor the Python package pyrage is installed on this host",
        next_step="install age (Debian, RHEL with EPEL, brew: age), or pyrage for the interpreter Ansible uses on this host",
    )


def read_identity(value):
    """Return the text of an identity, which may be given by its path.

    :raises WrongIdentity: when there is none, or its file cannot be read.
    """
    if not value.strip():
        raise WrongIdentity("no identity was given")
    if _MARK in value or "\n" in value.strip() or value.startswith("-----BEGIN"):
        return value.strip() + "\n"
    try:
        with open(os.path.expanduser(value.strip()), encoding="utf-8") as stream:
            return stream.read()
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
        raise WrongIdentity("the file of the identity cannot be read (%s)" % reason) from None


def check_recipients(recipients):
    """Refuse what cannot be a recipient before it reaches a command line. :raises RecoveryError: ``usage``."""
    for recipient in recipients:
        if not recipient.startswith(("age1", "ssh-")) or not recipient.isprintable():
            raise RecoveryError(
                "usage", "%r is no age recipient" % recipient[:80], next_step="letta_backup_recipients takes age1… and SSH public keys"
            )


class Program:
    """The program ``age``."""

    def __init__(self, path):
        self._path = path

    def encrypt(self, source, target, recipients):
        """Write an encrypted copy of a file. :raises RecoveryError: ``preflight`` or ``usage`` with what age said."""
        check_recipients(recipients)
        argv = [self._path, "--encrypt"]
        for recipient in recipients:
            argv += ["--recipient", recipient]
        done = programs.run(argv + ["--output", target, source])
        if done.returncode:
            raise _not_encrypted(source, _said(done.stderr))

    def decrypt(self, source, target, identity):
        """Write a decrypted copy of a file. :param identity: its text. :raises WrongIdentity, Damaged:"""
        done = programs.run([self._path, "--decrypt", "--identity", "-", "--output", target, source], identity.encode("utf-8"))
        if done.returncode:
            raise _not_decrypted(source, _said(done.stderr))


class Library:
    """The library ``pyrage``, maintained bindings of the implementation in Rust."""

    def encrypt(self, source, target, recipients):
        """Write an encrypted copy of a file. :raises RecoveryError: ``preflight`` or ``usage`` with what pyrage said."""
        check_recipients(recipients)
        try:
            parsed = [(pyrage.ssh if item.startswith("ssh-") else pyrage.x25519).Recipient.from_str(item) for item in recipients]
            pyrage.encrypt_file(source, target, parsed)
        except pyrage.RecipientError as exc:
            raise _not_encrypted(source, "recipient: %s" % exc) from None
        except (pyrage.EncryptError, OSError) as exc:
            raise _not_encrypted(source, exc) from None

    def decrypt(self, source, target, identity):
        """Write a decrypted copy of a file. :param identity: its text. :raises WrongIdentity, Damaged:"""
        identities = self._identities(identity)
        try:
            pyrage.decrypt_file(source, target, identities)
        except pyrage.DecryptError as exc:
            raise _not_decrypted(source, str(exc)) from None
        except OSError as exc:
            if exc.errno is not None:  # a disk or a file; damage comes without a number
                raise
            raise _not_decrypted(source, str(exc)) from None

    @staticmethod
    def _identities(text):
        try:
            if text.startswith("-----BEGIN"):
                return [pyrage.ssh.Identity.from_buffer(text.encode("utf-8"))]
            lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
            found = [pyrage.x25519.Identity.from_str(line) for line in lines]
        except pyrage.IdentityError:
            found = []
        if not found:  # its own message would quote the line
            raise WrongIdentity("what was given is no age identity")
        return found


def _said(text):
    return "; ".join(line.strip() for line in text.splitlines() if "report unexpected" not in line) or "it said nothing"


def _not_encrypted(source, said):
    return RecoveryError(
        "usage" if "recipient" in str(said).lower() else "preflight",
        "%s could not be encrypted: %s" % (os.path.basename(source), said),
        next_step="check letta_backup_recipients, and the disks of letta_backup_root and letta_scratch_dir",
    )


def _not_decrypted(source, said):
    if any(text in said for text in _NO_MATCH):
        return WrongIdentity("the identity given opens nothing that was encrypted for these recipients")
    if 'reading "-"' in said or "identit" in said.lower() or "passphrase" in said.lower():
        # age would quote the line it cannot read, which may be a secret
        return WrongIdentity("what was given is no age identity that opens without a passphrase")
    if "No space left" in said:
        return OSError(28, "No space left on device")
    return Damaged("%s cannot be decrypted: %s" % (os.path.basename(source), said))
