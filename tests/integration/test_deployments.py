"""Several Letta systems in one inventory, restored by one run: each with its own servers, and one that fails does not stop the others."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.restore_kit import _unsafe, _yaml, add_writes
from tests.integration.test_catalog import flip, largest

pytestmark = pytest.mark.slow


def system(world, name):
    """The hosts of one system: a database, and a server whose commands leave a trace."""
    trace = world.folder / "commands"
    trace.write_text("")
    state = world.folder / "running"
    state.write_text("")
    commands = {
        "letta_service_stop": ["sh", "-c", "echo stop >> '%s'; rm -f '%s'" % (trace, state)],
        "letta_service_start": ["sh", "-c", "echo start >> '%s'; touch '%s'" % (trace, state)],
        "letta_service_status": ["test", "-e", str(state)],
    }
    wanted = json.loads(world.inventory().read_text(encoding="utf-8").replace("!unsafe ", ""))["all"]
    shared = {key: _unsafe(value) for key, value in wanted["vars"].items()}
    shared.update(letta_deployment=name, letta_service_manager="command")
    local = wanted["hosts"]["db1"]
    return {name + "-db": {**local, **shared}, name + "1": {**local, "letta_deployment": name, **commands}}, trace


@pytest.fixture
def two(make_world, shape_set):
    """Blue with a good set, green with a damaged one; both have writes since."""
    worlds = {name: make_world() for name in ("blue", "green")}
    hosts, traces = {}, {}
    for name, world in worlds.items():
        world.copy_set(shape_set)
        add_writes(world.live)
        mine, traces[name] = system(world, name)
        hosts.update(mine)
    flip(largest(str(Path(worlds["green"].root, shape_set.name))))
    worlds["blue"].fleet = {
        "all": {"hosts": hosts, "children": {
            "letta_database": {"hosts": {"blue-db": {}, "green-db": {}}}, "letta_servers": {"hosts": {"blue1": {}, "green1": {}}}}},
    }  # fmt: skip
    return worlds, traces


def play(worlds, *arguments, **changes):
    """Run restore-full.yml on the fleet."""
    fleet = worlds["blue"].fleet
    for host, facts in changes.items():
        fleet["all"]["hosts"][host].update(facts)
    path = worlds["blue"].folder / "hosts.yml"
    worlds["blue"].inventory = lambda: path
    path.write_text(_yaml(fleet), encoding="utf-8")
    confirm = "letta_confirm={{ inventory_hostname }}/{{ letta_db_name }}"
    return worlds["blue"].play("restore-full.yml", "-e", confirm, *arguments, confirm=False)


def test_the_good_system_is_restored_with_its_own_servers_while_the_other_fails_and_keeps_running(two, shape_set):
    worlds, traces = two
    before = worlds["green"].fingerprint()
    played = play(worlds)
    assert played.rc == 2, played.output[-4000:]
    assert played.recap("blue-db")["failed"] == 0 and played.recap("green-db")["failed"] == 1, played.output[-4000:]
    assert traces["blue"].read_text().split() == ["stop", "start"] and traces["green"].read_text() == ""
    assert worlds["green"].fingerprint() == before and worlds["green"].leftovers() == []
    (written,) = worlds["blue"].sql("SELECT count(*) FROM letta.agents WHERE name = 'written later'")
    assert written == (0,) and worlds["blue"].leftovers(worlds["blue"].kept_names()) == []


@pytest.mark.fault(41, "limit")
def test_one_system_is_planned_alone_by_a_limit(two):
    worlds, _traces = two
    planned = play(worlds, "--limit", "blue-db,blue1", "--check")
    assert planned.rc == 0 and "stops blue1" in planned.output and "green" not in planned.output, planned.output[-3000:]


def test_two_databases_that_would_stop_the_same_servers_are_refused(two):
    worlds, traces = two
    played = play(worlds, **{"green-db": {"letta_deployment": "blue"}})
    assert played.rc == 2 and "letta_deployment of their own" in played.output, played.output[-3000:]
    assert [trace.read_text() for trace in traces.values()] == ["", ""]
