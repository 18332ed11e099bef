#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: database_swap
short_description: Exchange the live database for a proven one, or take the exchange back
version_added: 0.1.0
description:
  - Waits until nobody is in the live database, closes it, and renames it away and the side database in, in one transaction.
    A crash of anything leaves both names as before or both as after.
  - The old database is kept, closed to everybody, under the name in O(previous_database).
  - The last line of the new live database's comment tells which run made it live, and when.
  - With O(run_dir) every step is in the run's journal, and names come from it.
options:
  database:
    description: The live database, by the name that Letta uses. It may be absent; then the side database is only renamed.
    type: str
    required: true
  state:
    description:
      - V(swapped) makes the side database live.
      - V(rolled_back) makes the old database live again and keeps the restored one as O(undone_database).
      - V(removed) closes and drops the live database, for a restore in place; it needs O(safety_set).
    type: str
    choices: [swapped, rolled_back, removed]
    default: swapped
  side_database:
    description: The proven database. Taken from the journal when O(run_dir) is given.
    type: str
  previous_database:
    description: Name under which the old database is kept. Taken from the journal when O(run_dir) is given.
    type: str
  undone_database:
    description: Name under which a restored database is kept when it is taken back. Taken from the journal when O(run_dir) is given.
    type: str
  safety_set:
    description: Id of the backup set that holds the live database's content, before it is dropped.
    type: str
  session_timeout:
    description: Seconds to wait for foreign sessions to leave before the exchange is given up.
    type: float
    default: 15
  terminate_sessions:
    description: End foreign sessions instead of giving up, and go on although somebody keeps connecting.
    type: bool
    default: false
  watch_seconds:
    description:
      - Seconds to watch, once nobody is inside, for clients that connect for an instant only. PostgreSQL counts them, so none is missed.
      - It is downtime. Nothing is watched with O(terminate_sessions).
    type: float
    default: 0.5
  servers:
    description: For each Letta server its address, so that one that was stopped and connects again is called by its name.
    type: dict
    default: {}
  run_dir:
    description: Folder with the journal of the run this belongs to.
    type: path
extends_documentation_fragment:
  - letta_ops.recovery.login
attributes:
  check_mode:
    description: Reports the names that would change; changes nothing. With O(run_dir), proves that the databases are there.
    support: full
  diff_mode:
    description: Has nothing to compare with.
    support: none
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Make a proven copy the live database
  letta_ops.recovery.database_swap:
    database: letta
    side_database: letta_copy
    previous_database: letta_old
"""

RETURN = r"""
fenced_seconds:
  description: How long the live database was closed to new connections.
  type: float
  returned: when something was exchanged
previous:
  description: Name and oid of the old database.
  type: dict
  returned: when O(state=swapped)
read_back:
  description: Number of agents and schema revision, read by the public name after the exchange.
  type: dict
  returned: when O(state=swapped) and O(run_dir) is given
names:
  description: The names that take part.
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import login_argument_spec, run, server_from_params
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import cutover
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal, NoJournal

NEEDED = {"swapped": ("side", "previous"), "rolled_back": ("previous", "undone"), "removed": ()}
REHEARSALS = {"swapped": cutover.check_names, "rolled_back": cutover.check_way_back}


def _names(params, journal):
    saved = journal.data.get("names") or {}
    names = {key: params[key + "_database"] or saved.get(key) for key in ("side", "previous", "undone")}
    missing = [key + "_database" for key in NEEDED[params["state"]] if not names[key]]
    if missing:
        raise RecoveryError("usage", "state %s needs %s" % (params["state"], " and ".join(missing)), next_step="give them, or run_dir")
    return dict(names, live=params["database"])


def exchange(module):
    params = module.params
    journal = Journal.load(params["run_dir"]) if params["run_dir"] else NoJournal()
    names = _names(params, journal)
    server = server_from_params(params, params["login_db"] or "postgres")
    if module.check_mode:
        if params["run_dir"] and params["state"] in REHEARSALS:
            REHEARSALS[params["state"]](server, journal, names)
        return {"changed": True, "names": names}
    guests = cutover.Guests(params["session_timeout"], params["terminate_sessions"], params["watch_seconds"], params["servers"])
    if params["state"] == "removed":
        if not params["safety_set"]:
            raise RecoveryError("usage", "state removed drops the live database and needs safety_set", next_step="take a backup set first")
        from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import in_place

        return dict(in_place.remove_live(server, journal, names, params["safety_set"], guests), changed=True, names=names)
    if params["state"] == "rolled_back":
        return dict(cutover.swap_back(server, journal, names, guests), changed=True, names=names)
    result = cutover.swap_in(server, journal, names, guests)
    if params["run_dir"]:
        # Modules are compiled anew on each start: what is needed after the exchange is not read before it.
        from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests

        facts = journal.data["facts"]
        manifest = manifests.load(facts["set_dir"])
        revision = facts["target"]["alembic_revision"]
        result["read_back"] = cutover.read_back(server, params["database"], manifest, result["live_oid"], facts["schema"], revision)
    return dict(result, changed=True, names=names)


def main():
    spec = login_argument_spec(
        database=dict(type="str", required=True),
        state=dict(type="str", choices=["swapped", "rolled_back", "removed"], default="swapped"),
        side_database=dict(type="str"),
        previous_database=dict(type="str"),
        undone_database=dict(type="str"),
        safety_set=dict(type="str"),
        session_timeout=dict(type="float", default=15),
        terminate_sessions=dict(type="bool", default=False),
        watch_seconds=dict(type="float", default=0.5),
        servers=dict(type="dict", default={}),
        run_dir=dict(type="path"),
    )
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), exchange)


if __name__ == "__main__":
    main()
