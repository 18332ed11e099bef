# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules that bring parts of a backup into a running system share: their options, and the steps of a run."""
from __future__ import annotations

import os

from .._engine import processes
from .._engine.errors import RecoveryError
from .._engine.partial import begin, ending, facts, touched, undo
from .._engine.partial.carry_out import carry_out
from .._engine.restore.journal import Journal
from .._engine.runtime.alembic import Alembic
from .module import progress_from_params, server_from_params


def conduct_argument_spec():
    """Return the options of how a run behaves towards agents at work, and of migrating older sets."""
    return dict(
        jobs=dict(type="int", default=0),
        busy_wait=dict(type="int", default=60),
        busy_window=dict(type="int", default=900),
        lock_timeout=dict(type="int", default=30),
        alembic_command=dict(type="raw"),
        alembic_directory=dict(type="path"),
        alembic_timeout=dict(type="int", default=3600),
        owner_password=dict(type="str", no_log=True),
        encryption_key=dict(type="str", no_log=True),
    )


def conduct(p):
    """Return the same as arguments of :class:`begin.PartialOptions`."""
    return dict(
        jobs=p["jobs"] or os.cpu_count() or 1,
        busy_seconds=p["busy_window"],
        busy_wait=p["busy_wait"],
        patience=p["lock_timeout"],
        upgrade=_upgrade(p) if p["alembic_command"] else None,
    )


def _upgrade(params):
    """Return the function that makes the upgrade of a scratch database: run Letta's own migrations in it, as Letta's role."""

    def of(scratch, target):
        server = scratch.as_role(params["owner"], params["owner_password"] or "") if params["owner"] else scratch
        alembic = Alembic(params["alembic_command"], params["alembic_directory"] or "", server, params["encryption_key"] or "")
        alembic.check_uri()
        return lambda progress, total: alembic.upgrade(target, params["alembic_timeout"], progress, total)

    return of


def server(module):
    """Return the :class:`Server` of the maintenance database."""
    return server_from_params(module.params, module.params["login_db"] or "postgres")


def plan(module, options):
    """Make the plan of a run, or of taking ``restore_id`` back; returns the module's result."""
    params = module.params
    if params.get("restore_id"):
        begun = undo.begin(server(module), options, params["restore_id"])
    else:
        begun = begin.plan(server(module), options, progress_from_params(params))
    diff = begun.pop("diff")
    result = {"run": begun, "changed": begun["plan"]["kind"] != "unchanged", "peak_memory_bytes": processes.peak_memory()}
    if module._diff:
        result["diff"] = [{"prepared": "\n".join(diff) + "\n" if diff else ""}]
    if not begun["run_dir"]:
        result["report"] = facts.of_plan(begun, _playbook(module))
    return result


def apply(module, options, journal):
    """Carry the plan of a run out; returns the module's result."""
    if module.check_mode:
        return {"changed": True}
    outcome = carry_out(server(module), module.params["database"], journal, options)
    findings = outcome.pop("findings")
    found = {"applied": dict(outcome, findings=findings), "touched": touched.of(journal), "peak_memory_bytes": processes.peak_memory()}
    return dict(found, changed=True)


def finish(module, journal):
    """End a run well; returns the module's result."""
    params = module.params
    if module.check_mode:
        return {"changed": False}
    ending.note(journal, params.get("checks") or [], params.get("redis") or {})
    end = ending.finish(server(module), params["backup_root"], journal)
    return {"changed": False, "ending": end, "report": facts.of_run(journal, end, _playbook(module))}


def everything(module, options):
    """Plan, apply and finish; a run that fails is ended before its failure is told."""
    begun = plan(module, options)
    if not begun["run"]["run_dir"]:
        return begun
    journal = Journal.load(begun["run"]["run_dir"])
    try:
        done = apply(module, options, journal)
    except RecoveryError as error:
        end = ending.fail(server(module), module.params["backup_root"], journal, error.as_dict())
        raise error.with_now(end["now"], end["next_step"]) from None
    return {**begun, **done, **finish(module, journal), "changed": True}


def _playbook(module):
    return module.params.get("playbook") or "agent_relink"
