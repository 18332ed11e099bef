#!/usr/bin/python
# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: letta_volume
short_description: Bring a folder of a Letta host back from a backup set, beside the live one, and exchange the two
version_added: 0.1.0
description:
  - V(staged) unpacks the volume's archive into a new, private folder beside the live one and proves it. Only regular files and folders
    are unpacked, each by a path that was checked; the first offence refuses the whole archive.
  - V(swapped) exchanges the two in one step and keeps the folder of before as C(<path>.previous-<run id>). Where the folder is a mount
    point, the entries in it change places through a hidden folder on the same mount.
  - V(rolled_back) is the way back, and removes what was only staged.
  - What was begun is written down beside the folder before each step. After a kill the next call ends it.
  - As root, owners (by name where the host knows it, else by number) and modes come back too.
  - V(archived) and V(opened) are for volumes of a host that the backup sets are not on. The first writes an archive of a folder here, to be
    brought to the host of the sets and given to M(letta_ops.recovery.backup_set); the second takes one out of a set there, to be brought
    here and staged with O(archive) and O(entry).
  - Links, devices and sockets are in no archive. Times of change come back, extended attributes and ACLs do not.
options:
  state:
    description:
      - With V(absent) everything that O(run_id) keeps is removed, or without O(run_id) what any run keeps for a time that is over.
        The live folder stays.
    type: str
    choices: [staged, swapped, rolled_back, absent, archived, opened]
    default: staged
  name:
    description: Name of the volume in the set.
    type: str
    required: true
  path:
    description:
      - The folder on this host. It may be absent, then it is made. Of a symbolic link, what it leads to is treated.
      - Its parent must belong to somebody you trust. Required unless O(state=opened).
    type: path
  run_id:
    description:
      - Id of the run that this belongs to, C(r-) and eight hexadecimal digits. Required with V(staged), V(swapped) and V(rolled_back).
    type: str
  src:
    description: Folder of the backup set on this host. Required with O(state=opened), and with O(state=staged) without O(archive).
    type: path
  archive:
    description: With O(state=staged) an archive that was taken out of a set and brought here.
    type: path
  entry:
    description: With O(archive), RV(entry) of what took it out.
    type: dict
  dest:
    description: A private folder that exists, for the archive. Required with O(state=archived) and O(state=opened).
    type: path
  keep:
    description: Seconds for which the folder of before is kept, with O(state=swapped). Without it, it is kept until removed.
    type: int
extends_documentation_fragment:
  - letta_ops.recovery.login.trust
attributes:
  check_mode:
    description: Looks whether the folder can be exchanged and tells what would be done. Changes nothing.
    support: full
  diff_mode:
    description: Has nothing to compare with.
    support: none
author: The letta_ops.recovery founders (@letta-ops)
"""

EXAMPLES = r"""
- name: Unpack and prove the memory of a backup set beside the live folder
  letta_ops.recovery.letta_volume:
    state: staged
    name: memory
    path: /root/.letta/memfs
    run_id: r-7f3c9a10
    src: /var/backups/letta/lb-20261120T020000Z-4f2a9c

- name: Exchange them, with Letta's servers stopped
  letta_ops.recovery.letta_volume:
    state: swapped
    name: memory
    path: /root/.letta/memfs
    run_id: r-7f3c9a10
    keep: 604800
"""

RETURN = r"""
volume:
  description:
    - What is true now - C(name), C(path) (links followed), C(status) (V(absent), V(staged), V(swapped) or V(rolled_back)), C(held)
      (whether the set has such a volume), C(staged) and C(kept) (paths, empty where there is none), C(keep_until), C(inside) (whether
      entries rather than folders change places), and of what was unpacked C(files), C(bytes), C(tree_digest), C(proof) and C(others)
      (how many files belong to another owner than in the backup).
  type: dict
  returned: success
archive:
  description: Path of the archive that was written or taken out, empty when the set has no such volume or the run needs it no more.
  type: str
  returned: when O(state=archived) or O(state=opened)
entry:
  description: What the archive holds - C(files), C(bytes), C(tree_digest), C(skipped_count), and C(sha256) of the archive itself.
  type: dict
  returned: when O(state=archived) or O(state=opened)
removed:
  description: Ids of the runs whose copies were removed.
  type: list
  elements: str
  returned: when O(state=absent)
