#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: backup_set
short_description: Take, adopt, remove and prune backup sets of a Letta system
version_added: 0.1.0
description:
  - V(present) takes a backup set of a running system - the dump, and in the same snapshot row counts and content digests of every table,
    sequence values, database-level settings, Alembic revision and a digest per agent.
  - V(adopted) makes a backup set out of a dump that exists already.
  - V(absent) removes one set, V(pruned) all that a retention policy lets go.
  - A set becomes visible by one rename when it is complete; whatever interrupts the module, no half set is left that could pass for one.
options:
  state:
    description: What to do.
    type: str
    choices: [present, adopted, absent, pruned]
    default: present
  backup_root:
    description: Folder of the backup sets on this host. Made (mode 0700) when it is missing.
    type: path
    required: true
  backup_id:
    description: The set to remove. Required with O(state=absent).
    type: str
  database:
    description: The Letta database to back up. Defaults to the database of O(login_uri), else V(letta). With O(state=present).
    type: str
  kind:
    description:
      - V(safety) marks a copy taken before something dangerous; V(latest) never means it, and it goes when O(valid_for) is over.
    type: str
    choices: [backup, safety]
    default: backup
  valid_for:
    description: Age (C(7d), C(36h)) up to which a safety set is kept by O(state=pruned). Without it, it is kept until removed by name.
    type: str
  compression:
    description:
      - Compression of the dump, C(zstd:3), C(lz4), C(gzip:1) or C(none).
      - Defaults to the best the tools have.
    type: str
  vectors:
    description:
      - How tables with vectors are saved. V(binary) copies them in PostgreSQL's binary form, in several files beside the archive,
        which loads several times as fast; the files are compressed with zstd where this host has the program or Python's package zstandard,
        else with gzip. V(text) leaves them to C(pg_dump).
    type: str
    choices: [binary, text]
    default: binary
  jobs:
    description: Parallel workers of C(pg_dump). Defaults to the number of cores, at most 4.
    type: int
  letta_version:
    description: The Letta release that runs or ran on the data, when it is known.
    type: str
  encryption_key:
    description: Letta's encryption key. Only a slow, salted fingerprint of it goes into the set.
    type: str
  redis_host:
    description:
      - Redis to take a snapshot of, over its replication protocol.
      - When it cannot be reached the set is made all the same, with a warning, since nothing in Letta's Redis has to survive.
    type: str
  redis_port:
    description: Port of Redis.
    type: int
    default: 6379
  redis_user:
    description: User of Redis.
    type: str
  redis_password:
    description: Password of Redis.
    type: str
  redis_tls:
    description: Use TLS towards Redis.
    type: bool
    default: false
  redis_ca_cert:
    description: File with the certificate authority of Redis.
    type: path
  volumes:
    description:
      - With O(state=present) folders to archive, with O(state=adopted) tar files to take over.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the volume in the set.
        type: str
        required: true
      path:
        description: The folder or tar file.
        type: path
        required: true
      archive:
        description: >-
          With O(state=present), an archive of that folder that M(letta_ops.recovery.letta_volume) wrote on another host and that was
          brought here. It is read to its end and copied.
        type: path
      host:
        description: The inventory host that the folder is on, where it is not this one.
        type: str
      skipped_count:
        description: How many links and the like were left out of O(volumes[].archive).
        type: int
  dump:
    description:
      - The dump to adopt - a custom or tar archive, the folder of a directory archive, or plain SQL.
      - Required with O(state=adopted).
    type: path
  dump_redis:
    description: An RDB or AOF file to adopt with the dump.
    type: path
  taken_at:
    description: When the dump was taken, as C(2026-11-21T03:30:00Z). Defaults to the time of its file.
    type: str
  trust_sql:
    description:
      - Accept a plain SQL dump. It is filtered by statement, loaded into a scratch database by an unprivileged role and dumped again;
        it is never given to C(psql).
    type: bool
    default: false
  allowed_signers:
    description:
      - With O(state=pruned), content or path of an OpenSSH C(allowed_signers) file. A set without a good signature by one of these keys
        takes no other set's place, and is left for a person to remove by name.
    type: str
    default: ""
  signer:
    description: The one principal of O(allowed_signers) who may have signed. Empty means any of them.
    type: str
    default: ""
  keep:
    description: The retention policy of O(state=pruned). At least one rule must be above 0.
    type: dict
    suboptions:
      last:
        description: How many of the newest sets to keep.
        type: int
        default: 0
      hourly:
        description: For how many hours that have a set to keep the newest of each.
        type: int
        default: 0
      daily:
        description: For how many days that have a set to keep the newest of each.
        type: int
        default: 0
      weekly:
        description: For how many weeks that have a set to keep the newest of each.
        type: int
        default: 0
      monthly:
        description: For how many months that have a set to keep the newest of each.
        type: int
        default: 0
