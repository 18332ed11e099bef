"""The encryption key is tried on the values in the archive before anything is loaded: counts per column, never a value."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.archive import open_archive
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import keycheck, runs, stage
from tests.lab.letta_cipher import encrypt
from tests.lab.sample import SETS
from tests.lab.seed import SAMPLE_KEY

RIGHT, WRONG, SECRET = "the key of then, 'quoted'", "the key of now {{ x }}", "tell-nobody-%d"
AGENTS, PROVIDERS = "agent_environment_variables.value_enc", "providers.api_key_enc"


def put(world, values, table="agent_environment_variables"):
    """Store values in the encrypted column of agents' variables, or as API keys of providers."""
    for number, value in enumerate(values):
        if table == "providers":
            columns, more = "id, name, organization_id, api_key_enc", ("provider-%d" % number, "provider %d" % number)
            statement = "INSERT INTO letta.providers (%s) SELECT %%s, %%s, id, %%s FROM letta.organizations"
        else:
            columns, more = "id, key, value, organization_id, agent_id, value_enc", ("agent-env-%d" % number, "KEY_%d" % number)
            statement = (
                "INSERT INTO letta.agent_environment_variables (%s) SELECT %%s, %%s, '', organization_id, id, %%s"
                " FROM letta.agents ORDER BY id LIMIT 1"
            )
        world.sql(statement % columns, (*more, value))


def sealed(count, key, start=0):
    salt = os.urandom(16)
    return [encrypt(SECRET % number, key, salt) for number in range(start, start + count)]


def keyed(make_world, values, providers=(), **options):
    """Return a world whose one set holds these values, with live databases that hold them too."""
    world = make_world()
    put(world, values)
    put(world, providers, "providers")
    world.backup(**options)
    return world


def silent(text, values=()):
    """No key, no secret, no stored value is in a text."""
    forbidden = [RIGHT, WRONG, SECRET % 0, SECRET % 1, *[value for value in values if value and len(value) > 3]]
    return not any(word in text or json.dumps(word)[1:-1] in text for word in forbidden)


def refused(world, key, values):
    """Run the restore with a key, expect ``key_mismatch`` and everything as it was; returns the message."""
    before = (world.fingerprint(), world.databases())
    world.variables = {"letta_encryption_key": key}
    played = world.play("restore-full.yml").refused("key_mismatch")
    assert (world.fingerprint(), world.databases()) == before
    assert world.leftovers() == []
    assert world.journals() == [], "nothing was staged, so there is no run to speak of"
    assert played.report["now"] == "live database untouched, nothing stopped"
    assert "LETTA_ENCRYPTION_KEY" in played.report["next_step"]
    assert silent(played.output, values)
    for path in (world.reports / "latest").iterdir():
        assert silent(path.read_text(encoding="utf-8"), values)
    return played.report["message"]


def planned(world, key=""):
    """Return the plan in check mode by the engine; nothing is written."""
    return runs.begin(world.admin, world.run_options(encryption_key=key, check=True))["plan"]


@pytest.mark.fault(26, "wrong")
@pytest.mark.slow
def test_a_key_that_opens_nothing_is_refused_before_anything_is_loaded(make_world):
    values, providers = sealed(5, RIGHT), [*sealed(2, RIGHT), encrypt("", RIGHT), None, ""]
    message = refused(keyed(make_world, values, providers), WRONG, values + providers)
    assert "none of the 8 encrypted values" in message
    assert AGENTS + " 5 do not" in message
    assert PROVIDERS + " 2 do not, 1 empty do not" in message


@pytest.mark.fault(26, "half")
@pytest.mark.slow
def test_half_the_values_under_another_key_are_refused_although_the_fingerprint_matches(make_world):
    values = sealed(3, RIGHT) + sealed(3, WRONG, 3)
    world = keyed(make_world, values, sealed(2, RIGHT), encryption_key=RIGHT)
    message = refused(world, RIGHT, values)
    assert "3 of 8 encrypted values" in message
    assert "%s 3 open, 3 do not; %s 2 open)" % (AGENTS, PROVIDERS) in message


@pytest.mark.slow
def test_the_right_key_is_told_in_the_plan_and_the_restore_goes_on(make_world):
    values = sealed(5, RIGHT)
    world = keyed(make_world, values, [*sealed(2, RIGHT), encrypt("", RIGHT), ""])
    world.sql("DELETE FROM letta.agent_environment_variables")
    world.variables = {"letta_encryption_key": RIGHT}
    played = world.play("restore-full.yml").ok()
    assert "8 secrets open under the given key" in " ".join(played.output.split())
    facts = played.report["plan"]["secrets"]
    assert facts["verdict"] == "proven"
    assert facts["total"] == dict.fromkeys(facts["total"], 0) | {"under_key": 8, "empty": facts["total"]["empty"]}
    assert (facts["columns"][AGENTS]["under_key"], facts["columns"][PROVIDERS]["under_key"]) == (5, 3)
    assert facts["columns"][PROVIDERS]["empty"] == 1
    assert silent(played.output, values)
    assert silent(json.dumps([played.report, [item.data for item in world.journals()]]), values)
    assert world.sql("SELECT count(*) FROM letta.agent_environment_variables") == [(5,)]


