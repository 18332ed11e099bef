"""Git-backed memory: repositories as Letta makes them, held against block rows at backup and at restore."""
from __future__ import annotations

import os
import shutil
import subprocess
import zlib

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import memory as repositories
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import volumes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import memory as letta
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import memory
from ansible_collections.letta_ops.recovery.plugins.modules import memory_info
from tests.unit.backup.test_modules import call  # noqa: F401 (a fixture)

ORGANIZATION = "org-00000000-0000-4000-8000-000000000000"


def agent(number):
    return "agent-00000000-0000-4000-8000-%012d" % number


def git(repository, *arguments):
    environment = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1")
    names = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *names, *arguments], cwd=repository, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Memory:
    """A folder of repositories as Letta's own storage keeps them: the .git of a work tree, copied file by file."""

    def __init__(self, top):
        self.top = top

    def path(self, number):
        return self.top / "repository" / ORGANIZATION / agent(number) / "repo.git"

    def commit(self, number, **blocks):
        """Commit blocks as Letta would; returns the commit."""
        work = self.top.parent / ("work%d" % number)
        if not work.exists():
            work.mkdir()
            git(work, "init", "-q", "-b", "main")
        for label, value in blocks.items():
            path = work / ("%s.md" % label.replace("__", "/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"---\ndescription: what it is for\n---\n" + value.encode())
        git(work, "add", "-A")
        git(work, "commit", "-qm", "Update")
        shutil.rmtree(self.path(number), ignore_errors=True)
        shutil.copytree(work / ".git", self.path(number))
        return git(work, "rev-parse", "HEAD")


@pytest.fixture
def stand(make_world):
    """(world, Memory): three agents with git-backed memory, whose rows are what the repositories say."""
    world = make_world()
    world.sql("INSERT INTO letta.agents_tags (agent_id, tag) SELECT id, '%s' FROM letta.agents" % letta.GIT_TAG)
    world.sql("UPDATE letta.block SET label = 'system/human', value = E'caf\\u00e9\\r\\n---\\nof ' || id")
    kept = Memory(world.folder / "memfs")
    for number in (1, 2, 3):
        block = agent(number).replace("agent-", "block-")
        kept.commit(number, system__human="caf\u00e9\n---\nof %s" % block)
    return world, kept


def verdicts(world, kept):
    return {int(name[-12:]): one["verdict"] for name, one in memory.compare(world.live, str(kept.top))["agents"].items()}


@pytest.mark.fault(35, "commit")
def test_rows_are_compared_with_the_commit_that_head_names(stand):
    world, kept = stand
    assert verdicts(world, kept) == {1: "equal", 2: "equal", 3: "equal"}
    first = git(kept.top.parent / "work1", "rev-parse", "HEAD")
    kept.commit(1, system__human="newer")
    kept.commit(1, system__human="newest")
    world.sql("UPDATE letta.block SET value = 'never committed' WHERE id LIKE '%%2'")
    shutil.rmtree(kept.path(3))
    result = memory.compare(world.live, str(kept.top))
    assert verdicts(world, kept) == {1: "rows_behind", 2: "differs", 3: "missing"}
    assert result["agents"][agent(1)]["rows_at"] == first
    assert {one.id: (one.status, one.count) for one in result["findings"]} == {
        "memory.rows_behind": ("warn", 1), "memory.differs": ("warn", 1), "memory.missing": ("warn", 1)}


@pytest.mark.fault(35, "commit")
def test_a_file_more_or_less_than_there_are_rows_is_a_difference(stand):
    world, kept = stand
    kept.commit(1, other="there is no row of this")
    world.sql("DELETE FROM letta.blocks_agents WHERE agent_id = %s", (agent(2),))
    assert verdicts(world, kept) == {1: "rows_behind", 2: "differs", 3: "equal"}


def damage(repository):
    """Flip a bit in the largest loose object."""
    path = max((one for one in (repository / "objects").rglob("*") if one.is_file()), key=lambda one: one.stat().st_size)
    os.chmod(path, 0o600)
    data = bytearray(zlib.decompress(path.read_bytes()))
    data[-1] ^= 1
    path.write_bytes(zlib.compress(bytes(data)))


def lose(repository):
    next(one for one in (repository / "objects").rglob("*") if one.is_file()).unlink()


@pytest.mark.fault(35, "missing", "corrupt")
@pytest.mark.parametrize("harm", [
    damage, lose,
    lambda path: (path / "HEAD").write_text("ref: refs/../../../etc/passwd\n"),
    lambda path: (path / "refs" / "heads" / "main").unlink(),
    lambda path: (path / "refs" / "heads" / "main").write_text("0" * 40),
    lambda path: (path / "objects" / "info").mkdir(exist_ok=True) or (path / "objects" / "info" / "alternates").write_text("/tmp\n"),
    lambda path: shutil.rmtree(path / "objects"),
], ids=["a flipped bit", "a lost object", "a HEAD that reaches out", "no branch", "an empty branch", "objects elsewhere", "no objects"])
def test_a_damaged_repository_is_told_and_the_others_are_still_judged(stand, harm):
    world, kept = stand
    harm(kept.path(2))
    assert verdicts(world, kept) == {1: "equal", 2: "corrupt", 3: "equal"}
    (finding,) = [one for one in memory.compare(world.live, str(kept.top))["findings"] if one.id == "memory.corrupt"]
    assert (finding.status, finding.count) == ("fail", 1)


def test_no_configuration_or_hook_of_a_repository_runs_anything(stand):
    world, kept = stand
    canary, repository = world.folder / "canary", kept.path(1)
    script = world.folder / "run"
    script.write_text("#!/bin/sh\ntouch %s\n" % canary)
    script.chmod(0o755)
    with open(repository / "config", "a") as config:
        config.write(
            f'[core]\n\tfsmonitor = {script}\n\tpager = {script}\n\thooksPath = {world.folder}\n\tsshCommand = {script}\n'
            f'\talternateRefsCommand = {script}\n[extensions]\n\tpartialClone = origin\n[remote "origin"]\n\tpromisor = true\n'
            f'\turl = ext::{script}\n[diff]\n\texternal = {script}\n[protocol "ext"]\n\tallow = always\n')
    lose(repository)
    environment = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null")
    subprocess.run(["git", "--git-dir", str(repository), "fsck"], env=environment, capture_output=True)
    subprocess.run(["git", "--git-dir", str(repository), "log", "-p", "--all"], env=environment, capture_output=True)
    assert canary.exists(), "git itself would have run it"
    canary.unlink()
    assert verdicts(world, kept)[1] == "corrupt"
    assert not canary.exists()


def test_without_git_the_repositories_count_as_unchecked(stand, monkeypatch):
    world, kept = stand
    monkeypatch.setattr(repositories.shutil, "which", lambda name: None)
    assert verdicts(world, kept) == {1: "unchecked", 2: "unchecked", 3: "unchecked"}


@pytest.mark.fault(35, "commit")
def test_a_backup_notes_each_commit_and_whether_it_agrees_with_the_snapshot(stand):
    world, kept = stand
    kept.commit(2, system__human="after the rows")
    manifest = world.backup(volumes=({"name": "memfs", "path": str(kept.top)},))
    found = manifest["volumes"][0]["memory"]
    assert {name[-1]: one["verdict"] for name, one in found["agents"].items()} == {"1": "equal", "2": "rows_behind", "3": "equal"}
    assert found["agents"][agent(1)]["head"] == git(kept.top.parent / "work1", "rev-parse", "HEAD")
    assert "the memory of 1 agents is not that of their rows (1 rows_behind)" in " ".join(manifest["warnings"])
    assert manifests.load(os.path.join(world.root, manifest["id"]))["volumes"] == manifest["volumes"]


@pytest.mark.fault(35, "commit")
@pytest.mark.parametrize("commits", [1, 99])
def test_a_commit_while_the_archive_is_written_has_it_written_again(stand, tmp_path, monkeypatch, commits):
    _world, kept = stand
    archived, made = volumes.archive_volume, []

    def archive(path, target):
        facts = archived(path, target)
        if len(made) < commits:
            kept.commit(1, system__human="meanwhile %d" % len(made))
        made.append(target)
        return facts

    monkeypatch.setattr(volumes, "archive_volume", archive)
    facts = repositories.archive(str(kept.top), str(tmp_path / "m.tar.gz"), {})
    assert (len(made), facts["memory"]["moved"]) == ((2, 0) if commits == 1 else (3, 1))


def test_the_module_tells_verdicts_and_no_content(stand, call):  # noqa: F811
    world, kept = stand
    kept.commit(9, system__human="of nobody")
    server = world.live
    result = call(memory_info, check=True, path=str(kept.top), database=server.dbname, login_host=server.host, login_port=server.port,
                  login_user=server.user, login_password=server.password, ssl_mode="disable")
    assert result["unused"] == [agent(9)]
    assert [(one["id"], one["status"], one["count"]) for one in result["checks"]] == [("memory.equal", "pass", 0)]
    assert not [text for text in ("caf\u00e9", "caf\\u00e9", "caf\\xe9", "of nobody") if text in str(result)]


def test_a_folder_that_is_not_for_memory_is_not_held_against_anybody(stand, tmp_path):
    assert memory.compare(stand[0].live, str(tmp_path))["findings"] == []
