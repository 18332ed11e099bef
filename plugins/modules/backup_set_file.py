#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: backup_set_file
short_description: Take one file out of a backup set, decrypted and compared with its checksum
version_added: 0.1.0
description:
  - Copies one file that the manifest of a set lists to a private place (mode 0600), out of an encrypted set decrypted.
  - The copy is compared with the checksum in the manifest. A copy that is there already and matches is left.
options:
  src:
    description: Folder of the set.
    type: path
    required: true
  path:
    description: The file, as the manifest lists it (C(redis/dump.rdb)).
    type: str
    required: true
  dest:
    description: File to write. Its folder must exist.
    type: path
    required: true
extends_documentation_fragment: [letta_ops.recovery.login.trust]
attributes:
  check_mode:
    description: Looks whether the set has the file, and whether O(dest) is it.
    support: full
  diff_mode:
    description: There is no text to compare.
    support: none
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Take the snapshot of Redis out of a set
  letta_ops.recovery.backup_set_file:
    src: /var/backups/letta/lb-20261120T020000Z-4f2a9c
    path: redis/dump.rdb
    dest: /root/dump.rdb
"""

RETURN = r"""
dest:
  description: The copy.
  type: str
  returned: success
size:
  description: Its bytes.
  type: int
  returned: success
sha256:
  description: Its checksum.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    run,
    trust_argument_spec,
    trust_from_params,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import sealed


def work(module):
    p = module.params
    return sealed.take_out(p["src"], p["path"], p["dest"], trust_from_params(p), check=module.check_mode)


def main():
    spec = dict(
        src=dict(type="path", required=True),
        path=dict(type="str", required=True),
        dest=dict(type="path", required=True),
        **trust_argument_spec(),
    )
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True), work, needs_database=False)


if __name__ == "__main__":
    main()
