#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: letta_rekey
short_description: Bring every secret of a Letta database under another encryption key
version_added: 0.1.0
description:
  - Opens every encrypted value with one key and writes it anew under another, in one transaction, in a database that nobody uses,
    normally a side database. Plain text in columns for encrypted values is encrypted too.
  - Proves that no other value changed. When one value does not open, nothing is written.
  - Plain values are held in the memory of the module only. PostgreSQL and its log get ciphertext.
options:
  database:
    description: The database to change.
    type: str
    required: true
  encryption_key:
    description: The key that the values are under. May be left out where nothing is encrypted.
    type: str
  new_encryption_key:
    description: The key that they will be under, C(LETTA_ENCRYPTION_KEY) of the servers that will run.
    type: str
    required: true
  jobs:
    description: Connections for the comparison. V(0) means one per core of this host.
    type: int
    default: 0
  run_dir:
    description: Folder with the journal of the run this belongs to (see M(letta_ops.recovery.restore_run)).
    type: path
extends_documentation_fragment:
  - letta_ops.recovery.login
attributes:
  check_mode:
    description: Changes nothing and says that it would.
    support: full
  diff_mode:
    description: Secrets are never shown.
    support: none
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Let a copy be read by servers with a key of their own
  letta_ops.recovery.letta_rekey:
    login_user: postgres
    login_password: "{{ letta_db_admin_password }}"
    database: letta_copy
    encryption_key: "{{ letta_encryption_key }}"
    new_encryption_key: "{{ letta_encryption_new_key }}"
"""

RETURN = r"""
secrets:
  description: For each encrypted column, how many values were written anew.
  type: dict
  returned: when not in check mode
  sample: {"providers.api_key_enc": 3}
tables:
  description: One entry for each table with C(name), C(rows_expected), C(rows_restored), C(digest) and C(explanation).
  type: list
  elements: dict
  returned: when not in check mode
checks:
  description: Findings.
  type: list
  elements: dict
  returned: when not in check mode
seconds:
  description: How long it took.
  type: float
  returned: when not in check mode
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    login_argument_spec,
    run,
    server_from_params,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import phasenotes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal, NoJournal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.rekey import rekey


def work(module):
    params = module.params
    server = server_from_params(params, params["login_db"] or "postgres")
    if module.check_mode:
        return {"changed": True}
    journal = Journal.load(params["run_dir"]) if params["run_dir"] else NoJournal()
    keys = (params["encryption_key"] or "", params["new_encryption_key"])
    result = rekey(server, params["database"], keys, journal, params["jobs"] or os.cpu_count() or 1)
    before = next((item for item in journal.data.get("phases", []) if item["name"] == "migrate" and item["status"] == "ok"), {})
    detail = "; ".join(part for part in (before.get("detail"), result["findings"][0].detail) if part)
    phasenotes.note_phase(journal, "migrate", "ok", round((before.get("seconds") or 0) + result["seconds"], 3), detail)
    return dict(result, checks=[item.as_dict() for item in result.pop("findings")])


def main():
    spec = login_argument_spec(
        database=dict(type="str", required=True),
        encryption_key=dict(type="str", no_log=True),
        new_encryption_key=dict(type="str", required=True, no_log=True),
        jobs=dict(type="int", default=0),
        run_dir=dict(type="path"),
    )
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
