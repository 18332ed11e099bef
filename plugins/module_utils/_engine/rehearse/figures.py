# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast a running Letta answers: what people and agents do all day."""
from __future__ import annotations

from contextlib import closing
from urllib.parse import quote

from ..backup.figures import of_queries, summary, timed
from ..errors import RecoveryError
from ..postgres.connection import connect
from . import blank

REPEATS = 20
_WAITS = 409


def of_server(rest, agents, text="what do you remember?", repeats=REPEATS):
    """Ask a running Letta.

    :param rest: :class:`~..runtime.rest.Rest` of it. :param agents: ids of agents, of which the first is asked; the first that can be
        sent a message is sent one (who waits for an approval cannot), of these or else of those the server lists. None leaves out what
        needs one.
    :param text: to search for and to say.
    :returns: ``{name: summary}``: ``api_list_agents``, ``api_page_of_messages``, ``api_vector_search``, ``api_send_message``.
    :raises RecoveryError: ``verify_failed`` when one of them is not answered.
    """

    def listed():
        return rest.json("GET", "/v1/agents/?limit=50")

    calls = {"api_list_agents": listed}
    if agents:
        path = "/v1/agents/%s" % quote(agents[0])
        calls["api_page_of_messages"] = lambda: rest.json("GET", path + "/messages?limit=50")
        calls["api_vector_search"] = lambda: rest.json("GET", path + "/archival-memory/search?query=" + quote(text))
    try:
        found = {name: summary(timed(call, repeats)) for name, call in calls.items()}
        others = [agent["id"] for agent in listed() if agent["id"] not in agents] if agents else []
        listener = next((agent for agent in [*agents, *others] if _hears(rest, agent, text)), None)
        if listener:
            found["api_send_message"] = summary(timed(lambda: _say(rest, listener, text), repeats))
        return found
    except RecoveryError as error:
        # The server was healthy on this data a moment ago.
        raise RecoveryError(
            "verify_failed", "Letta does not answer on what was restored: %s" % error.message,
            now="the database was restored, and is complete",
            next_step="restore this set to a server by hand and ask it the same",
        ) from None  # fmt: skip


def _say(rest, agent, text):
    # One step is what is measured: how many an agent takes is its own affair.
    rest.json("POST", "/v1/agents/%s/messages" % quote(agent), {"messages": [{"role": "user", "content": text}], "max_steps": 1})


def _hears(rest, agent, text):
    try:
        _say(rest, agent, text)
    except RecoveryError as error:
        # Letta 0.16.8: PENDING_APPROVAL. The agent is as it was saved, and waits.
        if error.details.get("status") == _WAITS:
            return False
        raise
    return True


def of_database(server, recorded, repeats=REPEATS):
    """Ask a backup's test queries of a restored database.

    :param server: :class:`Server` of it, on a server marked as one of rehearsals. :param recorded: the manifest's ``queries``, or None.
    :returns: as :func:`~..backup.figures.of_queries`.
    :raises RecoveryError: ``preflight`` where the mark is missing.
    """
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        blank.require_mark(cursor, server)
        columns: dict = {}
        schemas = set()
        for (table, column), (schema, _required) in blank.columns(cursor).items():
            columns.setdefault(table, set()).add(column)
            schemas |= {schema} if table == "agents" else set()
        return of_queries(cursor, schemas.pop(), columns, recorded, repeats) if schemas else {}
