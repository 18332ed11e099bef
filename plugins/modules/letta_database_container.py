#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: letta_database_container
short_description: Create the container of Letta's database where there is none, ready for a restore
version_added: 0.1.0
description:
  - Creates the database container as Letta's own compose file does, starts it, waits until it answers queries, and makes of its empty
    database what Letta's C(init.sql) makes of it, namely a schema of the database's name, C(search_path), C(vector) in that schema, and no
    schema C(public).
  - A container that exists and differs is never changed; what differs is told. One that is stopped is started.
  - A database that holds anything is never touched.
  - The container has a health check (C(pg_isready)) and the restart policy C(unless-stopped).
author:
  - The letta_ops.recovery founders (@letta-ops)
options:
  state:
    description: V(present) is all there is; this collection removes no database.
    type: str
    choices: [present]
    default: present
  name:
    description: Name of the container.
    type: str
    default: letta_db
  image:
    description:
      - Image by digest (C(pgvector/pgvector@sha256:…)), which is pulled where it is not there, or by id (C(sha256:…)).
      - A tag is refused, because it may be another major version of PostgreSQL tomorrow, which cannot read the files of this one.
    type: str
    required: true
  database:
    description: Database that the image makes in an empty data folder.
    type: str
    default: letta
  user:
    description: Role that the image makes there, its owner and a superuser.
    type: str
    default: letta
  password:
    description:
      - Password of O(user). It lies in a file inside the container that only root may read (E(POSTGRES_PASSWORD_FILE)), so neither the
        container's configuration nor an argument of a process shows it.
      - A data folder that holds a database already keeps its own.
    type: str
    required: true
  address:
    description: Address of this host that the port is published at. Anything but a loopback address opens the database to a network.
    type: str
    default: 127.0.0.1
  port:
    description: Port of this host.
    type: int
    default: 5432
  data:
    description: Named volume, or absolute path of a folder of this host, that holds the database's files.
    type: str
    default: letta_pgdata
  data_path:
    description: Where O(data) is mounted. Without it the image's own volume below C(/var/lib/postgresql), which moved with PostgreSQL 18.
    type: str
  network:
    description:
      - Network of Docker's that the container joins, or V(host). Without it Docker's default.
      - With V(host) the server itself listens at O(address) and O(port).
    type: str
  settings:
    description: Further settings of the server, such as C(shared_buffers).
    type: dict
    default: {}
  shm_size:
    description: Size of C(/dev/shm) inside, which parallel workers of the server share. Docker's own 64m can be too little.
    type: str
    default: 256m
  docker_host:
    description: Address of Docker's engine, such as C(unix:///run/docker.sock). Without it the environment variable E(DOCKER_HOST) decides.
    type: str
  timeout:
    description: Seconds within which the database must answer.
    type: float
    default: 60
requirements:
  - docker (the Python package)
  - psycopg2 (or psycopg2-binary)
attributes:
  check_mode:
    description: Compares and tells what would be done; no image is pulled.
    support: full
  diff_mode:
    description: RV(did) says in words what is done.
    support: none
"""

EXAMPLES = r"""
- name: The database in a container, as Letta's compose file has it
  letta_ops.recovery.letta_database_container:
    name: letta_db
    image: pgvector/pgvector@sha256:{{ letta_db_image_digest }}
    database: letta
    user: letta
    password: "{{ letta_db_password }}"
    data: letta_pgdata
"""

RETURN = r"""
created:
  description: Whether the container was made.
  returned: success
  type: bool
started:
  description: Whether it was started.
  returned: success
  type: bool
prepared:
  description: Whether the empty database was given its schema, search_path and extension. In check mode only known of one that runs.
  returned: success
  type: bool
did:
  description: What was done, or would be, in words.
  returned: success
  type: list
  elements: str
  sample: [start it]
server_version:
  description: Version of the server; none in check mode of one that does not run.
  returned: success
  type: str
  sample: "17.6"
container:
  description: The container.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    id:
      description: Its id, none of one that would be made.
      type: str
      returned: always
    image:
      description: Id of its image; the name wanted where that would be pulled.
      type: str
      returned: always
    status:
      description: What Docker says of it, none of one that would be made.
      type: str
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import run
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.database_container import Wanted, ensure_container


def work(module):
    """Create, start, prepare."""
    params = {name: value for name, value in module.params.items() if name != "state" and value is not None}
    params["settings"] = {name: str(value) for name, value in params["settings"].items()}
    return ensure_container(Wanted(**params), check=module.check_mode)


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec=dict(
            state=dict(type="str", choices=["present"], default="present"),
            name=dict(type="str", default="letta_db"),
            image=dict(type="str", required=True),
            database=dict(type="str", default="letta"),
            user=dict(type="str", default="letta"),
            password=dict(type="str", required=True, no_log=True),
            address=dict(type="str", default="127.0.0.1"),
            port=dict(type="int", default=5432),
            data=dict(type="str", default="letta_pgdata"),
            data_path=dict(type="str"),
            network=dict(type="str"),
            settings=dict(type="dict", default={}),
            shm_size=dict(type="str", default="256m"),
            docker_host=dict(type="str"),
            timeout=dict(type="float", default=60),
        ),
        supports_check_mode=True,
    )
    run(module, work)


if __name__ == "__main__":
    main()
