# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A reconciliation from end to end: one transaction in which everything is read, decided, and written or not."""
from __future__ import annotations

import time
from contextlib import closing, contextmanager

from ...errors import RecoveryError
from ...postgres.connection import connect, psycopg2
from ...progress import Progress
from ..checks.contexts import PROBES as CONTEXT_PROBES
from ..checks.files import FILE_CONTENTS, FILE_PASSAGES
from ..checks.rows import WORK_PROBES
from ..validate import run_probe
from ..validate_context import Context, open_context
from . import apply as applying
from .look import look
from .plan import make_plan

# A live system is never made to queue behind this for longer.
_LOCK_TIMEOUT = "10s"
# The checks that a reconciliation may turn, to be looked at again behind it.
PROBES = WORK_PROBES + CONTEXT_PROBES + (FILE_CONTENTS, FILE_PASSAGES)


def reconcile(server, options, apply=False, undo_file="", progress=None, before_write=lambda: None):
    """Find interrupted work in the server's default database, decide what becomes of it, and write that when told to.

    :param options: :class:`.changes.Options`. :param undo_file: where images of the rows go, readable by nobody else.
    :param before_write: called when there is something to write, and it is about to be.
    :returns: {"plan" (:class:`.changes.Plan`), "applied", "undo_file" (empty when nothing was written), "seconds"}
    :raises RecoveryError: ``schema`` where there are no tables of Letta's; what :func:`.apply.write` raises. Nothing was changed then.
    """
    began = time.monotonic()
    progress = progress or Progress(None)
    with _transaction(server, readonly=not apply) as context:
        progress.start("reconcile", 3, "steps")
        found = look(context, options)
        progress.update(1, "plan")
        plan = make_plan(found, options)
        progress.update(2, "write")
        doing = bool(apply and plan.changes)
        if doing:
            before_write()
            applying.write(context, plan, lambda statement, params: _fetch(server, statement, params), undo_file)
        progress.update(3, "done")
    return {"plan": plan, "applied": doing, "undo_file": undo_file if doing else "", "seconds": round(time.monotonic() - began, 3)}


def undo(server, undo_file, check=False):
    """Take a reconciliation back, or with ``check`` only look whether that can be done.

    :returns: {table: rows}. Raises what :func:`.apply.take_back` raises.
    """
    with _transaction(server, readonly=False) as context:
        return applying.take_back(context, undo_file, check)


def check_again(server):
    """Return the findings of the checks that a reconciliation may turn."""
    with open_context(server) as context:
        return [finding for probe in PROBES for finding in run_probe(context, probe)]


@contextmanager
def _transaction(server, readonly):
    with closing(connect(server, application_name="letta_ops reconcile", autocommit=False, canonical=True)) as conn:
        conn.set_session(isolation_level="REPEATABLE READ", readonly=readonly)
        with conn.cursor() as cursor:
            cursor.execute("set local search_path = pg_catalog; set local lock_timeout = %s", (_LOCK_TIMEOUT,))
            context = Context(conn, cursor)
            if context.schema is None:
                told = "%s has no tables of Letta's" % server
                raise RecoveryError("schema", told, now="nothing was changed", next_step="check letta_db_name")
            try:
                yield context
            except psycopg2.Error as exc:
                told = "%s %s" % (type(exc).__name__, exc.pgcode or "")  # the message may quote a row
                raise RecoveryError(
                    "preflight", "interrupted work of %s could not be read: %s" % (server, told.strip()), now="nothing was changed",
                    next_step="ansible-playbook playbooks/validate.yml shows what is wrong with the database",
                ) from None  # fmt: skip


def _fetch(server, statement, params):
    with closing(connect(server, application_name="letta_ops reconcile")) as conn, conn.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchall()
