"""A volume changes places with its folder: old-whole or new-whole after a kill between any two steps, and back again."""
from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import trees
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import volumes as archives
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import folders, volume_stage
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.volumes import Volume
from tests.lab import ROOT

RUN, OTHER = "r-0000000a", "r-0000000b"
FORK = multiprocessing.get_context("fork")


def write(top, **files):
    for name, text in files.items():
        place = top / name.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


@pytest.fixture
def kept(tmp_path):
    """(archive, its entry, digest of the tree it was made of)."""
    source = tmp_path / "source"
    write(source, a="saved", sub__b="saved too", both="saved")
    os.chmod(source / "a", 0o440)
    os.chmod(source, 0o750)
    archive = str(tmp_path / "v.tar.gz")
    entry = archives.archive_volume(str(source), archive)
    return archive, entry


@pytest.fixture
def live(tmp_path):
    """A live folder with other content."""
    top = tmp_path / "place" / "memory"
    write(top, a="live", only__live="live", both="live")
    return top


def digest(path):
    return trees.read_tree(str(path))["tree_digest"] if os.path.isdir(path) else None


def staged(live, kept, run_id=RUN):
    volume = Volume("memory", str(live), run_id)
    volume_stage.stage(volume, *kept)
    return volume


def beside(live):
    return sorted(os.listdir(live.parent))


def test_a_volume_is_staged_beside_its_folder_exchanged_and_put_back(live, kept):
    old, new = digest(live), kept[1]["tree_digest"]
    volume = staged(live, kept)
    assert (digest(live), digest(volume.names.new), volume.facts()["proof"]) == (old, new, "equal")
    assert os.stat(volume.names.new).st_mode & 0o777 == 0o700
    assert volume_stage.stage(Volume("memory", str(live), RUN), *kept) is False
    assert volume.swap() is True
    assert (digest(live), digest(volume.names.old)) == (new, old)
    assert os.stat(live).st_mode & 0o777 == 0o750
    assert Volume("memory", str(live), RUN).swap() is False
    assert Volume("memory", str(live), RUN).roll_back() is True
    assert (digest(live), digest(volume.names.undone)) == (old, new)
    assert Volume("memory", str(live), RUN).roll_back() is False
    assert Volume("memory", str(live), RUN).remove() is True
    assert (beside(live), digest(live)) == (["memory"], old)


def test_a_folder_that_does_not_exist_is_made_and_goes_again(tmp_path, kept):
    (tmp_path / "place").mkdir()
    live = tmp_path / "place" / "memory"
    volume = staged(live, kept)
    volume.swap()
    assert digest(live) == kept[1]["tree_digest"]
    assert volume.facts()["kept"] == ""
    volume.roll_back()
    assert not live.exists()


def test_of_a_link_what_it_leads_to_is_exchanged(tmp_path, live, kept):
    link = tmp_path / "link"
    link.symlink_to(live)
    assert volume_stage.check_place("memory", str(link))["link"] is True
    volume = staged(link, kept)
    volume.swap()
    assert link.is_symlink()
    assert digest(live) == kept[1]["tree_digest"]


def test_what_was_only_staged_goes_with_a_rollback_and_with_the_next_run(live, kept):
    old = digest(live)
    staged(live, kept).roll_back()
    assert beside(live) == ["memory"]
    staged(live, kept)
    later = staged(live, kept, OTHER)
    assert (digest(later.names.new), digest(live)) == (kept[1]["tree_digest"], old)
    later.roll_back()
    assert beside(live) == ["memory"]


def test_copies_whose_time_is_over_are_removed_and_younger_ones_are_not(live, kept):
    staged(live, kept).swap(keep_until=1000)
    staged(live, kept, OTHER).swap(keep_until=time.time() + 1000)
    assert volume_stage.remove_expired("memory", str(live), time.time()) == [RUN]
    assert digest(live.parent / ("memory.previous-" + OTHER)) == kept[1]["tree_digest"]
    assert [name for name in beside(live) if RUN in name] == []


def test_an_archive_that_is_not_what_the_manifest_says_leaves_nothing(live, kept):
    old = digest(live)
    with pytest.raises(RecoveryError, match="another digest") as caught:
        staged(live, (kept[0], dict(kept[1], tree_digest="sha256:0")))
    assert caught.value.failure_class == "backup_corrupt"
    assert (beside(live), digest(live)) == (["memory"], old)


def test_a_disk_that_reads_back_something_else_is_not_believed(live, kept, monkeypatch):
    monkeypatch.setattr(folders, "flush", lambda folder: os.truncate(os.path.join(folder, "a"), 1))
    with pytest.raises(RecoveryError, match="reads back as something else") as caught:
        staged(live, kept)
    assert caught.value.failure_class == "verify_failed"
    assert beside(live) == ["memory"]