"""

import os
import re
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import run, trust_argument_spec, trust_from_params
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import volume_stage, volumes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import RUN_ID


def facts(volume, held=True, why=""):
    """Return the result for a volume."""
    staged = volume.names.new if volume.status == volumes.STAGED else ""
    return dict(volume.facts(), held=held, staged=staged, why=why)


def stage(module, volume):
    """Unpack beside."""
    from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests

    params, trust = module.params, trust_from_params(module.params)
    if params["archive"]:
        if not params["entry"]:
            raise RecoveryError("usage", "archive needs entry, what is in it", next_step="give what state opened returned")
        done = False if module.check_mode else volume_stage.stage_brought(volume, params["archive"], params["entry"])
        return dict(changed=done, volume=facts(volume))
    if not params["src"]:
        raise RecoveryError("usage", "state staged needs src or archive", next_step="give the folder of the backup set")
    why = "the set holds no volume of this name"
    if module.check_mode:
        held = volume_stage.entry_of(manifests.load(params["src"], trust), volume.name) is not None
        if held:
            volume_stage.check_place(volume.name, params["path"])
        due = held and volume.status not in (volumes.STAGED, volumes.SWAPPED)
        return dict(changed=due, volume=facts(volume, held, "" if held else why))
    done = volume_stage.stage_from_set(volume, params["src"], trust)
    return dict(changed=bool(done), volume=facts(volume, done is not None, why if done is None else ""))


def swap(module, volume):
    """Exchange; a volume that the set did not hold has nothing staged and stays."""
    if volume.status == volumes.ABSENT:
        return dict(changed=False, volume=facts(volume, False, "nothing was staged for it"))
    if module.check_mode:
        return dict(changed=volume.status != volumes.SWAPPED, volume=facts(volume))
    keep = module.params["keep"]
    changed = volume.swap(time.time() + keep if keep is not None else None)
    return dict(changed=changed, volume=facts(volume))


def roll_back(module, volume):
    """The way back."""
    if module.check_mode:
        volume.check_way_back()
        return dict(changed=volume.status not in (volumes.ABSENT, volumes.ROLLED_BACK), volume=facts(volume))
    held = volume.status != volumes.ABSENT
    changed = volume.roll_back()
    return dict(changed=changed, volume=facts(volume, held))


def write_archive(module):
    """Archive a folder of this host."""
    from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import volumes as archives

    params = module.params
    archives.check_volumes([params])
    target = os.path.join(params["dest"], params["name"] + ".tar.gz")
    if module.check_mode:
        return dict(changed=True, archive=target, entry={})
    return dict(changed=True, archive=target, entry=volume_stage.write_archive(params["path"], target))


def take_out(module):
    """Take an archive out of a set."""
    params = module.params
    found = volume_stage.take_out(params["name"], params["src"], params["dest"], trust_from_params(params), module.check_mode)
    return dict(found, changed=bool(found["archive"]))


def remove(module):
    """Remove copies of one run, or those whose time is over."""
    params = module.params
    if not params["run_id"]:
        gone = volume_stage.remove_expired(params["name"], params["path"], time.time(), module.check_mode)
        return dict(changed=bool(gone), removed=gone)
    volume = volumes.Volume(params["name"], params["path"], params["run_id"])
    changed = volume.status != volumes.ABSENT
    if changed and not module.check_mode:
        volume.remove()
    return dict(changed=changed, removed=[params["run_id"]] if changed else [])


ALONE = {"absent": remove, "archived": write_archive, "opened": take_out}


def act(module):
    """Do what the state asks for."""
    params = module.params
    if params["run_id"] and not re.fullmatch(RUN_ID, params["run_id"]):
        raise RecoveryError("usage", "%r is no run id" % params["run_id"], next_step="r- and eight hexadecimal digits")
    if params["state"] in ALONE:
        return ALONE[params["state"]](module)
    volume = volumes.Volume(params["name"], params["path"], params["run_id"])
    return {"staged": stage, "swapped": swap, "rolled_back": roll_back}[params["state"]](module, volume)


def main():
    """Run the module."""
    spec = dict(
        state=dict(type="str", choices=["staged", "swapped", "rolled_back", "absent", "archived", "opened"], default="staged"),
        name=dict(type="str", required=True),
        path=dict(type="path"),
        run_id=dict(type="str"),
        src=dict(type="path"),
        archive=dict(type="path"),
        entry=dict(type="dict"),
        dest=dict(type="path"),
        keep=dict(type="int"),
        **trust_argument_spec(),
    )
    required = [("state", state, ["run_id", "path"]) for state in ("staged", "swapped", "rolled_back")]
    required += [("state", "absent", ["path"]), ("state", "archived", ["path", "dest"]), ("state", "opened", ["src", "dest"])]
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True, required_if=required), act, needs_database=False)


if __name__ == "__main__":
    main()
