# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away Letta system: PostgreSQL, a Redis-compatible server, a fake model service, and then Letta itself, made in one of two places.

Its parts talk to each other over loopback at the same ports wherever it is made; only how the host reaches them differs.
"""
from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field

from ..errors import RecoveryError
from ..postgres.connection import connect, sql
from ..runtime.first_database import prepare
from . import blank, folder

LOOPBACK = "127.0.0.1"
ROLE = DATABASE = "letta"
SUPERUSER = "postgres"
START_SECONDS = 60
PORTS = {"postgres": 5432, "redis": 6379, "model": 8399, "letta": 8283}
# Of PostgreSQL, besides the mark: Letta opens a connection per request.
SETTINGS = {"max_connections": 200, "max_wal_size": "4GB", "huge_pages": "off"}


@dataclass(frozen=True)
class Letta:
    """How Letta is started on what was restored.

    :param command: argument list; in a container empty for the image's own.
    :param password: of the role ``letta``. :param token: that Letta asks for; empty for none.
    :param redis: whether there is one. :param key: LETTA_ENCRYPTION_KEY. :param more: settings of the operator's, which win.
    :param version: the release that it must be; empty for any. :param timeout: seconds within which it must serve.
    """

    command: tuple = ()
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    redis: bool = True
    key: str = field(default="", repr=False)
    more: dict = field(default_factory=dict, repr=False)
    version: str = ""
    timeout: float = 180


class Stand:
    """One system; :class:`~.embedded.EmbeddedStand` and :class:`~.containers.ContainerStand` are the places.

    :param base: folder to make its own in. :param name: of the system, see :func:`.folder.path_of`; empty to :meth:`reap` alone.
    :param ports: see :data:`PORTS`.
    """

    def __init__(self, base, name="", ports=None):
        self.base, self.name = base, name
        self.path = folder.path_of(base, name) if name else ""
        self.ports = {**PORTS, **(ports or {})}

    def make(self, lifetime=86400):
        """Make its folder and its network.

        :param lifetime: seconds after which it counts as left over.
        :returns: dict: ``path``, ``python`` (what runs modules that reach it), ``backup_root`` (empty, for sets and runs),
            ``volume_root`` (empty, for volumes), ``address`` (where it is reached by that), ``letta_version`` (of the Letta that will run,
            where that is known already), ``container`` (of its database, or empty), ``alembic_command`` (of that Letta, or empty).
        :raises RecoveryError: ``preflight``; nothing is left then.
        """
        raise NotImplementedError

    def start(self, passwords):
        """Start PostgreSQL, a Redis-compatible server where there is one, and the fake model service; make an empty Letta database.

        :param passwords: of ``postgres`` and ``letta``.
        :returns: dict: ``postgresql`` (version), ``redis`` (program or image, empty where there is none), ``ports``.
        :raises RecoveryError: ``preflight``.
        """
        raise NotImplementedError

    def serve(self, letta):
        """Start Letta and wait until it is healthy and reads an agent.

        :param letta: :class:`Letta`. :returns: dict: ``url``, ``version``, ``seconds``.
        :raises RecoveryError: ``verify_failed`` when it does not come up on this data; ``preflight`` when it is another release.
        """
        raise NotImplementedError

    def remove(self):
        """End and remove all of it; returns how many processes or containers were ended, None when there was nothing."""
        raise NotImplementedError

    def reap(self, max_age):
        """Remove what rehearsals left that were killed, older than ``max_age`` seconds; returns the names of their folders."""
        raise NotImplementedError


def settings_of(name):
    """Return the settings of a throw-away PostgreSQL server, the mark that :mod:`.blank` asks for among them."""
    return {**SETTINGS, blank.MARK: folder.PREFIX + name}


def furnish(server, passwords):
    """Make Letta's role and its empty database on a fresh server; returns the server's version.

    :param server: :class:`Server` of the superuser in the maintenance database. :param passwords: as for :meth:`Stand.start`.
    """
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(ROLE), sql.Literal(passwords[ROLE])))
        cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(*map(sql.Identifier, (DATABASE, ROLE))))
        cursor.execute("SHOW server_version")
        version = cursor.fetchone()[0].split()[0]
    prepare(server.database(DATABASE))
    with closing(connect(server.database(DATABASE))) as conn, conn.cursor() as cursor:
        # Made by the superuser, who may create the extension; Letta's role owns it as in production.
        cursor.execute(sql.SQL("ALTER SCHEMA {} OWNER TO {}").format(sql.Identifier(DATABASE), sql.Identifier(ROLE)))
    return version


def check_version(found, wanted, what="the Letta that was started says it"):
    """Refuse another release than the rehearsal is for. :raises RecoveryError: ``preflight``."""
    if wanted and found and found != wanted:
        raise wrong("%s is %s; the rehearsal is for %s" % (what, found, wanted))


def wrong(text):
    """Return the error of a Letta that cannot tell anything of the backup."""
    return RecoveryError(
        "preflight", text, now="nothing is known against the backup",
        next_step="let letta_rehearse_server (in containers: letta_rehearse_letta_image) be the release that runs in production",
    )  # fmt: skip


def not_serving(why, said):
    """Return the error of a Letta that does not come up on what was restored."""
    return RecoveryError(
        "verify_failed", "Letta does not serve what was restored (%s): %s" % (why, said),
        now="the database was restored and is complete; only the rehearsal's own system was written",
        next_step="start that release on a copy by hand, see the log above",
    )  # fmt: skip
