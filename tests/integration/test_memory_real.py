"""Letta's own code writes the repositories and reads them: the blocks found here are the blocks that Letta finds."""
from __future__ import annotations

import json
import os
import subprocess

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import memory
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import memory as letta
from tests.lab.letta_install import letta_home

pytestmark = pytest.mark.slow

ORGANIZATION, AGENT = "org-00000000-0000-4000-8000-000000000000", "agent-00000000-0000-4000-8000-000000000001"
VALUES = {
    "system/human": "plain",
    "system/empty": "",
    "system/rule": "---\nlooks: like front matter\n---\nand is the value\n",
    "system/lines": "dos\r\nold mac\rend",
    "system/letters": "caf\u00e9 \U0001f600 \u2028 {{ braces }} $(word)",
    "notes/deep/er": "x" * 20000,
    "skills/known": "written through the API, which names the file so that no sync finds it",
}
# Besides what the API writes, people push: whole files, and skills in their own place.
SCRIPT = """
import asyncio, json, sys
from letta.schemas.block import Block
from letta.schemas.memory_repo import FileChange
from letta.schemas.user import User
from letta.services.memory_repo.memfs_client_base import MemfsClient
top, organization, agent, values = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
async def main():
    client = MemfsClient(local_path=top)
    actor = User(id="user-00000000-0000-4000-8000-000000000000", name="u", organization_id=organization)
    blocks = [Block(label=label, value=value, description="d: |", metadata={"a": ["b"]}, read_only=True) for label, value in values.items()]
    await client.create_repo_async(agent, actor, blocks[:3])
    for block in blocks[3:]:
        await client.create_block_async(agent, block, actor)
    await client.update_block_async(agent, "system/human", "changed", actor, description=None)
    await client.create_block_async(agent, Block(label="gone", value="gone"), actor)
    await client.delete_block_async(agent, "gone", actor)
    pushed = {"skills/one/SKILL.md": "a skill", "skills/one/more.md": "no block", "bare.md": "no front",
              "odd.md": "---\\nno: [yaml\\n---\\nx", "list.md": "---\\n- a\\n---\\nx",
              "open.md": "---\\nnever closed", "README.txt": "no block"}
    changes = [FileChange(path=path, content=text, change_type="add") for path, text in pushed.items()]
    await client.git.commit(agent, organization, changes, "pushed")
    print("FOUND" + json.dumps({block.label: block.value for block in await client.get_blocks_async(agent, actor)}))
asyncio.run(main())
"""


def test_the_blocks_of_a_repository_are_those_that_letta_reads_from_it(tmp_path):
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org",
        "LETTA_REDIS_HOST": "", "LC_ALL": "C.UTF-8",
    }
    argv = [str(letta_home() / "venv" / "bin" / "python"), "-c", SCRIPT, str(tmp_path / "memfs"), ORGANIZATION, AGENT, json.dumps(VALUES)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=180)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND")] or [done.stderr[-3000:]]
    known = json.loads(line[5:])
    assert {"system/rule", "skills/one", "bare", "odd", "list", "open"} <= set(known)
    assert "gone" not in known

    (repository,) = memory.repositories(str(tmp_path / "memfs")).values()
    with memory.Git.found() as git:
        git.check(repository, memory.head_of(repository))
        found = git.blocks(repository, memory.head_of(repository))
    assert found == {label: [letta.digest(value)] for label, value in known.items()}
