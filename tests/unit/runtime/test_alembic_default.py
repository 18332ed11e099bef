"""Which Alembic the restore runs when nobody named one: the role's own template, evaluated by Ansible."""
from __future__ import annotations

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from tests.lab import ROOT

HERE = {"item": "db1", "image": "sha256:here"}


@pytest.mark.parametrize(
    ("looked", "more", "expected"),
    [
        ({"results": [HERE]}, {}, ["docker", "run", "sha256:here"]),
        ({"results": [{"item": "letta2", "image": "sha256:there"}, HERE]}, {}, ["docker", "run", "sha256:here"]),
        ({"results": [HERE]}, {"letta_service_docker_host": "unix:///x"}, ["docker", "--host", "unix:///x", "run", "sha256:here"]),
        ({"results": [HERE]}, {"letta_image": "letta@sha256:named"}, ["docker", "run", "letta@sha256:named"]),
        ({"results": [HERE]}, {"letta_alembic_command": ["alembic"]}, ["alembic"]),
        ({"results": [{"item": "letta2", "image": "sha256:there"}]}, {}, []),
        ({"results": [{"item": "db1", "image": None}]}, {}, []),
        ({"results": [{"item": "db1", "skipped": True}]}, {}, []),
        ({"skipped": True}, {}, []),
        (None, {}, []),
    ],
)
def test_alembic_runs_in_the_image_of_the_server_on_this_host_unless_one_is_named(looked, more, expected):
    loader = DataLoader()
    role = loader.load_from_file(str(ROOT / "roles" / "letta_restore" / "vars" / "main.yml"), trusted_as_template=True)
    given = {"inventory_hostname": "db1", "letta_alembic_command": [], "letta_image": "", "letta_service_docker_host": "", **more}
    given.update({} if looked is None else {"__letta_looked": looked})
    command = Templar(loader=loader, variables={**role, **given}).template(role["_letta_alembic_command"])
    fixed = ["--rm", "--network", "host", "--env", "LETTA_PG_URI", "--env", "LETTA_ENCRYPTION_KEY", "--entrypoint", "alembic"]
    assert [word for word in command if word not in fixed] == [word for word in expected if word not in fixed]
    assert expected in ([], ["alembic"]) or all(word in command for word in fixed)
