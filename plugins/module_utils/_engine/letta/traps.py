# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data that Letta's migrations lose or stumble over, as data: how to find it before they run, and what is done about it.

Sources: measured by running the migrations on filled databases.
"""
from __future__ import annotations

from dataclasses import dataclass

REFUSE, DELETE, TELL = "refuse", "delete", "tell"


@dataclass(frozen=True)
class Trap:
    """One trap.

    :param id: stable dotted name of the check.
    :param revision: it is sprung where this revision is run.
    :param needs: table -> columns that are looked at; without them the trap is not there.
    :param offenders: SQL that returns ids of offending rows; ``{s}`` is Letta's schema.
    :param treatment: ``refuse``, ``delete`` (the offending rows, by ``cure``) or ``tell`` (the loss is reported).
    :param text: sentence with ``{count}``.
    :param cure: SQL of the treatment.
    :param next_step: what to type after a refusal.
    :param with_key: the trap is only there without an encryption key.
    """

    id: str
    revision: str
    needs: dict
    offenders: str
    treatment: str
    text: str
    cure: str = ""
    next_step: str = ""
    with_key: bool = False


GIVE_KEY = "-e letta_encryption_key=… (better from a vault), the LETTA_ENCRYPTION_KEY that the servers will run with"

TRAPS = (
    Trap(
        "trap.soft_deleted_passages",
        "74e860718e0d",
        {"agent_passages": ("id", "is_deleted")},
        "select id from {s}.agent_passages where is_deleted order by id",
        DELETE,
        "{count} passages that were deleted long ago (is_deleted) are removed for good: the migration to archives stops at them",
        cure="delete from {s}.agent_passages where is_deleted",
    ),
    Trap(
        "trap.run_links",
        "567e9fe06270",
        {"job_messages": ("job_id", "message_id")},
        "select message_id from {s}.job_messages order by message_id",
        TELL,
        "{count} links between messages and the runs that made them are dropped: the run history before 0.12 stays as jobs only",
    ),
    Trap(
        "trap.mcp_secrets_without_key",
        "d06594144ef3",
        {"mcp_server": ("id", "token")},
        "select id from {s}.mcp_server where token is not null order by id",
        REFUSE,
        "{count} tokens of MCP servers would stay in a column that the new release no longer reads: no encryption key was given",
        next_step=GIVE_KEY,
        with_key=True,
    ),
    Trap(
        "trap.provider_keys_without_key",
        "8149a781ac1b",
        {"providers": ("id", "api_key")},
        "select id from {s}.providers where coalesce(api_key, '') <> '' order by id",
        REFUSE,
        "{count} keys of model providers would stay in a column that the new release no longer reads: no encryption key was given",
        next_step=GIVE_KEY,
        with_key=True,
    ),
)

# What a plan says of a revision's hazard where the treatment is known.
TREATED = {"74e860718e0d": "cannot carry passages that were deleted long ago (is_deleted): they are removed first, and counted"}


def traps_between(between, has_key):
    """Return the :class:`Trap` that running these revisions would spring.

    :param between: revision ids, oldest first; :param has_key: whether an encryption key is given.
    """
    return [trap for trap in TRAPS if trap.revision in between and not (trap.with_key and has_key)]
