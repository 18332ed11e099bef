"""A disk that fills up at the worst moment: live is whole, what is true is told, and the next run succeeds once there is room."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from psycopg2 import sql

from tests.faults import kit
from tests.integration.restore_kit import ADMIN, ADMIN_PASSWORD, PASSWORD, World, add_writes, content, fill, install_schema
from tests.lab.postgres import EmbeddedPostgres

pytestmark = pytest.mark.slow

RESTORE = "restore-full.yml"
MIB = 1 << 20
FILL = "import os, sys\nwith open(sys.argv[1], 'wb', buffering=0) as out:\n    while out.write(bytes(4096)):\n        pass\n"


class Disk:
    """A small disk of its own in a folder."""

    def __init__(self, path, megabytes):
        self.path = Path(path)
        self.path.mkdir(exist_ok=True)
        if shutil.which("mount") is None:
            pytest.skip("there is no mount on this machine")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=%dm,mode=0711" % megabytes, "tmpfs", str(self.path)], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip("a small disk cannot be mounted here: %s" % done.stderr.strip())
        self.ballast = self.path / "ballast"

    def free(self):
        """Bytes that are free."""
        facts = os.statvfs(self.path)
        return facts.f_bavail * facts.f_frsize

    def leave(self, megabytes):
        """Fill it but for some megabytes."""
        self.ballast.write_bytes(bytes(self.free() - megabytes * MIB))

    def make_room(self):
        self.ballast.unlink(missing_ok=True)

    def close(self):
        subprocess.run(["umount", "-l", str(self.path)], check=True)


@pytest.fixture(scope="module")
def disks():
    """Factory of small disks in folders that everybody may enter; all gone afterwards."""
    made, folder = [], Path(tempfile.mkdtemp(prefix="letta-disks-"))
    folder.chmod(0o755)

    def make(megabytes, path=None):
        made.append(Disk(path or folder / str(len(made)), megabytes))
        return made[-1]

    yield make
    for disk in reversed(made):
        disk.close()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def small(disks):
    """(Server, its disk, the disk of its write-ahead log): PostgreSQL with little room."""
    disk, wal = disks(260), disks(192)
    # a load here writes 35 MB of log: no checkpoint may come between and free what was written before it
    sizes = {"min_wal_size": "32MB", "max_wal_size": "128MB", "checkpoint_timeout": "1h", "wal_recycle": "off"}
    server = EmbeddedPostgres(disk.path, fsync=False, settings=sizes).start()
    server.stop()
    subprocess.run(["cp", "-a", server.data_dir / "pg_wal", wal.path], check=True)
    shutil.rmtree(server.data_dir / "pg_wal")
    (server.data_dir / "pg_wal").symlink_to(wal.path / "pg_wal")
    server.start()
    role = sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}")
    server.execute(role.format(sql.Identifier(ADMIN), sql.Literal(ADMIN_PASSWORD)))
    yield server, disk, wal
    server.destroy()


@pytest.fixture
def cramped(small, tmp_path):
    """A world whose set says that it needs next to no room, so that the plan lets it pass, as when the disk fills up later."""
    server = small[0]
    world = World(server, "lr_cramped", tmp_path)
    os.makedirs(world.root, 0o700)
    shape = server.create_letta_database(world.database, password=PASSWORD, schema="letta")
    install_schema(shape)
    fill(shape, messages=40000)
    world.saved = content(dict(world.fingerprint()))
    world.backup()
    kit.reseal(kit.only_set(world), database={"size_bytes": 1})
    add_writes(world.live)
    yield world
    for disk in small[1:]:
        disk.make_room()
    if not server.running():
        server.start()
    for name in world.databases():
        server.drop_database(name)


@pytest.mark.fault(18, "load", "wal")
@pytest.mark.parametrize(("which", "left"), [(1, 20), (2, 1)], ids=["load", "wal"])
def test_a_disk_of_the_database_that_fills_during_the_load_is_named_and_costs_the_side_database_at_most(small, cramped, which, left):
    server, disk, before = small[0], small[which], cramped.fingerprint()
    server.execute(sql.SQL("CHECKPOINT"))  # the log of what was written until now is freed before the disk is filled, not after
    disk.leave(left)
    played = cramped.play(RESTORE)
    fail, now = (kit.said(played.output, label) for label in ("FAIL", "NOW"))
    assert re.search("No space left on device|lost in mid-work|cannot connect", fail), played.output[-3000:]
    assert "unforeseen" not in fail
    disk.make_room()
    server.start()
    if now.startswith("not known"):  # PostgreSQL goes down when its write-ahead log, or a checkpoint, finds no room
        assert played.report["failure_class"] == "manual_help_needed"
    else:
        assert played.report["failure_class"] == "load_failed"
        assert kit.untrue_claims(cramped, before, now) == []
    after = cramped.fingerprint()
    for print_ in (before, after):  # after a crash a sequence passes over up to 32 numbers
        print_["sequences"] = sorted(print_["sequences"])
    assert after == before
    cramped.play(RESTORE).ok()
    assert content(cramped.fingerprint()) == cramped.saved
    assert cramped.leftovers(cramped.kept_names()) == []


@pytest.mark.fault(18, "swap")
@pytest.mark.parametrize("moment", ["stop", "start"])
def test_a_store_that_is_full_at_the_exchange_leaves_a_served_whole_database(make_world, shape_set, disks, moment):
    world = make_world()
    disk = disks(64, world.root)
    world.copy_set(shape_set)
    add_writes(world.live)
    service = kit.Service(world, PASSWORD)
    try:
        assert service.run("start") == 0
        before = world.fingerprint()
        facts = world.hosts["letta1"]
        own = facts["letta_service_" + moment]
        script = "%s -c \"$2\" \"$1\" 2>/dev/null; shift 2; exec \"$@\"" % sys.executable
        facts["letta_service_" + moment] = ["sh", "-c", script, "fill", str(disk.ballast), FILL, *own]
        played = world.play(RESTORE)
        assert played.report["failure_class"] == {"stop": "preflight", "start": "swap_rolled_back"}[moment]
        now = kit.said(played.output, "NOW")
        assert kit.untrue_claims(world, before, now, service.calls[1:]) == []
        assert "No space left on device" in kit.said(played.output, "FAIL")
        assert service.serving == world.databases()[world.database], "Letta serves what is live"
        assert world.fingerprint()["open"]
        facts["letta_service_" + moment] = own
        disk.make_room()
        world.play(RESTORE).ok()
        assert world.leftovers(world.kept_names()) == []
        assert service.serving == world.databases()[world.database] != before["oid"]
    finally:
        service.close()