@pytest.mark.fault(18, "fetch")
@pytest.mark.parametrize(
    # Each file takes a block of the disk, however few bytes it holds: whoever adds up the bytes alone finds room.
    "needs", [{"bytes": 1 << 60}, {"files": 1 << 48}], ids=["for the bytes", "for many small files"]
)
def test_a_disk_without_room_is_told_before_anything_is_written(live, kept, needs):
    with pytest.raises(RecoveryError, match="has .* free") as caught:
        staged(live, (kept[0], dict(kept[1], **needs)))
    assert caught.value.failure_class == "preflight"
    assert beside(live) == ["memory"]


def test_an_old_set_without_a_digest_is_proven_by_counts_and_says_so(live, kept):
    volume = staged(live, (kept[0], {key: kept[1][key] for key in ("files", "bytes")}))
    assert volume.facts()["proof"] == "counts"


def test_a_folder_of_before_that_is_gone_is_told_before_anything_goes_back(live, kept):
    volume = staged(live, kept)
    volume.swap()
    volume.check_way_back()
    os.rename(volume.names.old, str(live) + ".moved")
    with pytest.raises(RecoveryError, match="is not there any more") as caught:
        Volume("memory", str(live), RUN).check_way_back()
    assert caught.value.failure_class == "preflight"


def test_a_staged_folder_that_somebody_removed_is_staged_again(live, kept):
    os.rename(staged(live, kept).names.new, str(live) + ".moved")
    assert digest(staged(live, kept).names.new) == kept[1]["tree_digest"]


def test_a_folder_that_somebody_else_put_there_meanwhile_is_not_thrown_away(live, kept):
    volume = staged(live, kept)
    volume.swap()
    live.rename(live.parent / "aside")
    write(live, theirs="theirs")
    with pytest.raises(RecoveryError, match="neither the restored folder") as caught:
        Volume("memory", str(live), RUN).roll_back()
    assert caught.value.failure_class == "manual_help_needed"
    assert (live / "theirs").read_text() == "theirs"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_as_root_owners_and_modes_come_back_by_name_or_else_by_number(tmp_path, live):
    source = tmp_path / "owned"
    write(source, mine="x", sub__b="y")
    os.chown(source / "mine", 1, 1)
    os.chown(source / "sub", 54321, 54322)
    os.chmod(source / "mine", 0o404)
    os.chown(source, 2, 2)
    archive = str(tmp_path / "o.tar.gz")
    volume = staged(live, (archive, archives.archive_volume(str(source), archive)))
    volume.swap()
    found = {name: (os.stat(live / name).st_uid, os.stat(live / name).st_gid) for name in (".", "mine", "sub", "sub/b")}
    assert found == {".": (2, 2), "mine": (1, 1), "sub": (54321, 54322), "sub/b": (0, 0)}
    assert os.stat(live / "mine").st_mode & 0o777 == 0o404


# -- kills -----------------------------------------------------------------------------------------------------------


def counted(limit):
    """Make every change of names and every note die after ``limit`` of them; returns nothing."""
    done = [0]

    def dying(function):
        def call(*arguments, **options):
            if done[0] == limit:
                os.kill(os.getpid(), signal.SIGKILL)
            done[0] += 1
            return function(*arguments, **options)

        return call

    for module, name in ((os, "rename"), (os, "replace"), (os, "chmod"), (os, "unlink"), (folders, "exchange")):
        setattr(module, name, dying(getattr(module, name)))


def killed_after(limit, work):
    """Run ``work`` in a process of its own that dies after so many steps; returns whether it died."""

    def child():
        counted(limit)
        work()

    process = FORK.Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def killed_everywhere(live, kept):
    """Kill a swap, a way back and a removal after every single step; each time the next call must end it.

    :returns: the digests that the live folder had right after a kill.
    """
    old, new, seen = digest(live), kept[1]["tree_digest"], set()
    for work, wanted in (("swap", new), ("roll_back", old), ("remove", old)):
        died, limit = True, 0
        while died:
            volume = staged(live, kept)
            if work != "swap":
                volume.swap()
            if work == "remove":
                volume.roll_back()
            died = killed_after(limit, getattr(Volume("memory", str(live), RUN), work))
            seen.add(digest(live))
            Volume("memory", str(live), RUN).finish()
            assert digest(live) in (old, new)
            getattr(Volume("memory", str(live), RUN), work)()
            assert digest(live) == wanted, (work, limit)
            Volume("memory", str(live), RUN).roll_back()
            Volume("memory", str(live), RUN).remove()
            limit += 1
        assert limit > 3, work
    assert digest(live) == old
    return seen - {old, new}


