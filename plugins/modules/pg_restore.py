#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: pg_restore
short_description: Restore a backup set into a new database beside the live one, and prove it equal
version_added: 0.1.0
description:
  - Creates a database, gives it what a plain dump does not carry (owner, schema, extensions, database-level settings such as
    C(search_path), privileges), loads the archive of a backup set with C(pg_restore) in parallel, analyses it, and compares
    every table's content digest, every sequence and every setting with the set's manifest.
  - The live database is never touched. A load that fails is dropped again; one that is not equal is kept for study.
options:
  src:
    description: Folder of the backup set.
    type: path
    required: true
  database:
    description: Name of the database to create. It must not exist, unless O(run_dir) shows that the same run made it.
    type: str
    required: true
  owner:
    description: Role that will own the database and everything in it. Defaults to the login role.
    type: str
  jobs:
    description: Parallel workers for loading and proving. V(0) means one per core of this host.
    type: int
    default: 0
  run_dir:
    description: Folder with the journal of the run this belongs to (see M(letta_ops.recovery.restore_run)).
    type: path
extends_documentation_fragment:
  - letta_ops.recovery.login
  - letta_ops.recovery.login.progress
  - letta_ops.recovery.login.trust
attributes:
  check_mode:
    description: Reports what would be loaded; creates nothing.
    support: full
  diff_mode:
    description: Has nothing to compare with.
    support: none
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Load a set beside the live database
  letta_ops.recovery.pg_restore:
    src: /var/backups/letta/lb-20261120T020000Z-4f2a9c
    database: letta_copy
    owner: letta
    login_user: postgres
    login_password: "{{ admin_password }}"
"""

RETURN = r"""
database:
  description: Name of the database that was made.
  type: str
  returned: always
oid:
  description: Its oid.
  type: int
  returned: when it was made
seconds:
  description: Seconds for V(create), V(load) and V(prove) (analysing runs beside the proof).
  type: dict
  returned: when it was made
tables:
  description: One entry for each table with C(name), C(rows_expected), C(rows_restored), C(digest), C(explanation).
  type: list
  elements: dict
  returned: when it was made
checks:
  description: Findings on content, sequences, settings, indexes and constraints.
  type: list
  elements: dict
  returned: when it was made
peak_memory_bytes:
  description: Peak memory of the module's own Python process.
  type: int
  returned: when it was made
notices:
  description: What could not be carried over, for example a locale this server lacks.
  type: list
  elements: str
  returned: always
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    login_argument_spec,
    progress_argument_spec,
    progress_from_params,
    run,
    server_from_params,
    trust_argument_spec,
    trust_from_params,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import sealed
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import phasenotes, stage
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal, NoJournal


def restore(module):
    params = module.params
    server = server_from_params(params, params["login_db"] or "postgres")
    trust, progress = trust_from_params(params), progress_from_params(params)
    manifest = manifests.load(params["src"], trust)
    if module.check_mode:
        return {"changed": True, "database": params["database"], "notices": []}
    journal = Journal.load(params["run_dir"]) if params["run_dir"] else NoJournal()
    with sealed.opened(params["src"], manifest, trust, progress) as plain:
        plain.fetch()
        options = stage.StageOptions(
            set_dir=plain.folder,
            database=params["database"],
            owner=params["owner"] or server.user,
            jobs=params["jobs"] or os.cpu_count() or 1,
            bin_dir=params["bin_dir"] or "",
        )
        result = stage.stage_set(server, manifest, options, journal, progress)
    detail = "%d tables loaded and proven" % len(result["tables"])
    phasenotes.note_stage(journal, round(sum(result["seconds"].values()), 3), detail)
    findings = result.pop("findings")
    peak = processes.peak_memory()
    result["notices"] = result.pop("warnings")
    return dict(result, changed=True, checks=[item.as_dict() for item in findings], peak_memory_bytes=peak)


def main():
    spec = login_argument_spec(
        src=dict(type="path", required=True),
        database=dict(type="str", required=True),
        owner=dict(type="str"),
        jobs=dict(type="int", default=0),
        run_dir=dict(type="path"),
        **progress_argument_spec(),
        **trust_argument_spec(),
    )
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), restore)


if __name__ == "__main__":
    main()
