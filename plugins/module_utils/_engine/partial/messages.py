# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages of live that are newer than the backup: given up, or kept where they continue what was saved. And the order of all.

Listing and paging follow ``messages.sequence_id``, which is unique in the whole database; the model's context follows
``agents.message_ids``. (Read in Letta 0.16.8.)
"""
from __future__ import annotations

from ..errors import LIVE_UNTOUCHED, RecoveryError
from ..letta.closure import POINTS
from ..postgres.catalog import quote_ident

BACKUP, MERGE = "backup", "merge"
POLICIES = (BACKUP, MERGE)
SEQUENCE = "message_seq_id"
# What newer messages hang on: with merge, none of these rows goes.
CONTINUED = ("messages", "conversations", "conversation_messages", "blocks_conversations", "runs", "run_metrics", "steps", "step_metrics")


def take_pointers(bench):
    """Reduce the rows of which a few columns come back to these.

    :raises RecoveryError: ``usage`` when such an agent is not live.
    """
    for table, lists in POINTS.items():
        if table not in bench.present:
            continue
        gone = bench.rows(
            "select s.id from %s s where s.__role = 'pointer' and not exists (select from %s l where l.id = s.id)"
            % (bench.saved(table), bench.live(table))
        )
        if gone and table != "agents":
            bench.run("delete from %s where id = any(%%s)" % bench.saved(table), ([row[0] for row in gone],))
        elif gone:
            raise RecoveryError(
                "usage",
                "messages of %s cannot come back alone: no such agent is live" % ", ".join(row[0] for row in gone[:5]),
                now=LIVE_UNTOUCHED,
                next_step="bring the whole agent back: --tags agents",
            )
        columns = [quote_ident(name) for name in bench.tables[table].columns if name != "id" and name not in lists]
        bench.run(
            "update %s s set (%s) = (select %s from %s l where l.id = s.id) where s.__role = 'pointer'"
            % (bench.saved(table), ", ".join(columns), ", ".join("l." + name for name in columns), bench.live(table))
        )


def continue_newer(bench, agents):
    """Let the context of each agent go on with live's newer messages; see :func:`keep_newer` for the rows.

    :param agents: ids. :raises RecoveryError: ``preflight`` naming the agents whose live messages do not continue the saved ones.
    """
    forked = []
    for agent in agents:
        saved = bench.rows("select message_ids::text, message_ids from %s where id = %%s" % bench.saved("agents"), (agent,))
        live = bench.rows("select message_ids from %s where id = %%s" % bench.live("agents"), (agent,))
        if not saved or not live:
            continue
        if _has_forked(bench, agent):
            forked.append(agent)
            continue
        before, now = saved[0][1] or [], live[0][0] or []
        known = {row[0] for row in bench.rows("select id from %s where agent_id = %%s" % bench.saved("messages"), (agent,))}
        known |= {row[0] for row in bench.rows("select id from %s where agent_id = %%s" % bench.live("messages"), (agent,))}
        # Live's own context is the newer one, unless it has lost messages: then the saved one, continued.
        merged = now if now and set(now) <= known else before + [item for item in now if item in known and item not in set(before)]
        bench.run(
            "update %s set message_ids = (select json_agg(v order by n) from unnest(%%s::text[]) with ordinality t(v, n)) where id = %%s"
            % bench.saved("agents"),
            (merged, agent),
        )
    if forked:
        raise RecoveryError(
            "preflight",
            "messages of %s cannot be merged: live's messages do not continue the saved ones" % ", ".join(forked[:5]),
            now=LIVE_UNTOUCHED,
            next_step="-e letta_messages_policy=backup brings back exactly what was saved (the plan lists what live loses)",
        )


def _has_forked(bench, agent):
    """Tell whether live has messages of the saved time that were not saved: another line of events."""
    return bench.rows(
        "select 1 from %s l where l.agent_id = %%(agent)s"
        " and l.sequence_id <= (select max(sequence_id) from %s where agent_id = %%(agent)s)"
        " and not exists (select from %s s where s.id = l.id) limit 1"
        % (bench.live("messages"), bench.saved("messages"), bench.saved("messages")),
        {"agent": agent},
    ) != []


def keep_newer(bench):
    """With the policy merge: no row that newer messages hang on goes. Forget those removals."""
    bench.run("delete from pg_temp.changes where op = 'remove' and tbl = any(%s)", (list(CONTINUED),))


def needs_new_order(bench):
    """Tell whether the saved sequence numbers cannot be used here: live has them for other messages, or has these messages elsewhere."""
    if "messages" not in bench.present:
        return False
    taken = (
        "select 1 from {s} s join {l} l on l.sequence_id = s.sequence_id where l.id <> s.id"
        " and not exists (select from {f} f where f.id = l.id and f.__role = 'own') limit 1"
    )
    moved = "select 1 from {s} s join {l} l on l.id = s.id where l.sequence_id <> s.sequence_id limit 1"
    names = {"s": bench.saved("messages"), "l": bench.live("messages"), "f": bench.found("messages")}
    return bool(bench.rows(taken.format(**names)) or bench.rows(moved.format(**names)))


def draw_numbers(bench):
    """Give the messages to come new numbers, in the saved order: those they were saved with are somebody else's here."""
    bench.run(
        "update {s} s set sequence_id = n.number from (select id, nextval('{seq}') as number from"
        " (select id from {s} order by sequence_id) o) n where n.id = s.id".format(s=bench.saved("messages"), seq=_sequence(bench))
    )


def renumber(bench):
    """Draw new numbers, in the saved order, for the messages that came back, and after them for newer ones of the same agents."""
    bench.run(
        "update {l} l set sequence_id = n.number from (select id, nextval('{seq}') as number from (select l.id from {l} l"
        " left join {s} s on s.id = l.id where l.agent_id in (select distinct agent_id from {s})"
        " order by s.sequence_id nulls last, l.sequence_id) o) n where n.id = l.id".format(
            l=bench.live("messages"), s=bench.saved("messages"), seq=_sequence(bench)
        )
    )


def advance_sequence(bench):
    """Move the sequence beyond every number in use; never back. An insert would fail on a number that is taken, and Letta hides it."""
    bench.run(
        "select setval('{seq}', greatest((select last_value from {name}), (select coalesce(max(sequence_id), 1) from {l})))".format(
            seq=_sequence(bench), name=bench.live(SEQUENCE), l=bench.live("messages")
        )
    )


def _sequence(bench):
    return bench.live(SEQUENCE).replace("'", "''")
