#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: backup_set_info
short_description: List, choose and verify backup sets of a Letta system
version_added: 0.1.0
description:
  - Lists the backup sets of a store, newest first; sets that cannot be used are listed with their reason.
  - Chooses one, with the reasons against the newer ones.
  - Verifies sets without restoring them. Sets are never changed; the outcome of a verification is kept beside them, in C(.catalog).
options:
  backup_root:
    description: Folder of the backup sets on this host.
    type: path
    required: true
  backup_id:
    description: A set id, or V(latest) for the newest good one. Without it nothing is chosen.
    type: str
  max_age:
    description: V(latest) never falls back to a set older than this (C(36h), C(2d)).
    type: str
  verify:
    description:
      - V(checksums) compares every file with the manifest.
      - V(full) also reads the table of contents, every member and every volume, and compares the rows and sequences with the manifest.
      - It covers the chosen set when O(backup_id) is given, else all.
    type: str
    choices: [none, checksums, full]
    default: none
  details:
    description: Return the chosen set's whole manifest too.
    type: bool
    default: false
  bin_dir:
    description: Folder of the PostgreSQL client tools. Without it the newest installed tools that fit are found.
    type: path
  db_container:
    description: Container on this host that PostgreSQL runs in; where this host has no client tools that fit, those of its image are used.
    type: str
  docker_host:
    description: Address of Docker's engine for O(db_container). Without it the environment variable E(DOCKER_HOST) decides.
    type: str
attributes:
  check_mode:
    support: full
    description: Nothing but the note of a verification is written, and in check mode not even that.
  diff_mode:
    support: none
    description: Nothing is changed.
  platform:
    support: full
    platforms: posix
    description: Hosts that hold the store.
extends_documentation_fragment:
  - letta_ops.recovery.login.progress
  - letta_ops.recovery.login.trust
author:
  - The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: List the sets
  letta_ops.recovery.backup_set_info:
    backup_root: /var/backups/letta
  register: catalogue

- name: Choose the newest good set of the last two days and verify it to the last member
  letta_ops.recovery.backup_set_info:
    backup_root: /var/backups/letta
    backup_id: latest
    max_age: 2d
    verify: full
"""

RETURN = r"""
sets:
  description: All sets, newest first.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The set's id, the name of its folder.
      type: str
    usable:
      description: Whether its manifest is in order.
      type: bool
    good:
      description: Usable, and not known to be damaged.
      type: bool
    reason:
      description: Why it cannot be used.
      type: str
    problem:
      description: The same in one word - no_manifest, unreadable, not_json, future_format, incomplete, wrong_label, edited, unsafe_path,
        and where signatures are asked for unsigned, bad_signature, edited_after_signing, wrong_purpose, signed_by_stranger, key_expired,
        wrong_signer.
      type: str
    signed:
      description: Whether a signature lies beside its manifest. It was judged only where O(allowed_signers) was given.
      type: bool
    encrypted:
      description: Whether its files are encrypted.
      type: bool
    kind:
      description: backup, adopted or safety.
      type: str
    taken_at:
      description: Moment of the snapshot, by the database server's clock.
      type: str
    age_seconds:
      description: Its age by this host's clock.
      type: int
    size_bytes:
      description: Bytes of its files.
      type: int
    database:
      description: Name of the database it holds.
      type: str
    letta_version:
      description: The Letta release, when it was known.
      type: str
    release_range:
      description: The releases whose schema it has.
      type: str
    alembic_revisions:
      description: The revision (more than one means a broken migration).
      type: list
      elements: str
    agents:
      description: Number of agents.
      type: int
    verified_at:
      description: When it was last verified.
      type: str
    verified_depth:
      description: How it was verified, checksums or full.
      type: str
    verified_status:
      description: Outcome of that - pass, warn or fail.
      type: str
    valid_until:
      description: Term of a safety set.
      type: str
    rehearsal:
      description:
        - Its last rehearsal that came to a verdict, else its last one - C(verdict) (passed, failed, error), C(finished_at), C(reason).
        - Nothing where it was never rehearsed.
      type: dict
    path:
      description: Its folder.
      type: str
    cluster:
      description: PostgreSQL's own identity of the cluster it was taken from.
      type: str
    store:
      description: The store it was found in, when several were searched.
      type: str
    at_hand:
      description: Whether the whole set lies at C(path), or its manifest alone.
      type: bool
    warnings:
      description: What is odd about it.
      type: list
      elements: str