attributes:
  check_mode:
    support: full
    description: Runs all checks (tools, store, disk, database, dump) and tells what would be done.
  diff_mode:
    support: none
    description: Sets are made or removed as a whole.
  platform:
    support: full
    platforms: posix
    description: Hosts with PostgreSQL's client tools.
extends_documentation_fragment:
  - letta_ops.recovery.login
  - letta_ops.recovery.login.seal
  - letta_ops.recovery.login.progress
author:
  - The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Take a backup set
  letta_ops.recovery.backup_set:
    login_host: 127.0.0.1
    login_user: letta
    login_password: "{{ letta_db_password }}"
    database: letta
    backup_root: /var/backups/letta

- name: Adopt an archive made by pg_dump
  letta_ops.recovery.backup_set:
    state: adopted
    dump: /srv/dumps/letta.dump
    backup_root: /var/backups/letta

- name: Keep a week of daily sets and a year of monthly ones
  letta_ops.recovery.backup_set:
    state: pruned
    backup_root: /var/backups/letta
    keep:
      daily: 7
      monthly: 12
"""

RETURN = r"""
backup_set:
  description: The set that was made, as M(letta_ops.recovery.backup_set_info) shows it.
  returned: when O(state=present) or O(state=adopted), not in check mode
  type: dict
plan:
  description: What the checks found - database, size, disk needed, compression, revisions.
  returned: in check mode, when O(state=present) or O(state=adopted)
  type: dict
seconds:
  description: How long the parts took.
  returned: when O(state=present) or O(state=adopted), not in check mode
  type: dict
tables:
  description: Number of tables in the set.
  returned: when O(state=present) or O(state=adopted), not in check mode
  type: int
rows:
  description: Number of rows in the set.
  returned: when O(state=present) or O(state=adopted), not in check mode
  type: int
removed:
  description: Ids of the sets that were (in check mode would be) removed.
  returned: when O(state=absent) or O(state=pruned)
  type: list
  elements: str
kept:
  description: Reasons for which each other set is kept, by id.
  returned: when O(state=pruned)
  type: dict
lines:
  description: One readable line per set that is kept, with the reasons.
  returned: when O(state=pruned)
  type: list
  elements: str
freed_bytes:
  description: Bytes of the sets removed.
  returned: when O(state=absent) or O(state=pruned)
  type: int
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
  description: Facts about the failure.
  returned: on failure
  type: dict
"""

from datetime import datetime, timedelta, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    login_argument_spec,
    progress_argument_spec,
    progress_from_params,
    redis_argument_spec,
    redis_from_params,
    run,
    seal_argument_spec,
    seal_from_params,
    server_from_params,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import catalogue, retention, store
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.trust import Trust
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError


def argument_spec():
    """Return the module's argument specification."""
    rules = {rule: dict(type="int", default=0) for rule in retention.RULES}
    spec = login_argument_spec(
        state=dict(type="str", choices=["present", "adopted", "absent", "pruned"], default="present"),
        backup_root=dict(type="path", required=True),
        backup_id=dict(type="str"),
        database=dict(type="str"),
        kind=dict(type="str", choices=["backup", "safety"], default="backup"),
        valid_for=dict(type="str"),
        compression=dict(type="str"),
        vectors=dict(type="str", choices=["binary", "text"], default="binary"),
        jobs=dict(type="int"),
        letta_version=dict(type="str"),
        encryption_key=dict(type="str", no_log=True),
        volumes=dict(
            type="list",
            elements="dict",
            default=[],
            options=dict(
                name=dict(type="str", required=True),
                path=dict(type="path", required=True),
                archive=dict(type="path"),
                host=dict(type="str"),
                skipped_count=dict(type="int"),
            ),
        ),
        dump=dict(type="path"),
        dump_redis=dict(type="path"),
        taken_at=dict(type="str"),
        trust_sql=dict(type="bool", default=False),
        keep=dict(type="dict", options=rules),
        allowed_signers=dict(type="str", default=""),
        signer=dict(type="str", default=""),
    )
    spec.update(progress_argument_spec())
    spec.update(seal_argument_spec())
    spec.update(redis_argument_spec())
    return spec


