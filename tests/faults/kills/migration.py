"""A full restore of a set of an older release, brought forward by Letta's own migrations."""
from __future__ import annotations

import shutil
import tempfile

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import releases
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import migrate as migrating
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.alembic import Alembic
from tests.faults import engine_kit
from tests.integration.restore_kit import add_writes, content
from tests.lab.letta import letta_home, migrate

from .driving import Hook, Run
from .full import CUTOVER, STAGE, Restore, differing
from .operation import moments
from .stand import PASSWORD

OLD, NEW, OLDER, OLDER_WRITTEN = "0.16.4", "0.16.8", "older", "older_written"
KEY = "a key that encrypts nothing here"
ROWS = """
INSERT INTO letta.organizations (id, name, privileged_tools) VALUES ('org-00000000-0000-4000-8000-000000000000', 'default', false);
INSERT INTO letta.agents (id, name, organization_id, message_buffer_autoclear, llm_config, message_ids)
  SELECT 'agent-' || gen_random_uuid(), 'agent ' || n, 'org-00000000-0000-4000-8000-000000000000', false, '{}', '[]'
  FROM generate_series(1, 5) n;
INSERT INTO letta.messages (id, role, agent_id, organization_id, tool_calls, sequence_id)
  SELECT 'message-' || gen_random_uuid(), 'user', id, organization_id, '[]', nextval('letta.message_seq_id') FROM letta.agents
"""


def bring_forward(world, _service, options, begun):
    """Phase migrate."""
    schema = begun["plan"]["schema"]
    if not schema["migrations"] or "migrate" not in begun["phases"]:
        return
    side = world.admin.database(begun["names"]["side"])
    home = letta_home()
    alembic = Alembic([str(home / "venv" / "bin" / "python"), "-m", "alembic"], str(home), side.as_role("letta", PASSWORD), KEY)
    target = schema["to_revision"]

    def upgrade(progress, total):
        alembic.upgrade(target, 300, progress, total)

    wanted = migrating.MigrateOptions(begun["names"]["side"], migrating.schema_of(side), target, upgrade, KEY)
    migrating.migrate(world.admin, wanted, Journal.load(begun["run_dir"]))


class Migration(Restore):
    """A restore whose side database is brought forward: killed in the migrations and around them."""

    name = "migration"
    journal = moments((*STAGE, "migrate.run", *CUTOVER))
    options = {"letta_version": NEW, "encryption_key": KEY, "check_heads": lambda _revision: None}
    engine_parts = tuple(
        part for known in engine_kit.RESTORING for part in ((bring_forward, known) if known is engine_kit.reconcile else (known,))
    )

    @classmethod
    def steps(cls):
        return moments(("migrate.run",))  # the others are those of every restore

    def prepare(self):
        stand = self.stand
        server = stand.pg.create_letta_database(OLDER, password=PASSWORD, schema="letta")
        home = tempfile.mkdtemp(dir=stand.folder)
        migrate(server, home, KEY, releases.head_of(OLD))
        shutil.rmtree(home)
        stand.pg.execute(ROWS, OLDER)
        self.set_dir = stand.take_set(OLDER)
        stand.copy(OLDER, OLDER_WRITTEN)
        add_writes(stand.pg.server(dbname=OLDER_WRITTEN))
        scene = self.reset()
        run = Run(self, scene, Hook())
        if not run.wait(300) or run.code:
            raise RuntimeError("the restore with migrations failed: %s" % run.words())
        self.saved = content(scene.world.fingerprint())
        stand.clear(scene)

    def reset(self):
        return self.stand.scene(OLDER_WRITTEN, [self.set_dir])

    def is_new(self, scene, now):
        return [] if content(now) == self.saved else ["live is not the set brought forward: %s" % differing(content(now), self.saved)]
