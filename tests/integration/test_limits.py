"""A run that is limited to some hosts, or to some tags, does all of it or says why not; it never does nothing and calls that well."""
from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow
SERVER = {verb: ["true"] for verb in ("letta_service_start", "letta_service_stop", "letta_service_status")}


@pytest.fixture(scope="module")
def letta_hosts():
    return {"letta1": SERVER, "letta2": SERVER}


@pytest.mark.fault(41, "limit")
@pytest.mark.parametrize("playbook", ["restore-full.yml", "rollback.yml"])
def test_a_limit_without_the_database_host_is_an_error_that_says_so(make_world, letta_hosts, playbook):
    world = make_world(hosts=letta_hosts)
    played = world.play(playbook, "--limit", "letta1,letta2")
    assert played.rc != 0
    assert "--limit letta1,letta2 leaves out db1" in played.output
    assert "NEXT: leave --limit out" in played.output
    assert (world.journals(), world.leftovers()) == ([], [])


@pytest.mark.fault(41, "limit")
def test_a_limit_to_some_of_the_servers_is_refused_and_one_to_the_database_alone_means_all(make_world, letta_hosts, shape_set):
    world = make_world(hosts=letta_hosts, variables={"letta_service_manager": "command"})
    world.copy_set(shape_set)
    played = world.play("restore-full.yml", "--limit", "db1,letta1")
    assert played.rc != 0
    assert "names letta1 and leaves out letta2" in played.output
    planned = world.play("restore-full.yml", "--limit", "db1", "--check", "-e", "letta_serial=1", confirm=False).ok()
    assert "stops letta1, letta2" in planned.output


@pytest.mark.fault(41, "tags")
@pytest.mark.parametrize(
    ("playbook", "arguments"),
    [
        ("rollback.yml", ("--tags", "services")),
        ("rollback.yml", ("--tags", "redis")),
        ("rollback.yml", ("--skip-tags", "services")),
        ("rollback.yml", ("--skip-tags", "always")),
        ("restore-full.yml", ("--skip-tags", "always")),
        ("restore-full.yml", ("--tags", "cutover,verify", "--skip-tags", "always")),
        ("restore-partial.yml", ("--tags", "agents", "--skip-tags", "always")),
    ],
)
def test_tags_that_would_leave_a_part_out_are_refused(make_world, playbook, arguments):
    world = make_world()
    played = world.play(playbook, *arguments)
    assert played.rc != 0, played.output
    if "always" in arguments:
        refusal = "usage: --skip-tags always would leave the checks and the plan out"
    else:
        refusal = "usage: a rollback is done as a whole: %s would leave a part out" % " ".join(arguments)
    assert refusal in " ".join(played.output.split())
    assert (world.journals(), world.leftovers()) == ([], [])
