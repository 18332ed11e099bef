"""The sample set as a server older than the one that made it can restore it: its content, archived by that server's own tools."""
from __future__ import annotations

import shutil

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from tests.faults.kit import reseal
from tests.lab import servers
from tests.lab.sample import sample


@pytest.fixture(scope="session")
def sample_set(request, pg, tmp_path_factory):
    """Folder of the shipped sample set; where the tests' server is older, of one with the same id, times, content and Redis."""
    shipped = sample()[0]
    if int(servers.chosen(servers.POSTGRES)) >= int(servers.DEFAULTS[servers.POSTGRES]):
        return shipped
    source = pg.server(dbname=request.getfixturevalue("sample_live"))
    folder = tmp_path_factory.mktemp("sample-of-this-server")
    folder.chmod(0o700)
    # As shipped: an archive that pg_restore alone reads.
    taken = take.take_backup(take.BackupOptions(source, str(folder / "taken"), jobs=1, bin_dir=str(pg.bin_dir), vectors="text"))
    made, facts = (folder / "taken" / taken["id"]).rename(folder / shipped.name), manifests.load(str(shipped))
    shutil.copytree(shipped / "redis", made / "redis")
    for path in (made / "redis", *(made / "redis").iterdir()):
        path.chmod(0o700 if path.is_dir() else 0o600)
    kept = {name: facts[name] for name in ("id", "taken_at", "finished_at", "letta", "encryption_key", "redis")}
    reseal(made, database={"name": facts["database"]["name"]}, **kept)
    return made
