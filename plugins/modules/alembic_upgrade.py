#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: alembic_upgrade
short_description: Bring a Letta database forward with a release's own migrations, and account for every changed row
version_added: 0.1.0
description:
  - Runs Alembic of the release that will run, up to that release's schema, in a database that nobody uses, normally a side database.
  - Looks for data that the migrations would lose or stumble over before they run. What has a safe treatment is treated and reported,
    the rest is refused.
  - Compares every column of every table before and after. A change that no migration in between is known to make is a failure.
  - Letta's migrations print the database URI with its password; nothing of it is shown.
options:
  database:
    description: The database to migrate.
    type: str
    required: true
  target_revision:
    description: Revision to reach. The command must end at exactly this one.
    type: str
    required: true
  command:
    description:
      - How to run Alembic of the release, without subcommand, as a list of arguments or one string. It is not given to a shell.
      - It finds the database in C(LETTA_PG_URI), and the key in C(LETTA_ENCRYPTION_KEY). A container gets both by name, for example
        C(docker run --rm --network host -e LETTA_PG_URI -e LETTA_ENCRYPTION_KEY letta/letta@sha256:… alembic).
    type: raw
    required: true
  directory:
    description: Folder to run it in, the one with C(alembic.ini).
    type: path
  owner:
    description: Letta's role, which runs the migrations so that everything they make belongs to it. Defaults to the login role.
    type: str
  owner_password:
    description: Password of O(owner).
    type: str
  encryption_key:
    description: Letta's encryption key. Without it the migrations that encrypt secrets skip their work.
      Secrets that they leave in plain text all the same are encrypted under it afterwards.
    type: str
  timeout:
    description: Seconds the migrations may take.
    type: int
    default: 14400
  jobs:
    description: Connections for the comparison. V(0) means one per core of this host.
    type: int
    default: 0
  run_dir:
    description: Folder with the journal of the run this belongs to (see M(letta_ops.recovery.restore_run)).
    type: path
extends_documentation_fragment:
  - letta_ops.recovery.login
  - letta_ops.recovery.login.progress
attributes:
  check_mode:
    description: Tells which release the command is of and refuses one that is not planned; changes nothing.
    support: full
  diff_mode:
    description: Has nothing to compare with.
    support: none
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Bring a restored copy to the schema of 0.16.8
  letta_ops.recovery.alembic_upgrade:
    login_user: postgres
    login_password: "{{ letta_db_admin_password }}"
    database: letta_copy
    owner: letta
    owner_password: "{{ letta_db_password }}"
    target_revision: 1c28e167b74f
    command: [/opt/letta/venv/bin/alembic]
    directory: /opt/letta
    encryption_key: "{{ letta_encryption_key }}"
"""

RETURN = r"""
from_revision:
  description: Revision before.
  type: str
  returned: when not in check mode
to_revision:
  description: Revision after.
  type: str
  returned: always
migrations:
  description: Number of migrations that were run.
  type: int
  returned: when not in check mode
tables:
  description: One entry for each table with C(name), C(rows_expected), C(rows_restored), C(digest) and C(explanation).
  type: list
  elements: dict
  returned: when migrations were run
checks:
  description: Findings on data that needed care, and on the accounting of rows.
  type: list
  elements: dict
  returned: when migrations were run
seconds:
  description: Seconds for V(look), V(run) and V(account).
  type: dict
  returned: when migrations were run
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    login_argument_spec,
    progress_argument_spec,
    progress_from_params,
    run,
    server_from_params,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import phasenotes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal, NoJournal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.migrate import MigrateOptions, migrate, schema_of
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.alembic import Alembic


def work(module):
    params = module.params
    server = server_from_params(params, params["login_db"] or "postgres")
    Alembic(params["command"], params["directory"] or "").check_heads(params["target_revision"])
    if module.check_mode:
        return {"changed": True, "to_revision": params["target_revision"]}
    owner = server.database(params["database"])
    if params["owner"]:
        owner = owner.as_role(params["owner"], params["owner_password"] or "")
    alembic = Alembic(params["command"], params["directory"] or "", owner, params["encryption_key"] or "")
    alembic.check_uri()
    options = MigrateOptions(
        database=params["database"],
        schema=schema_of(server.database(params["database"])),
        target=params["target_revision"],
        upgrade=lambda progress, total: alembic.upgrade(params["target_revision"], params["timeout"], progress, total),
        key=params["encryption_key"] or "",
        jobs=params["jobs"] or os.cpu_count() or 1,
    )
    journal = Journal.load(params["run_dir"]) if params["run_dir"] else NoJournal()
    result = migrate(server, options, journal, progress_from_params(params))
    if result["changed"]:  # a run that was taken up again has noted it before
        detail = "%(migrations)d migrations, %(from_revision)s to %(to_revision)s" % result
        phasenotes.note_phase(journal, "migrate", "ok", round(sum(result["seconds"].values()), 3), detail)
    return dict(result, checks=[item.as_dict() for item in result.pop("findings")])


def main():
    spec = login_argument_spec(
        database=dict(type="str", required=True),
        target_revision=dict(type="str", required=True),
        command=dict(type="raw", required=True),
        directory=dict(type="path"),
        owner=dict(type="str"),
        owner_password=dict(type="str", no_log=True),
        encryption_key=dict(type="str", no_log=True),
        timeout=dict(type="int", default=14400),
        jobs=dict(type="int", default=0),
        run_dir=dict(type="path"),
        **progress_argument_spec(),
    )
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