@pytest.mark.fault(26, "missing")
def test_without_a_key_the_plan_warns_with_the_counts_and_tries_nothing(make_world):
    plan = planned(keyed(make_world, sealed(5, RIGHT), sealed(2, WRONG)))
    assert plan["secrets"]["verdict"] == "unproven"
    assert plan["secrets"]["total"]["unchecked"] == 7
    (warning,) = [text for text in plan["warnings"] if "letta_encryption_key" in text]
    assert warning.startswith("7 secrets are encrypted and no letta_encryption_key was given")
    assert "(%s 5; %s 2)" % (AGENTS, PROVIDERS) in warning


@pytest.mark.parametrize("key", [RIGHT, ""], ids=["key", "no key"])
def test_plain_text_in_encrypted_columns_is_a_warning_with_counts(make_world, key):
    values = [SECRET % 0, SECRET % 1, *sealed(1, RIGHT, 2)]
    plan = planned(keyed(make_world, values, [SECRET % 1]), key)
    assert plan["secrets"]["total"]["plain"] == 3
    (warning,) = [text for text in plan["warnings"] if "plain text" in text]
    assert warning.startswith("3 secrets are plain text in columns for encrypted ones (%s 2; %s 1)" % (AGENTS, PROVIDERS))
    assert plan["secrets"]["verdict"] == ("proven" if key else "unproven")
    assert silent(json.dumps(plan), values)


def test_an_archive_without_secrets_says_nothing_whatever_the_key(world):
    for key in ("", WRONG):
        plan = planned(world, key)
        assert plan["secrets"]["verdict"] == "nothing"
        assert not any("encrypt" in text or "plain text" in text for text in plan["warnings"])


def test_encrypted_empty_strings_under_another_key_refuse_only_a_key_that_opens_nothing(make_world):
    """Letta writes them at its first start, never again, and reads past them: no secret is lost with such a key."""
    world = keyed(make_world, sealed(2, RIGHT), [encrypt("", WRONG)])
    plan = planned(world, RIGHT)
    assert plan["secrets"]["verdict"] == "proven"
    assert any(text.startswith("1 encrypted empty value is under another key (%s 1)" % PROVIDERS) for text in plan["warnings"])
    alone = keyed(make_world, [], [encrypt("", RIGHT)])
    with pytest.raises(RecoveryError) as caught:
        planned(alone, WRONG)
    assert caught.value.failure_class == "key_mismatch"
    assert planned(alone, RIGHT)["secrets"]["verdict"] == "proven"


@pytest.mark.fault(26, "half")
@pytest.mark.slow
def test_of_many_values_a_bounded_sample_is_tried_and_the_rest_is_never_called_good(make_world, monkeypatch):
    monkeypatch.setattr(keycheck, "MOST_TRIED", 20)
    world = keyed(make_world, sealed(60, RIGHT))
    facts = planned(world, RIGHT)["secrets"]
    assert (facts["verdict"], facts["total"]["under_key"], facts["total"]["unchecked"]) == ("sampled", 20, 40)
    put_other = "UPDATE letta.agent_environment_variables SET value_enc = %s WHERE id = %s"
    for number in range(30, 60):  # those that come last in the archive
        world.sql(put_other, (encrypt("x", WRONG, b"0" * 16), "agent-env-%d" % number))
    shutil.rmtree(next(Path(world.root).glob("lb-*")))
    world.backup()
    with pytest.raises(RecoveryError) as caught:
        planned(world, RIGHT)
    assert caught.value.failure_class == "key_mismatch"
    assert "not tried" in caught.value.message


@pytest.mark.fault(26, "wrong")
@pytest.mark.slow
@pytest.mark.parametrize("form", ["-Fc", "-Fd", "-Ft"])
def test_adopted_dumps_of_every_form_are_tried_too(make_world, form, tmp_path):
    world = make_world()
    put(world, sealed(3, RIGHT))
    argv = [world.bin_dir + "/pg_dump", form, "-f", str(tmp_path / "dump"), world.database]
    subprocess.run(argv, env=dict(world.admin.environment(), PATH="/usr/bin:/bin"), check=True, timeout=120)
    world.play("adopt.yml", "-e", "letta_adopt_dump=%s" % (tmp_path / "dump")).ok()
    assert planned(world, RIGHT)["secrets"]["columns"][AGENTS]["under_key"] == 3
    with pytest.raises(RecoveryError) as caught:
        planned(world, WRONG)
    assert AGENTS + " 3 do not" in caught.value.message


def test_safety_sets_are_tried_too(make_world):
    world = keyed(make_world, sealed(3, RIGHT), kind="safety")
    wanted = next(Path(world.root).glob("lb-*")).name
    with pytest.raises(RecoveryError) as caught:
        runs.begin(world.admin, world.run_options(encryption_key=WRONG, check=True, backup_id=wanted))
    assert caught.value.failure_class == "key_mismatch"


def test_what_a_real_letta_encrypted_in_the_shipped_set_opens_under_its_key_only(pg):
    (set_dir,) = SETS.glob("lb-*")
    manifest = manifests.load(str(set_dir))
    tools = stage.tools_for(manifest, str(pg.bin_dir))
    archive = open_archive(stage.archive_path(str(set_dir), manifest), tools)
    facts, warnings = keycheck.check_key(archive, tools, manifest["database"]["schema"], manifest["id"], SAMPLE_KEY)
    assert (facts["verdict"], warnings) == ("proven", [])
    assert facts["columns"][AGENTS]["under_key"] == 3
    assert facts["columns"][PROVIDERS]["under_key"] == 2
    with pytest.raises(RecoveryError) as caught:
        keycheck.check_key(archive, tools, manifest["database"]["schema"], manifest["id"], SAMPLE_KEY + " ")
    assert caught.value.details["secrets"]["total"]["under_key"] == 0
