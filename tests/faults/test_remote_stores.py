"""Sets in a remote store: slow, silent, gone in the middle, refusing, damaged. Each is told apart, and nothing unproven is used."""
from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import choosing, fetch, rclone, stores
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import assess
from tests.faults.rclone_kit import PASSWORD, Served
from tests.lab import ROOT
from tests.unit.backup.conftest import NOW, Store

HOUR = timedelta(hours=1)
BIG = 1 << 19  # bytes of each of the two files of a set that takes its time
FETCH = """
import sys
sys.path[:0] = sys.argv[1:3]
from tests.faults.test_remote_stores import search
search(sys.argv[3], sys.argv[4], sys.argv[5], patience=10)
"""


def search(root, remote, config, *more, patience=4, **options):
    """Search a remote, then ``more``, then the backup root, as a restore does."""
    with stores.opened((remote, *more), root, config, patience) as places:
        check = options.pop("check", lambda info: assess._reason_against(info, choosing.SILENT, {}))
        return choosing.search(places, choosing.Request(**dict(dict(now=NOW, check=check), **options)))


@pytest.fixture
def far(tmp_path):
    """Sets in a store behind the network."""
    return Store(tmp_path / "far")


@pytest.fixture
def served(far, tmp_path):
    server = Served(far.root, tmp_path / "serve").start()
    yield server
    server.stop()


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir(mode=0o700)
    return str(tmp_path / "root")


@pytest.fixture
def slow(monkeypatch):
    """One MiB a second, which is slow and nothing else."""
    monkeypatch.setenv("RCLONE_BWLIMIT", "1M")
    monkeypatch.setenv("RCLONE_TRANSFERS", "1")


def in_part(root, set_id):
    """{file: (bytes, inode)} of a set on its way."""
    folder = Path(root, fetch.FETCHED, fetch.PART + set_id)
    return {path.name: (path.stat().st_size, path.stat().st_ino) for path in folder.rglob("*") if path.is_file()} if folder.is_dir() else {}


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def test_only_the_chosen_set_is_fetched_into_private_and_cleared_when_it_is_done_with(far, served, root):
    older, newer = far.add(3 * HOUR), far.add(HOUR)
    os.mkdir(os.path.join(far.root, "lb-20261121T113000Z-aaaaaa"))
    choice = search(root, "rclone:store:", served.config)
    assert (choice.info.id, choice.info.at_hand, choice.info.path) == (newer, True, os.path.join(root, ".fetched", newer))
    assert [entry["reason"][:16] for entry in choice.rejected] == ["no manifest.json"]
    assert stat.S_IMODE(os.stat(choice.info.path).st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in Path(choice.info.path).rglob("*") if path.is_file()} == {0o600}
    assert sorted(os.listdir(os.path.join(root, ".fetched"))) == [".lock-" + newer, newer]
    assert older not in str(list(Path(root).rglob("*")))
    far.flip(newer, "database/1.dat", 1)
    assert search(root, "rclone:store:", served.config).info.store.endswith("(fetched before)"), "it is not fetched twice"
    fetch.clear(root, newer)
    assert os.listdir(root) == []


def test_nothing_is_fetched_while_the_manifest_is_enough(far, served, root):
    newest = far.add(HOUR)
    choice = search(root, "rclone:store:", served.config, enough=lambda info: True)
    assert (choice.info.id, choice.info.at_hand, os.listdir(root)) == (newest, False, [])


@pytest.mark.fault(1, "next")
def test_a_set_damaged_in_the_remote_is_fetched_twice_before_its_copy_in_the_next_store_is_taken(far, served, root, tmp_path):
    newer = far.add(HOUR)
    near = Store(tmp_path / "near")
    shutil.copytree(far.path(newer), near.path(newer))
    far.flip(newer, "database/1.dat", 7)
    checks = []

    def check(info):
        checks.append(info.path)
        return assess._reason_against(info, choosing.SILENT, {})

    choice = search(root, "rclone:store:", served.config, near.root, check=check)
    assert (choice.info.id, choice.info.store) == (newer, near.root)
    assert "its copy in rclone:store: cannot be used: database/1.dat does not match its checksum" in choice.warnings[0]
    assert checks == [os.path.join(root, ".fetched", newer)] * 2 + [near.path(newer)]
    assert not os.path.exists(checks[0])


@pytest.mark.fault(1, "next")
def test_what_was_damaged_on_the_way_is_fetched_again(far, served, root):
    newer = far.add(HOUR)
    reasons = []

    def check(info):
        if not reasons:  # the line flips a byte, once
            with open(os.path.join(info.path, "database", "1.dat"), "r+b") as stream:
                stream.write(b"X")
        reasons.append(assess._reason_against(info, choosing.SILENT, {}))
        return reasons[-1]

    assert search(root, "rclone:store:", served.config, check=check).info.id == newer
    assert [reason is None for reason in reasons] == [False, True]


