#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: alembic_info
short_description: Tell the schema revision of a Letta database or archive, and how it stands to a release
version_added: 0.1.0
description:
  - Reads the Alembic revision of a database, or of a C(pg_dump) archive without restoring it, and compares it with the one a release needs.
  - Equal revisions mean equal schemas even where the versions of Letta differ, so revisions are compared and not versions.
author:
  - The letta_ops.recovery founders (@letta-ops)
extends_documentation_fragment:
  - letta_ops.recovery.login
options:
  database:
    description: Database to look at. Without it the one of the login options. Cannot be combined with O(archive).
    type: str
  archive:
    description: Archive to look at, made by C(pg_dump) in custom, directory or tar format.
    type: path
  target_version:
    description: Release of Letta to compare with, such as V(0.16.8).
    type: str
  target_revision:
    description: Revision to compare with.
    type: str
attributes:
  check_mode:
    description: The module never changes anything and does the same in check mode.
    support: full
  diff_mode:
    description: The module never changes anything.
    support: none
"""

EXAMPLES = r"""
- name: See which migrations an old dump needs
  letta_ops.recovery.alembic_info:
    archive: /srv/old/letta.dump
    target_version: 0.16.8
  register: __letta_schema

- name: See which release a live database belongs to
  letta_ops.recovery.alembic_info:
    login_host: db1
    login_user: letta
    login_password: "{{ letta_db_password }}"
    database: letta
"""

RETURN = r"""
revisions:
  description: What the table C(alembic_version) holds. None when that table is missing.
  returned: success
  type: list
  elements: str
  sample: [ddb69be34a72]
revision:
  description: The revision, when there is exactly one.
  returned: success
  type: str
  sample: ddb69be34a72
known:
  description: Whether it is one of Letta's that the collection knows.
  returned: success
  type: bool
releases:
  description: Releases whose schema is exactly this revision.
  returned: success
  type: list
  elements: str
  sample: [0.11.7]
release_range:
  description: The same for a person. None when the revision is in the middle of a release.
  returned: success
  type: str
  sample: 0.11.7
target_revision:
  description: The revision compared with.
  returned: success
  type: str
  sample: 1c28e167b74f
verdict:
  description:
    - How the revision stands to the target, one of V(equal), V(older), V(newer), V(unknown), V(two_heads), V(empty), V(missing).
    - Without a target, V(equal) for one known revision.
  returned: success
  type: str
  sample: older
detail:
  description: The verdict in one sentence.
  returned: success
  type: str
between:
  description: The migrations between the two, oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    revision:
      description: Revision.
      type: str
      returned: always
    release:
      description: Release that brought it.
      type: str
      returned: always
    subject:
      description: What it does.
      type: str
      returned: always
    changes_data:
      description: Whether it rewrites rows.
      type: bool
      returned: always
    hazard:
      description: Rows it loses or stumbles over, or none.
      type: str
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import (
    login_argument_spec,
    require_psycopg2,
    run,
    server_from_params,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import releases
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta.entities import VERSION_TABLE
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.archive import open_archive, read_rows
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.fitting import tools_to_read
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate_context import open_context


def work(module):
    params = module.params
    target = target_revision(params["target_version"], params["target_revision"])
    if params["archive"]:
        revisions = archive_revisions(params["archive"], tools_to_read(params["archive"], params["bin_dir"]))
    else:
        require_psycopg2(module)
        with open_context(server_from_params(params, params["database"])) as context:
            revisions = context.revisions()
    return describe(revisions, target)


def target_revision(version, revision):
    """Return the revision to compare with, or None; an unknown release is a wrong option, not a verdict."""
    if version is None:
        return revision
    head = releases.head_of(version)
    if head is None:
        known = releases.known_versions()
        raise RecoveryError(
            "usage",
            "Letta %s is no release known here (%s to %s)" % (version, known[0], known[-1]),
            next_step="correct the version, or give target_revision",
        )
    return head


def archive_revisions(path, tools):
    """Return the revisions an archive holds; None without the table."""
    archive = open_archive(path, tools)
    table = next((name for name in archive.tables() if name.rsplit(".", 1)[-1] == VERSION_TABLE), None)
    if table is None:
        return None
    columns, rows = read_rows(archive, tools, table)
    place = columns.index("version_num")
    return sorted(row[place] for row in rows)


def describe(revisions, target):
    only = revisions[0] if revisions and len(revisions) == 1 else None
    comparison = releases.compare(revisions, only if target is None and releases.position(only) else target)
    return dict(
        revisions=revisions,
        revision=only,
        known=releases.position(only) is not None,
        releases=releases.releases_of(only),
        release_range=releases.release_range_of(only),
        target_revision=target,
        verdict=comparison.verdict,
        detail=comparison.detail,
        between=[migration(revision) for revision in comparison.between],
    )


def migration(revision):
    info = releases.revision_info(revision)
    return dict(
        revision=revision, release=info.release, subject=info.subject, changes_data=info.changes_data, hazard=info.hazard
    )


def main():
    module = AnsibleModule(
        argument_spec=login_argument_spec(
            database=dict(type="str"),
            archive=dict(type="path"),
            target_version=dict(type="str"),
            target_revision=dict(type="str"),
        ),
        mutually_exclusive=[("database", "archive"), ("target_version", "target_revision")],
        supports_check_mode=True,
    )
    run(module, work, needs_database=False)


if __name__ == "__main__":
    main()
