"""The modules as Ansible runs them: through main(), in check mode, with errors told in full and secrets left out."""
from __future__ import annotations

import json
from datetime import timedelta

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible import module as shared
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.modules import backup_set, backup_set_info
from tests.lab.modules import run_main


@pytest.fixture
def call(monkeypatch, capsys):
    def run(module, check=False, **params):
        run_main(monkeypatch, module, params, check=check)
        return json.loads(capsys.readouterr().out)

    return run


def test_the_info_module_lists_and_chooses_and_changes_nothing(call, sets):
    old, new = sets.add(timedelta(hours=2)), sets.add(timedelta(hours=1))
    result = call(backup_set_info, backup_root=sets.root, backup_id="latest", details=True)
    assert [one["id"] for one in result["sets"]] == [new, old]
    assert (result["changed"], result["chosen"]["id"], result["rejected"], result["manifest"]["id"]) == (False, new, [], new)


def test_verify_keeps_its_note_but_not_in_check_mode(call, sets):
    set_id = sets.add()
    assert call(backup_set_info, check=True, backup_root=sets.root, verify="checksums")["sets"][0]["verified_at"] is None
    result = call(backup_set_info, backup_root=sets.root, verify="checksums")
    assert [(one["id"], one["status"]) for one in result["verified"]] == [(set_id, "pass")]
    assert result["sets"][0]["verified_status"] == "pass"


def test_a_set_that_failed_can_be_verified_again_by_its_id(call, sets):
    set_id = sets.add()
    for expected in ("fail", "pass"):
        sets.flip(set_id, "database/1.dat", 3)
        result = call(backup_set_info, backup_root=sets.root, backup_id=set_id, verify="checksums")
        assert result["verified"][0]["status"] == expected


def test_pruning_in_check_mode_names_what_would_go_and_keeps_it(call, sets):
    old, new = sets.add(timedelta(hours=2)), sets.add(timedelta(hours=1))
    planned = call(backup_set, check=True, state="pruned", backup_root=sets.root, keep={"last": 1})
    assert (planned["changed"], planned["removed"]) == (True, [old])
    assert len(call(backup_set_info, backup_root=sets.root)["sets"]) == 2
    done = call(backup_set, state="pruned", backup_root=sets.root, keep={"last": 1})
    assert (done["changed"], done["removed"], list(done["kept"])) == (True, [old], [new])
    assert call(backup_set, state="pruned", backup_root=sets.root, keep={"last": 1})["changed"] is False


def test_removing_a_set_twice_changes_once(call, sets):
    set_id = sets.add()
    assert call(backup_set, check=True, state="absent", backup_root=sets.root, backup_id=set_id)["changed"] is True
    assert call(backup_set, state="absent", backup_root=sets.root, backup_id=set_id)["removed"] == [set_id]
    assert call(backup_set, state="absent", backup_root=sets.root, backup_id=set_id)["changed"] is False


def test_a_known_failure_comes_with_class_now_and_next(call, sets):
    result = call(backup_set_info, backup_root=sets.root, backup_id="lb-20200101T000000Z-000000")
    assert result["failed"] is True
    assert result["failure_class"] == "no_usable_backup"
    assert result["now"] in result["msg"]
    assert result["next_step"] in result["msg"]


@pytest.mark.parametrize("secret", ["login_password", "login_uri", "encryption_key", "redis_password"])
def test_a_secret_never_comes_back(call, sets, secret, tmp_path):
    value = "postgresql://letta:hunter2hunter2@127.0.0.1:1/letta" if secret == "login_uri" else "hunter2hunter2"
    params = {"login_host": "127.0.0.1", "login_port": 1, secret: value}
    result = call(backup_set, state="present", backup_root=str(tmp_path / "s"), **params)
    assert result["failure_class"] == "preflight"
    assert "hunter2hunter2" not in json.dumps(result)


def test_secrets_are_wiped_from_every_part_of_an_error():
    error = RecoveryError("preflight", "no s3cret here", "now s3cret", "next s3cret", {"a": ["s3cret"], "b": {"s3cret": 1}})
    told = shared.failure(error, {"login_uri": "postgresql+asyncpg://u:s3cret@h/db"})
    assert "s3cret" not in json.dumps(told)


def test_an_unforeseen_error_is_told_as_one_with_its_traceback(call, monkeypatch, sets):
    def broken(*_arguments, **_options):
        raise KeyError("surprise")

    monkeypatch.setattr(backup_set_info.catalogue, "list_sets", broken)
    result = call(backup_set_info, backup_root=sets.root)
    assert result["failure_class"] == "manual_help_needed"
    assert "surprise" in result["msg"], result
    assert any(" broken" in place for place in result["details"]["where"])


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("postgresql+asyncpg://u:p@h:5433/d", ("h", 5433, "u", "p", "d")),
        ("postgres://u@h/d", ("h", 5432, "u", "", "d")),
    ],
)
def test_a_uri_gives_host_port_role_password_and_database(uri, expected):
    server = shared.server_from_params({"login_uri": uri})
    assert (server.host, server.port, server.user, server.password, server.dbname) == expected


def test_a_uri_that_cannot_be_read_is_not_repeated(call, tmp_path):
    result = call(backup_set, state="present", backup_root=str(tmp_path), login_uri="postgresql://u:hunter2hunter2@h:notaport/d")
    assert result["failure_class"] in ("usage", "preflight")
    assert "hunter2hunter2" not in json.dumps(result)