@pytest.mark.fault(5, "slow")
def test_a_slow_store_is_waited_for_however_long_it_takes(far, served, root, slow):
    newer = far.add(HOUR, content=os.urandom(2 * BIG))
    begun = time.monotonic()
    assert search(root, "rclone:store:", served.config, patience=1).info.id == newer
    assert time.monotonic() - begun > 1.5


@pytest.mark.fault(5, "silent")
def test_a_store_that_answers_nothing_is_left_out_in_time_and_nothing_is_held_against_its_sets(far, served, root, tmp_path):
    far.add(HOUR)
    near = Store(tmp_path / "near")
    older = near.add(5 * HOUR)
    served.stall()
    begun = time.monotonic()
    choice = search(root, "rclone:store:", served.config, near.root, patience=1)
    assert time.monotonic() - begun < 10
    assert (choice.info.id, choice.rejected) == (older, [])
    assert choice.warnings[0].startswith("store rclone:store: is left out, a newer set may lie there")
    with pytest.raises(RecoveryError) as caught:
        search(root, "rclone:store:", served.config, patience=1)
    assert caught.value.failure_class == "preflight", "not a word on the set"


@pytest.mark.fault(5, "silent")
def test_a_store_that_falls_silent_in_the_middle_is_left_for_the_next_and_what_came_is_kept(far, served, root, slow, tmp_path):
    newer = far.add(HOUR, content=os.urandom(BIG))
    near = Store(tmp_path / "near")
    older = near.add(5 * HOUR)

    def stall_it():
        wait_until(lambda: any(size for size, _inode in in_part(root, newer).values()))
        served.stall()

    stall = threading.Thread(target=stall_it)
    stall.start()
    choice = search(root, "rclone:store:", served.config, near.root, patience=1)
    stall.join()
    assert choice.info.id == older
    assert "does not answer" in choice.rejected[0]["reason"]
    assert choice.rejected[0]["id"] == newer
    assert os.path.isdir(os.path.join(root, ".fetched", ".part-" + newer))


@pytest.fixture
def begun(monkeypatch):
    """Moments at which rclone was started, by what it was to do."""
    moments = {"_copy": [], "_run": []}
    for name, found in moments.items():
        real = getattr(rclone.Rclone, name)
        monkeypatch.setattr(rclone.Rclone, name, lambda *call, real=real, found=found: (found.append(time.monotonic()), real(*call))[1])
    return moments


@pytest.mark.fault(5, "silent")
def test_a_dropped_line_is_tried_again_until_it_holds(far, served, root, slow, begun):
    newer = far.add(HOUR, content=os.urandom(2 * BIG))

    def drop():
        wait_until(lambda: any(size for size, _inode in in_part(root, newer).values()))
        served.stop()
        wait_until(lambda: len(begun["_copy"]) == 3)  # manifests, files, files again
        served.start()

    dropping = threading.Thread(target=drop, daemon=True)  # it waits in vain where nothing is tried again
    dropping.start()
    choice = search(root, "rclone:store:", served.config, patience=15)
    dropping.join()
    assert (choice.info.id, choice.rejected, choice.warnings) == (newer, [], [])


@pytest.mark.fault(5, "silent")
def test_a_store_that_is_down_is_asked_again_at_growing_intervals_and_given_up_in_time(far, served, root, begun):
    served.stop()
    with pytest.raises(RecoveryError) as caught:
        search(root, "rclone:store:", served.config, patience=4)
    first, second = (later - earlier for earlier, later in zip(begun["_run"], begun["_run"][1:]))
    assert (1 <= first < 2, 2 <= second < 3.5) == (True, True), (first, second)
    # A slow machine notices the end of its patience a little later.
    assert re.search(r"connection refused \(tried again for [3-6] s\)", caught.value.message)


def test_a_fetch_that_was_killed_goes_on_and_what_lies_there_is_not_trusted(far, served, root, slow):
    newer = far.add(HOUR, content=os.urandom(BIG))
    paths = [str(ROOT), str(ROOT / "playbooks" / "collections")]
    child = subprocess.Popen([sys.executable, "-c", FETCH, *paths, root, "rclone:store:", served.config])
    wait_until(lambda: in_part(root, newer).get("1.dat", (0, 0))[0] == BIG)
    child.send_signal(signal.SIGKILL)
    child.wait()
    part = Path(root, fetch.FETCHED, fetch.PART + newer)
    (done,) = part.rglob("1.dat")
    wait_until(lambda: not list(Path("/proc").glob("%d/stat" % child.pid)))
    (part / "not-listed").write_text("of somebody else")
    here = Path(root, fetch.FETCHED, newer)
    with open(done, "rb") as held:  # while it is open its inode is nobody else's
        assert search(root, "rclone:store:", served.config).info.id == newer
        assert os.path.samestat(os.fstat(held.fileno()), os.stat(here / "database" / "1.dat")), "what was whole is not fetched again"
        assert not (here / "not-listed").exists()
        here.rename(part)
        with open(part / "database" / "1.dat", "r+b") as stream:
            stream.write(bytes(16))
        (part / "database" / "toc.dat").unlink()
        assert search(root, "rclone:store:", served.config).info.id == newer
        assert os.fstat(held.fileno()).st_nlink == 0, "what was damaged is"


