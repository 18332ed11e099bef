"""Which Letta will run is settled before anything else, and never by a name that can move."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report.text import plan_lines
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.release import settle

DIGEST = "letta/letta@sha256:" + "0123456789abcdef" * 4


@pytest.mark.fault(17)
@pytest.mark.parametrize("image", ["letta/letta", "letta/letta:latest", "letta/letta:0.16.8", "letta/letta@sha256:abc", DIGEST + "x"])
def test_an_image_that_is_not_named_by_digest_is_refused(image):
    with pytest.raises(RecoveryError, match="names no certain image") as caught:
        settle("0.16.8", image, {})
    assert caught.value.failure_class == "usage"
    assert "RepoDigests" in caught.value.next_step


def test_the_release_that_the_servers_run_is_the_one_planned():
    running = {"letta1": "0.16.8", "letta2": "", "letta3": "0.16.7"}
    assert settle("", DIGEST, running) == ({"version": "0.16.8", "image": DIGEST, "running": running}, [])


def test_without_a_version_and_without_a_server_that_answers_nothing_is_pinned():
    assert settle("", "", {"letta1": ""}) == ({"version": None, "image": None, "running": {"letta1": ""}}, [])


def test_servers_of_different_schemas_are_refused_until_somebody_says_which_is_meant():
    running = {"letta1": "0.16.8", "letta2": "0.11.7"}
    with pytest.raises(RecoveryError, match="letta1 runs Letta 0.16.8, letta2 runs Letta 0.11.7") as caught:
        settle("", "", running)
    assert caught.value.failure_class == "preflight"
    pinned, (doubt,) = settle("0.16.8", "", running)
    assert pinned["version"] == "0.16.8"
    assert "letta2 runs Letta 0.11.7, the plan is for 0.16.8" in doubt


@pytest.mark.parametrize("given", [("9.9.9", {}), ("", {"letta1": "0.32.16"})])
def test_a_release_nobody_knows_is_refused(given):
    version, running = given
    with pytest.raises(RecoveryError, match="is not a release") as caught:
        settle(version, "", running)
    assert caught.value.failure_class == "usage"


def test_the_plan_names_image_or_package_and_who_runs_it():
    def line(**runs):
        plan = {"set_id": "lb-1", "runs": dict({"version": None, "image": None, "running": {}}, **runs)}
        return " ".join(" ".join(plan_lines(plan)).split())

    assert "will run Letta 0.16.8 (package letta==0.16.8); letta1 runs it now; letta2 did not answer" in line(
        version="0.16.8", running={"letta1": "0.16.8", "letta2": ""})
    assert "will run Letta 0.16.8 from image %s" % DIGEST in line(version="0.16.8", image=DIGEST)
    assert "will run" not in line()
