#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: letta_validate
short_description: Check a Letta database, read-only
version_added: 0.1.0
description:
  - Looks for what breaks a Letta server or an agent of it, in a live database or a side one, and changes nothing.
  - Structural checks concern the database as a whole. They look at the schema revision, constraints, indexes, what the role sees,
    the sequence of messages and the width of vectors.
  - Data checks concern single rows, such as an agent whose context names messages that are gone, or work left unfinished.
    They also fail on a faithful copy of a database that had the same fault.
author:
  - The letta_ops.recovery founders (@letta-ops)
extends_documentation_fragment:
  - letta_ops.recovery.login
  - letta_ops.recovery.login.progress
options:
  database:
    description: Database to check. Without it the one of the login options.
    type: str
  expected_revision:
    description: Alembic revision that the release needs. Without it any revision known to the collection passes.
    type: str
  role:
    description: Role that Letta logs in as, which must see the tables. Without it the role of the login options.
    type: str
  fail_on:
    description:
      - Which failed checks fail the task. V(structure) for those that concern the database as a whole, V(all) for any, V(never) for none.
      - Warnings never fail it.
    type: str
    choices: [structure, all, never]
    default: structure
attributes:
  check_mode:
    description: The module never changes anything and does the same in check mode.
    support: full
  diff_mode:
    description: The module never changes anything.
    support: none
"""

EXAMPLES = r"""
- name: Check a side database before it takes the place of the live one
  letta_ops.recovery.letta_validate:
    login_host: db1
    login_user: postgres
    login_password: "{{ letta_db_admin_password }}"
    database: letta__restore_r7f3c
    expected_revision: 1c28e167b74f
    role: letta
"""

RETURN = r"""
status:
  description: The worst status of all checks.
  returned: always
  type: str
  sample: pass
checks:
  description: Every check, in a fixed order.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: Name of the check.
      type: str
      returned: always
      sample: sequence.message_seq_id
    status:
      description: V(pass), V(warn) or V(fail).
      type: str
      returned: always
    detail:
      description: One sentence.
      type: str
      returned: always
    count:
      description: Number of offending rows.
      type: int
      returned: always
    examples:
      description: Up to ten ids of offending rows, never values.
      type: list
      elements: str
      returned: always
    structural:
      description: Whether the check concerns the database as a whole.
      type: bool
      returned: always
seconds:
  description: How long it took.
  returned: always
  type: float
  sample: 0.41
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    failure,
    login_argument_spec,
    progress_argument_spec,
    progress_from_params,
    run,
    server_from_params,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.findings import FAIL, worst
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate import is_structural, validate_database


def work(module):
    params = module.params
    began = time.monotonic()
    server = server_from_params(params, params["database"])
    findings = validate_database(server, params["expected_revision"], params["role"], progress_from_params(params))
    result = dict(
        changed=False,
        status=worst(findings),
        checks=[dict(finding.as_dict(), structural=is_structural(finding.id)) for finding in findings],
        seconds=round(time.monotonic() - began, 2),
    )
    blocking = [f for f in findings if f.status == FAIL and (params["fail_on"] == "all" or is_structural(f.id))]
    if blocking and params["fail_on"] != "never":
        module.fail_json(**dict(failure(unfit(server, blocking), params), **result))
    return result


def unfit(server, findings):
    lines = ["%s: %s (%s)" % (f.id, f.detail, ", ".join(str(example) for example in f.examples[:3])) for f in findings]
    return RecoveryError(
        "verify_failed",
        "%d checks failed on %s: %s" % (len(findings), server, "; ".join(lines)),
        now="nothing was changed; the checks only read",
        next_step="repair what the checks name, or choose another backup set, and check again",
    )


def main():
    module = AnsibleModule(
        argument_spec=login_argument_spec(
            database=dict(type="str"),
            expected_revision=dict(type="str"),
            role=dict(type="str"),
            fail_on=dict(type="str", choices=["structure", "all", "never"], default="structure"),
            **progress_argument_spec(),
        ),
        supports_check_mode=True,
    )
    run(module, work)


if __name__ == "__main__":
    main()
