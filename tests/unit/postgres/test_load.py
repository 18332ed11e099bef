"""A load's sessions are tuned for the load, and never the server."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import load


@pytest.mark.parametrize(("jobs", "cores", "helpers"), [(2, 2, 0), (4, 2, 0), (1, 2, 1), (4, 16, 2), (1, 1, 0)])
def test_index_builds_get_helpers_only_where_cores_are_left(jobs, cores, helpers):
    assert load.session_options(jobs, cores).endswith("-c max_parallel_maintenance_workers=%d" % helpers)


def test_the_cores_are_counted_when_nobody_says():
    assert load.session_options(10_000).endswith("=0")
