"""What is refused before anything runs."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.api import Api
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.commands import Command, parse_command
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.services import ServiceOptions, ensure_service


@pytest.mark.parametrize(
    ("options", "state", "word"),
    [
        (ServiceOptions(manager="systemd", unit="--now"), "stopped", "not the name of a unit"),
        (ServiceOptions(manager="systemd", unit=""), "status", "not the name of a unit"),
        (ServiceOptions(manager="docker"), "started", "either the name of a container or a compose project"),
        (ServiceOptions(manager="docker", container="a", project="b"), "started", "either the name"),
        (ServiceOptions(manager="docker", container="a", services=("b",)), "started", "either the name"),
        (ServiceOptions(manager="runit"), "started", "unknown service manager"),
        (ServiceOptions(manager="command", start="a", stop="b"), "stopped", "letta_service_status"),
        (ServiceOptions(manager="command", start="a 'b", stop="b", status="c"), "stopped", "letta_service_start"),
        (ServiceOptions(), "restarted", "restarted"),
        (ServiceOptions(api_url="db1:8283"), "status", "no plain http"),
        (ServiceOptions(api_url="file:///etc/passwd"), "status", "no plain http"),
    ],
)
def test_options_that_do_not_fit_are_refused_as_usage(options, state, word):
    with pytest.raises(RecoveryError, match=word) as caught:
        ensure_service(options, state)
    assert caught.value.failure_class == "usage"


def test_a_url_with_a_password_is_refused_without_repeating_it():
    with pytest.raises(RecoveryError) as caught:
        Api("http://user:hunter2@letta1:8283")
    assert "hunter2" not in str(caught.value.as_dict())


def test_a_name_that_cannot_be_resolved_proves_nothing():
    with pytest.raises(RecoveryError, match="no such host"):
        Api("http://does-not-exist.invalid:8283").answers()


def test_a_command_is_a_list_or_one_string_split_without_a_shell():
    assert parse_command("systemctl stop 'my letta'", "x") == ("systemctl", "stop", "my letta")
    assert parse_command(["systemctl", "stop", 7], "x") == ("systemctl", "stop", "7")
    assert parse_command("echo $HOME `id`", "x") == ("echo", "$HOME", "`id`")


def test_what_a_command_says_is_kept_from_its_end_and_cleaned():
    command = Command(["sh", "-c", "yes filler | head -n 9000; echo token-123 postgresql://u:pw-456@h/d"], ["token-123"])
    outcome = command.run(10)
    assert outcome.code == 0
    assert outcome.output.endswith("*** postgresql://u:***@h/d")
    assert len(outcome.output) <= 4000
    assert "token-123" not in str(Command(["run", "--token=token-123"], ["token-123"]))
    command.close()
