# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a release's own Alembic: the command is the operator's, the database it is let at is the side one.

Letta's ``alembic/env.py`` prints the database URI with its password, so whatever the command says is cleaned first.
"""
from __future__ import annotations

import re
from urllib.parse import quote

from ..errors import LIVE_UNTOUCHED, RecoveryError
from ..letta import releases
from ..progress import Watcher
from .commands import Command, parse_command

HEADS_TIMEOUT = 300  # a container's image may have to be unpacked first
_REVISION = re.compile(r"^([0-9a-z]{6,40}) \(head\)", re.MULTILINE)
_RUNNING = re.compile(r"Running upgrade \S* -> ([0-9a-z]+)")
_PLAIN = "!$&'()*+,;="  # what may stand in a URI's user and password as it is (RFC 3986, sub-delims)
# What an image name ends in that names no release for good.
_LOOSE = re.compile(r"^[\w./:-]*letta/letta(:latest)?$")


class Alembic:
    """The command of one release.

    :param command: ``letta_alembic_command``: Alembic of the release that will run, as a list or a string, without subcommand.
    :param directory: folder to run it in (the one with ``alembic.ini``), or empty.
    :param server: :class:`Server` of Letta's role in the side database; None where only the heads are asked.
    :param key: ``LETTA_ENCRYPTION_KEY``, or empty.
    :raises RecoveryError: ``usage`` for a command that names no certain release.
    """

    def __init__(self, command, directory="", server=None, key=""):
        self.argv = parse_command(command, "letta_alembic_command")
        loose = [part for part in self.argv if _LOOSE.match(part)]
        if loose:
            raise RecoveryError(
                "usage",
                "letta_alembic_command runs the image %s, which may be another release tomorrow" % loose[0],
                next_step="name it by digest: letta/letta@sha256:…",
            )
        self.directory = directory
        self.server = server
        self.key = key

    def heads(self):
        """Return the newest revisions that the command's release knows, sorted.

        :raises RecoveryError: ``preflight`` when it cannot be run or says none.
        """
        command = self._command(["heads"])
        try:
            outcome = command.run(HEADS_TIMEOUT)
        finally:
            command.close()
        found = sorted(set(_REVISION.findall(outcome.output)))
        if outcome.code != 0 or not found:
            raise RecoveryError(
                "preflight",
                "%s named no head revision (%s): %s" % (command, _ended(outcome.code), outcome.output[-800:] or "it said nothing"),
                next_step="run it by hand on this host; it must be Alembic of the release in letta_version, run in letta_alembic_directory",
            )
        return found

    def check_uri(self):
        """Refuse a database that Letta cannot be pointed at.

        :raises RecoveryError: ``preflight``.
        """
        _uri(self.server)

    def check_heads(self, target):
        """Refuse a command of another release than the one planned.

        :param target: revision the plan names. :raises RecoveryError: ``schema``.
        """
        found = self.heads()
        if found != [target]:
            raise RecoveryError(
                "schema",
                "letta_alembic_command is of another release: it ends at %s, the plan at %s"
                % (", ".join(releases.describe(item) for item in found), releases.describe(target)),
                next_step="pin the release in letta_version (package by version, image by digest), or correct letta_version",
            )

    def upgrade(self, target, timeout, progress, total):
        """Run the migrations up to a revision.

        :param timeout: seconds; :param total: number of migrations, for progress.
        :raises RecoveryError: ``load_failed`` with the end of the command's own words.
        """
        command = self._command(["upgrade", target])
        progress.start("migrate", total, "migrations")
        try:
            with Watcher(progress, _follow(command, progress), interval=0.5):
                outcome = command.run(timeout)
        finally:
            command.close()
        if outcome.code != 0:
            raise RecoveryError(
                "load_failed",
                "the migrations to %s failed (%s): %s" % (releases.describe(target), _ended(outcome.code), outcome.output[-1500:]),
                now=LIVE_UNTOUCHED + "; side database %s is kept for study (the next restore drops it)" % self.server.dbname,
                next_step="correct the cause and run the same command again: it starts from a fresh side database",
            )

    def _command(self, arguments):
        secrets = (self.server.password, quote(self.server.password, safe=""), quote(self.server.password)) if self.server else ()
        return Command(self.argv + tuple(arguments), (self.key, *secrets), self._environment(), self.directory or None)

    def _environment(self):
        """Return the variables to set, and (None) those of the caller that would lead the command elsewhere."""
        away = {"LETTA_PG_%s" % name: None for name in ("DB", "USER", "PASSWORD", "HOST", "PORT")}
        env = dict(away, LETTA_PG_URI=_uri(self.server) if self.server else None, LETTA_ENCRYPTION_KEY=self.key or None)
        # Letta's code buffers what it says while it migrates; progress is read from it.
        return dict(env, PYTHONUNBUFFERED="1")


def _uri(server):
    """Return the URI for ``LETTA_PG_URI``.

    :raises RecoveryError: ``preflight`` where Letta itself could not read it: its ``env.py`` takes ``%`` for interpolation.
    """
    user, password, database = (quote(text, safe=_PLAIN) for text in (server.user, server.password, server.dbname))
    text = "postgresql://%s:%s@%s:%d/%s" % (user, password, server.host, server.port, database)
    if "%" in text:
        raise RecoveryError(
            "preflight",
            "Letta's migrations cannot read a database URI with a percent sign: role, password or database need one",
            next_step="give Letta's role a password of letters, digits and -._~%s for the time of the migration" % _PLAIN,
        )
    if server.sslmode in ("require", "verify-ca", "verify-full"):
        text += "?sslmode=" + server.sslmode
    return text


def _ended(code):
    return "it ran out of time and was killed" if code is None else "exit code %d" % code


def _follow(command, progress):
    """Return the function that counts the migrations a running command has told of."""

    def follow(ticks):
        first = None
        for _tick in ticks:
            found = _RUNNING.findall(command.tail())
            place = releases.position(found[-1]) if found else None
            if place is not None:
                first = first or releases.position(found[0])
                progress.update(place - first, found[-1])

    return follow
