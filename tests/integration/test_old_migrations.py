"""The migrations that make old databases for tests are the ones that the old releases shipped."""
from __future__ import annotations

import ast
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import releases
from tests.lab.letta_install import OLD_SDISTS, letta_home, old_migrations

pytestmark = pytest.mark.slow

# Written with names of an enumeration once, with its values since; the statements are the same.
REWORDED = {
    "f895232c144a_backfill_composio_tools.py": {
        "ToolType.EXTERNAL_COMPOSIO.value": "'external_composio'",
        "ToolType.CUSTOM.value": "'custom'",
    },
}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """{release: {file: source}} of every old release that has an sdist with migrations."""
    folders = {release: tmp_path_factory.mktemp("sdist") for release in OLD_SDISTS}
    with ThreadPoolExecutor() as pool:
        return dict(zip(folders, pool.map(old_migrations, folders, folders.values())))


def statements(source):
    """Return a migration's statements as Python reads them: without imports, comments and layout."""
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom))]
    return ast.dump(tree)


@pytest.mark.parametrize("release", OLD_SDISTS)
def test_what_an_old_release_ran_is_what_the_current_one_runs_to_get_there(shipped, release):
    here = letta_home() / "alembic" / "versions"
    assert len(shipped[release]) == releases.position(releases.head_of(release)), "one file for each migration of the chain"
    for name, source in shipped[release].items():
        for was, now in REWORDED.get(name, {}).items():
            source = source.replace(was, now)  # noqa: PLW2901
        assert statements(source) == statements((here / name).read_text(encoding="utf-8")), name
