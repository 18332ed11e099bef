# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  login_host:
    description: Host of the PostgreSQL server, or the folder of its socket.
    type: str
    default: localhost
  login_port:
    description: Port of the PostgreSQL server.
    type: int
    default: 5432
  login_user:
    description: Role to log in as.
    type: str
    default: postgres
  login_password:
    description:
      - Password of O(login_user).
      - It reaches the client tools through their environment, never as an argument.
    type: str
    default: ""
  login_db:
    description: Database to connect to. Defaults to the database the module works on.
    type: str
  login_uri:
    description:
      - Host, port, role, password and database in one, as Letta's own E(LETTA_PG_URI).
      - Takes the place of O(login_host), O(login_port), O(login_user), O(login_password), O(ssl_mode) and O(ca_cert).
    type: str
  ssl_mode:
    description: How TLS is used, in the words of libpq.
    type: str
    default: prefer
    choices: [allow, disable, prefer, require, verify-ca, verify-full]
  ca_cert:
    description: File with the certificate authority that signed the server's certificate.
    type: path
    aliases: [ssl_rootcert]
  bin_dir:
    description:
      - Folder of the PostgreSQL client tools (C(pg_dump), C(pg_restore)).
      - Without it the newest installed tools that fit server and archive are found.
    type: path
  db_container:
    description:
      - Container on this host that PostgreSQL runs in. Where this host has no client tools that fit, those of its image are used, each in
        a throw-away container of it, on the host's network and as this user.
      - O(bin_dir) comes first.
    type: str
  docker_host:
    description: Address of Docker's engine for O(db_container). Without it the environment variable E(DOCKER_HOST) decides.
    type: str
requirements:
  - psycopg2 (or psycopg2-binary)
"""

    PROGRESS = r"""
options:
  progress_file:
    description: File in which the module keeps a small JSON record of how far it is, for whoever wants to watch.
    type: path
"""

    TRUST = r"""
options:
  allowed_signers:
    description:
      - Content, or path on this host, of an OpenSSH C(allowed_signers) file. With it a set is only used when its manifest carries a good
        signature (C(manifest.json.sig), for the purpose C(letta_ops.recovery)) by one of these keys.
      - Empty asks for no signature.
    type: str
    default: ""
  signer:
    description: The one principal of O(allowed_signers) who may have signed. Empty means any of them.
    type: str
    default: ""
  identity:
    description: Path on this host, or content, of the age identity that opens encrypted sets.
    type: str
    default: ""
  scratch_dir:
    description: Folder of this host that plain copies of an encrypted set may lie in, private and only while they are read or made.
    type: path
    default: /var/tmp
"""

    SEAL = r"""
options:
  signing_key:
    description:
      - Path on this host of an SSH private key without passphrase, or of the public key of one that C(ssh-agent) holds.
        The manifest of a new set is signed with it.
      - Empty signs nothing.
    type: str
    default: ""
  recipients:
    description:
      - Age recipients (C(age1…), SSH public keys). The files of a new set are encrypted for them; the manifest stays readable.
      - Empty encrypts nothing.
    type: list
    elements: str
    default: []
  scratch_dir:
    description: Folder of this host that plain copies of an encrypted set may lie in, private and only while they are read or made.
    type: path
    default: /var/tmp
"""