lines:
  description: One readable line per set.
  returned: success
  type: list
  elements: str
chosen:
  description: The set that O(backup_id) means, of the same form.
  returned: when O(backup_id) is given
  type: dict
rejected:
  description: Newer sets that were passed over, with C(id) and C(reason).
  returned: when O(backup_id) is given
  type: list
  elements: dict
manifest:
  description: The manifest of the chosen set.
  returned: when O(backup_id) is given and O(details=true)
  type: dict
verified:
  description:
    - Outcome per set - C(id), C(status), C(findings).
    - Status V(error) means that it could not be read, which says nothing about what is in it; V(fail), that it is damaged.
  returned: when O(verify) is not V(none)
  type: list
  elements: dict
failure_class:
  description: Class of the failure.
  returned: on failure
  type: str
now:
  description: What is true now.
  returned: on failure
  type: str
next_step:
  description: What to type next.
  returned: on failure
  type: str
details:
  description: Facts about the failure, C(rejected) among them.
  returned: on failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    progress_argument_spec,
    progress_from_params,
    run,
    tools_argument_spec,
    trust_argument_spec,
    trust_from_params,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import catalogue, choosing
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests


def work(module):
    """List, choose, verify."""
    params, trust = module.params, trust_from_params(module.params)
    result = dict(changed=False)
    chosen = None
    if params["backup_id"]:
        chosen, result["rejected"] = choose(params)
    if params["verify"] != "none":
        targets = [chosen] if chosen else catalogue.list_sets(params["backup_root"], trust=trust)
        result["verified"] = [verify_one(module, info) for info in targets]
    infos = catalogue.with_rehearsals(params["backup_root"], catalogue.list_sets(params["backup_root"], trust=trust))
    result["sets"] = [info.as_dict() for info in infos]
    result["lines"] = [catalogue.format_line(info) for info in infos]
    if chosen:
        result["chosen"] = next(info for info in infos if info.id == chosen.id).as_dict()
        if params["details"]:
            result["manifest"] = manifests.load(chosen.path, trust)
    for info in infos:
        for warning in info.warnings if info.usable and info.age_seconds < 0 else ():
            module.warn("%s: %s" % (info.id, warning))
    return result


def choose(params):
    """Return the chosen set and the rejected ones; a set that is to be verified may be one that failed before."""
    if params["verify"] != "none":
        infos = catalogue.list_sets(params["backup_root"], trust=trust_from_params(params))
        named = [info for info in infos if info.id == params["backup_id"]]
        if named:
            return named[0], []
    return choosing.choose(params["backup_root"], params["backup_id"], params["max_age"], trust=trust_from_params(params))


def verify_one(module, info):
    """Verify one set; outside of check mode the outcome is kept."""
    from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import verify

    params = module.params
    findings, status = verify.verify_and_note(
        params["backup_root"],
        info,
        params["verify"],
        params["bin_dir"],
        progress_from_params(params),
        keep=not module.check_mode,
        trust=trust_from_params(params),
    )
    return dict(id=info.id, status=status, findings=[finding.as_dict() for finding in findings])


def main():
    """Run the module."""
    spec = dict(
        backup_root=dict(type="path", required=True),
        backup_id=dict(type="str"),
        max_age=dict(type="str"),
        verify=dict(type="str", choices=["none", "checksums", "full"], default="none"),
        details=dict(type="bool", default=False),
        **tools_argument_spec(),
    )
    spec.update(progress_argument_spec())
    spec.update(trust_argument_spec())
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    run(module, work, needs_database=module.params["verify"] == "full")


if __name__ == "__main__":
    main()
