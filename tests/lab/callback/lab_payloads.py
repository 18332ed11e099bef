"""Callback that shares the payloads Ansible makes of modules among the many playbook runs of a test session.

Ansible packs a module with all it imports anew in each playbook run, and Python compiles all of that source at each start of the
module: a quarter of the CPU of restoring a few rows. Kept are Ansible's own payloads with bytecode in place of sources (both would be
longer than Python reads well from a pipe), so whoever takes them needs the Python that runs the tests. The first run of each module
is always Ansible's own.
"""
from __future__ import annotations

import base64
import compileall
import dataclasses
import io
import os
import re
import tempfile
import zipfile
from pathlib import Path
from py_compile import PycInvalidationMode

from ansible import constants
from ansible.executor.module_common import _CachedModule
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: lab_payloads
type: notification
short_description: Shares the payloads of modules among playbook runs
description: Keeps payloads in the folder named in the environment variable LETTA_LAB_PAYLOADS, and takes them from there.
requirements: []
"""
SOURCE_OF = re.compile(rb"\binspect\.getsource\((\w+)\)")
# Not those of collections that tests make up, of the same name with another content.
KEPT = ("ansible_collections.letta_ops.recovery.", "ansible.modules.")


class CallbackModule(CallbackBase):
    """Lays out what earlier runs have kept when a run begins; keeps what this one made when it ends."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "lab_payloads"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._kept = Path(os.environ["LETTA_LAB_PAYLOADS"])
        self._own = Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache")
        self._own.mkdir(exist_ok=True)
        for payload in self._kept.glob("ansible*"):
            (self._own / payload.name).symlink_to(payload)

    def v2_playbook_on_stats(self, stats):
        for payload in self._own.iterdir():
            if payload.name.startswith(KEPT) and not payload.name.endswith((".lock", "-part")) and not payload.is_symlink():
                beside = self._kept / (".%d-%s" % (os.getpid(), payload.name))
                _with_bytecode(_CachedModule.load(str(payload))).dump(str(beside))
                beside.replace(self._kept / payload.name)


def _with_bytecode(made):
    """Return the payload with a ``.pyc``, valid whatever its time, in place of each ``.py`` whose source nobody asks for."""
    packed = io.BytesIO()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(io.BytesIO(base64.b64decode(made.zip_data))) as archive:
            archive.extractall(folder)
        compileall.compile_dir(folder, 20, quiet=2, legacy=True, stripdir=name, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
        _drop_one_of_each(folder)
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder))
    return dataclasses.replace(made, zip_data=base64.b64encode(packed.getvalue()))


def _drop_one_of_each(folder):
    """Remove the source beside each bytecode, or the bytecode of modules whose source is read at run time."""
    sources = list(folder.rglob("*.py"))
    read = {name for path in sources for name in SOURCE_OF.findall(path.read_bytes())}
    for path in sources:
        if path.stem.encode() in read:
            path.with_suffix(".pyc").unlink()
        elif path.with_suffix(".pyc").exists():
            path.unlink()
