"""Shared fixtures; makes the checkout importable as ``ansible_collections.letta_ops.recovery``."""
from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
for entry in (ROOT, ROOT / "playbooks" / "collections"):
    if str(entry) not in sys.path:
        sys.path.insert(0, str(entry))

pytest_plugins = ["tests.lab.fixtures", "tests.integration.restore_kit", "tests.integration.validate_kit",
                  "tests.integration.partial_engine_kit",
                  "tests.integration.partial_kit", "tests.integration.sample_kit"]
_HOMES = []
# The files that take longest, longest first, as a run of the suite with --durations=0 tells: the last to begin should be short ones.
LONGEST = (
    "integration/test_migrate.py", "integration/test_old_databases.py", "integration/test_many_hosts.py",
    "integration/test_rehearse.py", "integration/test_rehearse_containers.py",
    "integration/test_restore_full.py", "faults/test_kill_loop.py", "integration/test_lab_letta.py", "faults/test_failure_classes.py",
    "integration/test_rollback.py", "integration/test_adopted_restore.py", "integration/test_real_letta.py",
    "integration/test_redis_full.py", "faults/test_hostile_input.py", "integration/test_redis_align.py",
    "integration/test_interrupted_real.py", "integration/test_partial_real.py", "faults/test_disk_full.py",
    "faults/test_concurrency.py", "faults/test_circumstances.py",
    "faults/test_flipped_bytes.py", "integration/test_rekey.py", "faults/test_secrets.py", "integration/test_in_place.py",
    "integration/test_redis_restore.py", "integration/test_volumes_restore.py", "integration/test_bench.py",
)


def pytest_configure(config):
    """Keep what Ansible writes for its modules out of the home of whoever runs the tests; an account may have none."""
    os.environ.pop("PYTHONUNBUFFERED", None)  # see the Makefile
    _find_servers()
    _HOMES.append(tempfile.mkdtemp(prefix="letta-ops-tests-"))
    for name, folder in (("ANSIBLE_REMOTE_TMP", "remote"), ("ANSIBLE_ASYNC_DIR", "async")):
        os.environ.setdefault(name, os.path.join(_HOMES[-1], folder))
    if "LETTA_LAB_PAYLOADS" not in os.environ:  # the workers of xdist have it from their parent
        payloads = Path(_HOMES[-1], "payloads")
        payloads.mkdir()
        os.environ.update(LETTA_LAB_PAYLOADS=str(payloads), ANSIBLE_CALLBACKS_ENABLED="lab_payloads",
                          ANSIBLE_CALLBACK_PLUGINS=str(ROOT / "tests" / "lab" / "callback"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """One worker more than cores: a playbook waits a third of its time, for its own modules and for servers that start."""
    return (os.cpu_count() or 1) + 1


def _find_servers():
    """Fetch servers that the environment chooses, or end with one sentence: else every test would end with it."""
    from tests.lab import servers

    try:
        servers.postgres()
        servers.redis()
    except RuntimeError as exc:
        raise pytest.UsageError("the servers that the tests should run on cannot be had: %s" % exc) from None


def pytest_report_header(config):
    """Name the servers that the tests run on."""
    from tests.lab import servers

    return servers.header()


def pytest_collection_modifyitems(items):
    """Bring the longest files to the front and the quick folders to the end, for the workers of xdist to end together."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    quick = (ROOT / "tests" / "unit", ROOT / "tests" / "meta")
    items.sort(key=lambda item: places.get(item.path, len(places) + any(folder in item.path.parents for folder in quick)))


def pytest_unconfigure(config):
    """Remove it again."""
    for folder in _HOMES:
        shutil.rmtree(folder, ignore_errors=True)