@pytest.mark.fault(20, "folder")
@pytest.mark.parametrize("known", [True, False], ids=["exchange", "two renames"])
def test_a_kill_between_any_two_steps_leaves_one_whole_folder_and_the_next_call_ends_it(live, kept, monkeypatch, known):
    if not known:
        monkeypatch.setattr(folders, "exchange", lambda first, second: False)
    between = killed_everywhere(live, kept)
    assert between == (set() if known else {None}), "without the exchange there is a moment without a folder"
    assert beside(live) == ["memory"]


@pytest.mark.parametrize("limit", range(0, 14, 2))
def test_a_staging_killed_at_any_step_is_made_anew(live, kept, limit):
    old = digest(live)
    killed_after(limit, lambda: staged(live, kept))
    volume = staged(live, kept, OTHER)
    assert (digest(live), digest(volume.names.new)) == (old, kept[1]["tree_digest"])
    assert [name for name in beside(live) if RUN in name] == []


def test_a_staged_folder_of_which_a_kill_left_a_part_is_not_taken_for_whole(live, kept):
    died, limit = True, 0
    while died:
        staged(live, kept)
        died = killed_after(limit, Volume("memory", str(live), RUN).remove)
        assert digest(staged(live, kept).names.new) == kept[1]["tree_digest"], limit
        Volume("memory", str(live), RUN).remove()
        limit += 1
    assert limit > 5


INSIDE = """
import os, subprocess, sys
from pathlib import Path
from tests.unit.restore.test_volumes import *
top = Path(sys.argv[1])
disk, mount = top / "disk", top / "mount"
mount.mkdir()
subprocess.run(["mount", "--bind", str(disk), str(mount)], check=True)
kept = (str(top / "v.tar.gz"), archives.archive_volume(str(top / "source"), str(top / "v.tar.gz")))
old, new = digest(mount), kept[1]["tree_digest"]
assert not os.path.ismount(mount) and volume_stage.check_place("memory", str(mount))["inside"]
volume = staged(mount, kept)
assert volume.names.work.startswith(str(mount)) and digest(mount) == old
volume.roll_back()
killed_everywhere(mount, kept)
assert sorted(os.listdir(mount)) == ["a", "both", "only"]
volume = staged(mount, kept)
volume.swap()
(mount / "since").write_text("since the restore")
volume.roll_back()
assert digest(mount) == old and (Path(volume.names.undone) / "since").exists()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(top / "small")], check=True)
write(top / "small" / "memory", a="live")
write(top / "source", large="x" * 200000)
volume_stage.check_room = volume_stage.unpack.store.check_free = lambda *arguments: None
kept = (str(top / "l.tar.gz"), archives.archive_volume(str(top / "source"), str(top / "l.tar.gz")))
try:
    staged(top / "small" / "memory", kept)
except RecoveryError as exc:
    assert exc.failure_class == "preflight" and "No space left" in exc.message, exc.message
else:
    raise AssertionError("a full disk was not seen")
assert beside(top / "small" / "memory") == ["memory"]
inner = mount / "only"
subprocess.run(["mount", "--bind", str(top / "source"), str(inner)], check=True)
try:
    volume_stage.check_place("memory", str(mount))
except RecoveryError as exc:
    assert "is mounted inside" in exc.message
else:
    raise AssertionError("a mount inside was not seen")
print("ended well")
"""


@pytest.mark.fault(20, "folder")
def test_of_a_bind_mount_the_entries_change_places_and_any_kill_is_ended_by_the_next_call(tmp_path):
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        pytest.skip("mounting needs root and a mount namespace of its own")
    write(tmp_path / "disk", a="live", only__live="live", both="live")
    (tmp_path / "small").mkdir()
    write(tmp_path / "source", a="saved", sub__b="saved too", both="saved")
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "playbooks" / "collections")]))
    argv = ["unshare", "-m", "--propagation", "private", sys.executable, "-c", INSIDE, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=120)
    assert done.stdout.endswith("ended well\n"), done.stdout + done.stderr[-3000:]


def test_what_a_restore_keeps_on_a_mount_is_not_backed_up(tmp_path):
    write(tmp_path / "mount", a="live")
    before = digest(tmp_path / "mount")
    write(tmp_path / "mount", **{".letta-%s__old__a" % RUN: "of before"})
    assert archives.archive_volume(str(tmp_path / "mount"), str(tmp_path / "m.tar.gz"))["tree_digest"] == before


def test_folders_in_one_another_are_refused(tmp_path):
    items = [{"name": "all", "path": str(tmp_path)}, {"name": "part", "path": str(tmp_path / "part")}]
    with pytest.raises(RecoveryError, match="lies in that of volume all") as caught:
        archives.check_apart(items)
    assert caught.value.failure_class == "usage"
