# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Redis is, and what its files are: shared by the snapshot of a backup and by what is done in Redis after a restore."""
from __future__ import annotations

from dataclasses import dataclass, field

_MAGICS = (b"REDIS", b"VALKEY")  # Valkey 9 writes its own name


def is_snapshot(path):
    """Tell whether a file is a snapshot (RDB) of Redis or Valkey, by how it begins."""
    with open(path, "rb") as stream:
        return stream.read(9).startswith(_MAGICS)


@dataclass(frozen=True)
class RedisServer:
    """Where Redis is; the password never shows in ``repr``.

    :param tls_ca: file of the authority; empty means the system's authorities.
    :param timeout: seconds for connecting and for each answer. :param database: number of the database.
    """

    host: str
    port: int = 6379
    password: str = field(default="", repr=False)
    user: str = ""
    tls: bool = False
    tls_ca: str = ""
    timeout: float = 30.0
    database: int = 0

    @property
    def address(self):
        """Return ``host:port/database``, for a person."""
        return "%s:%d/%d" % (self.host, self.port, self.database)
