# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Agents that an agent file was imported as: they give way to the agents they are copies of, which come back out of a backup.

What is a copy's own (its row, messages, links, runs, the groups it manages) goes in the transaction that brings the original. Blocks,
archives and sources that the import made stay, as they stay when Letta deletes an agent: they are told.
"""
from __future__ import annotations

from ..errors import LIVE_UNTOUCHED, RecoveryError
from ..letta import closure
from ..postgres.catalog import quote_ident
from . import fit

_LEFT = ("block", "archives", "sources")


def check(wanted, found):
    """Check the pairs of a run before anything is cut.

    :param wanted: {id of the original: id of its copy}. :param found: :class:`~.selection.Found` of the originals.
    :returns: the copies, sorted.
    :raises RecoveryError: ``usage`` when a copy is one of the agents that come back, or stands for two.
    """
    copies = sorted(wanted.values())
    back = set(found.roots[closure.AGENTS])
    wrong = sorted({item for item in copies if item in back or copies.count(item) > 1})
    if wrong:
        raise RecoveryError(
            "usage", "%s: no copy, it is in the backup itself or stands for several agents" % ", ".join(wrong), now=LIVE_UNTOUCHED,
            next_step="name as imported what agent_file returned in origins: {id of before: id of the import}",
        )  # fmt: skip
    return copies


def told(bench):
    """Return the copies that live has: id, name.

    :raises RecoveryError: ``usage`` when it lacks one and nothing of it is in the slice either (an undo brings it).
    """
    wanted = bench.roots.get(closure.REPLACED, [])
    found = {}
    for place in (bench.live("agents"), bench.saved("agents")) if wanted else ():
        found.update(bench.rows("select id, name from %s where id = any(%%s)" % place, (wanted,)))
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise RecoveryError(
            "usage", "the live database has no agent %s that could give way" % ", ".join(missing), now=LIVE_UNTOUCHED,
            next_step="leave it out of imported; without a copy it is a partial restore: playbooks/restore-partial.yml",
        )  # fmt: skip
    return [{"id": identity, "name": found[identity]} for identity in wanted]


def notes(bench):
    """Return notes on things that nobody uses any more when the copies are gone."""
    made, wanted = [], bench.roots.get(closure.REPLACED, [])
    for table in _LEFT if wanted else ():
        (link, column, agent, _of), *others = closure.USERS_OF[table]
        names = {"link": bench.live(link), "column": quote_ident(column), "agent": quote_ident(agent), "saved": bench.saved(table)}
        unused = "".join(
            " and not exists (select from %s o where o.%s = x.%s)" % (bench.live(other), quote_ident(its), names["column"])
            for other, its, _column, _of in others
        )
        rows = bench.rows(
            "select distinct x.{column} from {link} x where x.{agent} = any(%(wanted)s) and not exists (select from {link} y"
            " where y.{column} = x.{column} and y.{agent} <> all(%(wanted)s))"
            " and not exists (select from {saved} s where s.id = x.{column}){unused} order by 1".format(unused=unused, **names),
            {"wanted": wanted},
        )
        text = "%s that only the copies used stay, and nobody uses them: delete them through Letta" % table
        made += [fit.note("left_by_copies", text, len(rows), [row[0] for row in rows])] if rows else []
    return made
