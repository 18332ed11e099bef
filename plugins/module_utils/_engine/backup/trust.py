# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a store's sets are believed from, what opens them, and how new ones are signed and encrypted."""
from __future__ import annotations

from dataclasses import dataclass, field

SCRATCH = "/var/tmp"  # noqa: S108 (outlives a restart; what is made in it is private and has a random name)


@dataclass(frozen=True)
class Trust:
    """What a reader of sets asks of them.

    :param allowed_signers: content or path of an OpenSSH allowed_signers file; empty asks for no signature.
    :param signer: the one principal of that file who may have signed; empty means any.
    :param identity: content or path of an age identity; it opens encrypted sets.
    :param scratch_dir: folder of this host that plain copies of encrypted sets may lie in while they are read.
    """

    allowed_signers: str = ""
    signer: str = ""
    identity: str = field(default="", repr=False)
    scratch_dir: str = SCRATCH


@dataclass(frozen=True)
class Seal:
    """How a new set is signed and encrypted.

    :param signing_key: path of an SSH private key, or of the public key of one that an agent holds; empty signs nothing.
    :param recipients: age recipients (``age1…`` or SSH public keys); empty encrypts nothing.
    :param scratch_dir: folder of this host that the plain files lie in until they are encrypted.
    """

    signing_key: str = ""
    recipients: tuple = ()
    scratch_dir: str = SCRATCH


ANYBODY = Trust()
OPEN = Seal()
