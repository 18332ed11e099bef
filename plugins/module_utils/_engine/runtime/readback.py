# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Agents read back through a running server, and compiled anew where their blocks are others than their system message says.

Answers hold decrypted secrets: nothing of them is kept but whether they came.
"""
from __future__ import annotations

from urllib.parse import quote

from ..errors import RecoveryError
from ..findings import FAIL, PASS, WARN, Finding

AGENT = "/v1/agents/%s"
MESSAGES = "/v1/agents/%s/messages?limit=1"
RECOMPILE = "/v1/agents/%s/recompile"


def read_back(rest, agents, recompile=(), gone=()):
    """Read agents as Letta serves them, with their messages.

    :param rest: a :class:`~.rest.Rest`. :param agents: ids to be read. :param recompile: ids to be compiled anew before that.
    :param gone: ids that must not be there.
    :returns: [:class:`Finding`]: ``api.compiled`` when there was something to compile, ``api.read_back``, ``api.gone``.
    """
    findings = []
    if recompile:
        failed = _each(recompile, lambda agent: rest.json("POST", RECOMPILE % quote(agent), {}))
        detail = "%d agents were compiled anew: their blocks are others than their system message said" % (len(recompile) - len(failed))
        findings.append(_finding("api.compiled", failed, detail, "could not be compiled anew and go by the old text until they are", WARN))
    wanted = [agent for agent in agents if agent not in set(gone)]
    if wanted:
        failed = _each(wanted, lambda agent: (rest.json("GET", AGENT % quote(agent)), rest.json("GET", MESSAGES % quote(agent))))
        findings.append(_finding("api.read_back", failed, "%d agents were read back, with their messages" % len(wanted), "cannot be read"))
    if gone:
        there = {agent: "it answers" for agent in gone if rest.found(AGENT % quote(agent)) is not None}
        findings.append(_finding("api.gone", there, "%d agents are gone, as before" % len(gone), "should be gone"))
    return findings


def _each(agents, ask):
    failed = {}
    for agent in agents:
        try:
            ask(agent)
        except RecoveryError as error:
            failed[agent] = error.message
    return failed


def _finding(check, failed, good, bad, status=FAIL):
    if not failed:
        return Finding(check, PASS, good)
    first = next(iter(failed))
    return Finding(check, status, "%d agents %s; %s: %s" % (len(failed), bad, first, failed[first]), len(failed), sorted(failed))
