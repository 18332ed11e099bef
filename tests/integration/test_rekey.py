"""Secrets are encrypted and brought under another key on the side database (module letta_rekey); no plain value reaches PostgreSQL."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import ciphers
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import sealing
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import NoJournal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.rekey import rekey
from tests.integration.test_encryption_key import AGENTS, PROVIDERS, SECRET, put, sealed
from tests.lab.letta_cipher import encrypt

OLD, NEW, OTHER = "the key of then, 'quoted'", "the key to come {{ x }}", "a third key"
ENV = "SELECT id, value_enc FROM letta.agent_environment_variables ORDER BY length(id), id"


def opened(world, key, database=None):
    """Return what the agents' variables hold under a key; None for each that does not open."""
    return [ciphers.unseal(value, key) for _id, value in world.sql(ENV, database=database)]


def test_every_secret_is_brought_under_the_new_key_and_nothing_else_changes(make_world):
    world = make_world()
    put(world, sealed(3, OLD))
    put(world, [encrypt("", OLD), encrypt("", OTHER), "sk-plain-text", None, ""], "providers")
    before = world.fingerprint()["tables"]
    result = rekey(world.admin, world.database, (OLD, NEW), NoJournal())
    assert result["secrets"] == {AGENTS: 3, PROVIDERS: 3}
    assert opened(world, NEW) == [SECRET % number for number in range(3)]
    assert opened(world, OLD) == [None] * 3
    providers = [value for (value,) in world.sql("SELECT api_key_enc FROM letta.providers ORDER BY id")]
    assert [value and ciphers.unseal(value, NEW) for value in providers] == ["", "", "sk-plain-text", None, ""]
    after = world.fingerprint()["tables"]
    assert {name for name in before if before[name] != after[name]} == {"letta.agent_environment_variables", "letta.providers"}
    assert {row["name"]: row["digest"] for row in result["tables"] if row["digest"] != "equal"} == {
        "letta.agent_environment_variables": "explained", "letta.providers": "explained",
    }  # fmt: skip


def test_one_value_that_does_not_open_leaves_all_as_they_were(make_world):
    world = make_world()
    put(world, [*sealed(2, OLD), *sealed(2, OTHER, 2)])
    before = world.fingerprint()
    with pytest.raises(RecoveryError, match="2 encrypted values of .* do not open") as caught:
        rekey(world.admin, world.database, (OLD, NEW), NoJournal())
    assert caught.value.failure_class == "key_mismatch"
    assert SECRET[:12] not in str(caught.value.as_dict())
    assert world.fingerprint() == before


def test_a_change_of_anything_else_meanwhile_is_found(make_world, monkeypatch):
    world = make_world()
    put(world, sealed(1, OLD))
    honest = sealing.change_key

    def meddle(*arguments):
        written = honest(*arguments)
        world.sql("UPDATE letta.agent_environment_variables SET description = 'changed'")
        return written

    monkeypatch.setattr(sealing, "change_key", meddle)
    with pytest.raises(RecoveryError, match="more than secrets changed in letta.agent_environment_variables") as caught:
        rekey(world.admin, world.database, (OLD, NEW), NoJournal())
    assert caught.value.failure_class == "verify_failed"


def test_no_plain_value_is_in_what_postgresql_logs(make_world, pg):
    world = make_world()
    put(world, [None], "providers")
    put(world, sealed(2, OLD))
    world.sql("UPDATE letta.providers SET api_key = 'sk-in-the-legacy-column'")
    pg.execute('ALTER DATABASE "%s" SET log_statement = \'all\'' % world.database)
    mark = pg.log_path.stat().st_size
    rekey(world.admin, world.database, (OLD, NEW), NoJournal())
    assert sealing.seal_plain(world.live, "letta", NEW) == {PROVIDERS: 1}
    log = pg.log_path.read_text(encoding="utf-8", errors="replace")[mark:]
    assert "UPDATE" in log, "the log must hold what was written"
    assert SECRET[:12] not in log
    assert "sk-in-the-legacy-column" not in log
    assert world.sql("SELECT api_key FROM letta.providers") == [("sk-in-the-legacy-column",)]
    ((value,),) = world.sql("SELECT api_key_enc FROM letta.providers")
    assert ciphers.unseal(value, NEW) == "sk-in-the-legacy-column"


def test_more_secrets_than_one_batch_are_encrypted_and_json_null_is_none(make_world, monkeypatch):
    monkeypatch.setattr(sealing, "BATCH", 8)
    world = make_world()
    put(world, [None] * 20)
    world.sql("UPDATE letta.agent_environment_variables SET value = 'plain ' || id")
    world.sql(
        "INSERT INTO letta.mcp_server (id, server_name, server_type, custom_headers, organization_id)"
        " SELECT 'mcp_server-' || n, 'server ' || n, 'sse', (ARRAY['null', '{\"X-Key\": \"1\"}'])[n]::json, o.id"
        " FROM generate_series(1, 2) n, letta.organizations o"
    )
    headers = "mcp_server.custom_headers_enc"
    assert sealing.count_plain(world.live, "letta") == {AGENTS: 20, headers: 1}
    assert sealing.seal_plain(world.live, "letta", NEW) == {AGENTS: 20, headers: 1}
    assert opened(world, NEW) == ["plain agent-env-%d" % number for number in range(20)]
    assert sealing.count_plain(world.live, "letta") == {}


@pytest.mark.slow
def test_a_restore_under_another_key_survives_a_kill_and_a_second_one_changes_nothing(make_world):
    world = make_world()
    put(world, sealed(3, OLD))
    world.backup()
    live = world.fingerprint()
    world.variables = {"letta_encryption_new_key": NEW}
    said = world.play("restore-full.yml").refused("key_mismatch").report["message"]
    assert "not the key that 3 secrets" in said
    world.variables["letta_encryption_key"] = OLD
    killed = world.play("restore-full.yml", env={"LETTA_OPS_CRASH_AT": "migrate.rekey:begun"})
    assert "Bring the secrets under another key" in killed.output
    assert killed.rc != 0
    assert world.fingerprint() == live
    played = world.play("restore-full.yml", "-e", "letta_restore_force=true").ok()
    assert opened(world, NEW) == [SECRET % number for number in range(3)]
    (row,) = [row for row in played.report["tables"] if row["digest"] != "equal"]
    assert row["explanation"] == "brought under letta_encryption_new_key: 3 of value_enc"
    (phase,) = [phase for phase in played.report["phases"] if phase["name"] == "migrate"]
    assert phase["detail"] == "3 secrets are under letta_encryption_new_key now"
    again = world.play("restore-full.yml").ok()
    assert again.recap()["changed"] == 0
    for text in (played.output, str(played.report)):
        assert not [word for word in (OLD, NEW, SECRET[:12]) if word in text]