def present(module):
    """Take a set."""
    from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take

    params = module.params
    until = None
    if params["valid_for"]:
        until = datetime.now(timezone.utc) + timedelta(seconds=catalogue.parse_age(params["valid_for"]))
    redis = redis_from_params(params) if params["redis_host"] else None
    server = server_from_params(params, params["database"] or params["login_db"] or (None if params["login_uri"] else "letta"))
    options = take.BackupOptions(
        server=server,
        root=params["backup_root"],
        jobs=params["jobs"],
        compression=params["compression"],
        vectors=params["vectors"],
        bin_dir=params["bin_dir"],
        letta_version=params["letta_version"],
        encryption_key=params["encryption_key"] or "",
        redis=redis,
        volumes=tuple(params["volumes"]),
        kind=params["kind"],
        valid_until=until,
        seal=seal_from_params(params),
    )
    if module.check_mode:
        return dict(changed=True, plan=take.plan_backup(options))
    return made(module, take.take_backup(options, progress_from_params(params)))


def adopted(module):
    """Make a set of a dump."""
    from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import adopt

    params = module.params
    options = adopt.AdoptOptions(
        dump=params["dump"],
        root=params["backup_root"],
        trust_sql=params["trust_sql"],
        server=server_from_params(params) if params["trust_sql"] else None,
        jobs=params["jobs"],
        bin_dir=params["bin_dir"],
        letta_version=params["letta_version"],
        encryption_key=params["encryption_key"] or "",
        taken_at=parse_moment(params["taken_at"]),
        redis=params["dump_redis"],
        volumes=tuple(params["volumes"]),
        seal=seal_from_params(params),
    )
    if module.check_mode:
        return dict(changed=True, plan=adopt.plan_adopt(options))
    return made(module, adopt.adopt_dump(options, progress_from_params(params)))


def parse_moment(text):
    """Return the moment of option ``taken_at``, None when it is not set."""
    if not text:
        return None
    try:
        return manifests.parse_stamp(text)
    except ValueError:
        raise RecoveryError("usage", "taken_at is no moment: %s" % text, next_step="write it as 2026-11-21T03:30:00Z (UTC)") from None


def made(module, manifest):
    """Return the result for a set that was just made."""
    for warning in manifest["warnings"]:
        module.warn(warning)
    return dict(
        changed=True,
        backup_set=catalogue.read_set(module.params["backup_root"], manifest["id"], datetime.now(timezone.utc)).as_dict(),
        seconds=manifest["seconds"],
        tables=len(manifest["tables"]),
        rows=sum(table["rows"] for table in manifest["tables"].values()),
    )


def absent(module):
    """Remove one set; one that is not there is fine."""
    root, set_id = module.params["backup_root"], module.params["backup_id"]
    sizes = {info.id: info.size_bytes for info in catalogue.list_sets(root)}
    if set_id not in sizes:
        return dict(changed=False, removed=[], freed_bytes=0)
    if not module.check_mode:
        store.remove_set(root, set_id)
    return dict(changed=True, removed=[set_id], freed_bytes=sizes[set_id])


def pruned(module):
    """Remove what the policy lets go."""
    params = module.params
    trust = Trust(params["allowed_signers"], params["signer"])
    outcome = retention.prune(params["backup_root"], params["keep"] or {}, dry_run=module.check_mode, trust=trust)
    return dict(
        changed=bool(outcome["removed"]),
        removed=outcome["removed"],
        kept=outcome["keep"],
        freed_bytes=outcome["freed_bytes"],
        lines=["kept %s: %s" % (set_id, ", ".join(reasons)) for set_id, reasons in outcome["keep"].items()],
    )


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_if=[("state", "absent", ["backup_id"]), ("state", "adopted", ["dump"]), ("state", "pruned", ["keep"])],
    )
    work = dict(present=present, adopted=adopted, absent=absent, pruned=pruned)[module.params["state"]]
    run(module, work, needs_database=module.params["state"] in ("present", "adopted"))


if __name__ == "__main__":
    main()