@pytest.mark.fault(5, "refused")
def test_a_refusal_is_not_tried_again_and_tells_no_secret(far, served, root):
    far.add(HOUR)
    served.configure("wrong-pa55")
    begun = time.monotonic()
    with pytest.raises(RecoveryError) as caught:
        search(root, "rclone:store:", served.config, patience=60)
    assert time.monotonic() - begun < 20
    assert caught.value.failure_class == "preflight"
    assert "401" in caught.value.message
    assert "wrong-pa55" not in str(caught.value.as_dict())
    assert PASSWORD not in str(caught.value.as_dict())


def test_a_remote_that_the_configuration_does_not_know_and_a_missing_folder_are_told(far, served, root):
    for name, says in (("rclone:typo:", "typo"), ("rclone:store:nowhere", "not found")):
        with pytest.raises(RecoveryError) as caught:
            search(root, name, served.config, patience=30)
        assert (caught.value.failure_class, says in caught.value.message) == ("preflight", True), caught.value.message


@pytest.mark.fault(18, "fetch")
def test_a_disk_without_room_for_the_set_is_refused_before_a_byte_is_fetched(far, served, root, monkeypatch):
    far.add(HOUR)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=100))
    with pytest.raises(RecoveryError) as caught:
        search(root, "rclone:store:", served.config)
    assert (caught.value.failure_class, "fetching lb-" in caught.value.message) == ("preflight", True)


def test_a_second_process_does_not_fetch_the_same_set(far, served, root, slow):
    newer = far.add(HOUR, content=os.urandom(BIG))
    first = threading.Thread(target=lambda: search(root, "rclone:store:", served.config, patience=10))
    first.start()
    wait_until(lambda: in_part(root, newer))
    with pytest.raises(RecoveryError) as caught:
        search(root, "rclone:store:", served.config)
    first.join()
    assert caught.value.failure_class == "locked"


def test_fetched_sets_that_nobody_came_back_for_go_after_a_week(far, served, root):
    kept, old = far.add(HOUR), far.add(2 * HOUR)
    for wanted in (kept, old):
        search(root, "rclone:store:", served.config, wanted=wanted)
    week = fetch.KEPT_SECONDS + 60
    assert fetch.sweep(root) == []
    assert fetch.sweep(root, {kept}, time.time() + week) == [old]
    assert os.path.isdir(os.path.join(root, ".fetched", kept))


def test_the_line_in_the_readme_copies_whole_sets_to_a_remote_and_nothing_else(far, served, root, tmp_path):
    near = Store(tmp_path / "near")
    set_id = near.add(HOUR)
    os.makedirs(near.path(".incoming-lb-20261121T110000Z-aaaaaa"))
    Path(near.path(".incoming-lb-20261121T110000Z-aaaaaa"), "1.dat").write_text("half")
    (line,) = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("rclone copy ")]
    assert line.index("- manifest.json*") < line.index("+ /lb-*/manifest.json*"), "the manifests go last"
    line = line.replace("/var/backups/letta", near.root).replace("offsite:letta-backups", "store:")
    environment = dict(os.environ, RCLONE_CONFIG=served.config, PATH=os.path.dirname(rclone.find()) + os.pathsep + os.environ["PATH"])
    subprocess.run(["/bin/sh", "-ec", line], env=environment, check=True, timeout=60)
    assert os.listdir(far.root) == [set_id]
    assert search(root, "rclone:store:", served.config).info.id == set_id


@pytest.fixture
def hanging(tmp_path):
    """A mount whose server never answers: FUSE with nobody behind it."""
    folder = tmp_path / "hanging"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as exc:
        pytest.skip("no FUSE here: %s" % exc)
    options = b"fd=%d,rootmode=40000,user_id=%d,group_id=%d" % (device, os.getuid(), os.getgid())
    if libc.mount(b"letta", os.fsencode(folder), b"fuse", 0, options):
        os.close(device)
        pytest.skip("may not mount here: %s" % os.strerror(ctypes.get_errno()))
    yield str(folder)
    os.close(device)
    libc.umount2(os.fsencode(folder), 2)


@pytest.mark.fault(5, "silent")
def test_a_mounted_store_that_hangs_is_left_out_in_time(root, hanging):
    newest = Store(root).add(HOUR)
    begun = time.monotonic()
    with stores.opened([hanging], root, patience=1) as places:
        choice = choosing.search(places, choosing.Request(now=NOW))
    assert time.monotonic() - begun < 15
    assert choice.info.id == newest
    assert choice.warnings[0].endswith("the store %s does not answer: no answer in 1 s" % hanging)


def test_rclone_that_is_not_installed_is_named_with_how_to_get_it(root, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(RecoveryError) as caught:
        rclone.find()
    assert (caught.value.failure_class, "install" in caught.value.next_step) == ("preflight", True)
