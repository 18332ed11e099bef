"""How the answers of service managers are read, without one."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.drivers import compose, docker, docker_engine, systemd


def unit(active, sub, members=(), began=None, **more):
    return systemd.judge("letta.service", {"LoadState": "loaded", "ActiveState": active, "SubState": sub, **more}, list(members), began)


def test_the_properties_of_a_unit_are_read_with_equal_signs_in_their_values():
    assert systemd.parse("ActiveState=active\nLoadError=a=b c\nTriggeredBy=\n\nnoise") == {
        "ActiveState": "active", "LoadError": "a=b c", "TriggeredBy": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("active", "sub", "members", "up", "alive"),
    [
        ("active", "running", [7], True, True),
        ("reloading", "reload", [7], True, True),
        ("active", "exited", [], True, True),
        ("activating", "start", [7], False, True),
        ("activating", "auto-restart", [], False, True),
        ("deactivating", "stop-sigterm", [7], False, True),
        ("inactive", "dead", [], False, False),
        ("inactive", "dead", [7], False, True),
        ("failed", "failed", [], False, False),
        ("failed", "failed", [7, 9], False, True),
    ],
)
def test_a_unit_is_gone_only_when_nothing_of_it_is_left_and_nothing_will_bring_it_back(active, sub, members, up, alive):
    look = unit(active, sub, members, 12.5)
    assert (look.up, look.alive, look.started_at) == (up, alive, 12.5 if up else None)


def test_a_unit_is_described_in_words_for_a_person():
    assert unit("active", "running", NRestarts="3").says == "unit letta.service is active (running), brought back 3 times by systemd"
    assert unit("failed", "failed", Result="oom-kill").says == "unit letta.service is failed (oom-kill)"
    assert unit("failed", "failed", [7, 9], Result="timeout").says.endswith("is failed (timeout), but processes are left of it: 7, 9")


def container(name="letta", status="running", health=None, ports=(), env=(), image="letta/letta", **labels):
    state = {"Status": status, "Running": status in ("running", "paused", "restarting"), "Paused": status == "paused",
             "Restarting": status == "restarting", "ExitCode": 0, "StartedAt": "2026-11-21T18:00:33.5Z"}  # fmt: skip
    if health:
        state["Health"] = {"Status": health, "Log": []}
    return {
        "Id": name, "Name": "/" + name, "State": state, "RestartCount": 0, "HostConfig": {"PortBindings": {port: [] for port in ports}},
        "Config": {"Image": image, "Env": list(env), "Labels": {"com.docker.compose.%s" % key: value for key, value in labels.items()},
                   "ExposedPorts": {}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("states", "up", "alive", "waiting"),
    [
        ([("running", None)], True, True, ""),
        ([("running", "healthy")], True, True, ""),
        ([("running", "starting")], True, True, "starting"),
        ([("running", "unhealthy")], True, True, "unhealthy"),
        ([("paused", None)], False, True, ""),
        ([("restarting", None)], False, True, ""),
        ([("exited", "unhealthy")], False, False, ""),
        ([("created", None)], False, False, ""),
        ([("dead", None)], False, False, ""),
        ([("running", "healthy"), ("exited", None)], False, True, ""),
        ([("running", "healthy"), ("running", "starting")], True, True, "starting"),
    ],
)
def test_containers_are_up_when_all_are_and_gone_when_none_lives(states, up, alive, waiting):
    look = docker.judge([container(status=status, health=health) for status, health in states], lambda _container: 5.0)
    assert (look.up, look.alive, look.started_at) == (up, alive, 5.0 if up else None)
    assert waiting in look.waiting and bool(waiting) == bool(look.waiting)


def test_the_label_of_dependencies_is_read_in_all_its_forms():
    labels = {"depends_on": "db:service_healthy:false,redis:service_started:true,init:service_completed_successfully,plain,"}
    assert compose.depends_on(container(**labels)) == {
        "db": "service_healthy", "redis": "service_started", "init": "service_completed_successfully", "plain": "service_started",
    }  # fmt: skip
    assert compose.depends_on(container()) == {}


def test_containers_start_after_what_they_depend_on_also_through_others_and_a_circle_is_no_endless_loop():
    links = {"a": "m:service_started:false", "m": "z:service_healthy:false", "z": ""}
    made = [container(name, service=name, depends_on=wants) for name, wants in links.items()]
    assert [compose.name_of(each) for each in compose.in_start_order(made)] == ["z", "m", "a"]
    circle = [container("a", service="a", depends_on="b"), container("b", service="b", depends_on="a")]
    assert [compose.name_of(each) for each in compose.in_start_order(circle)] == ["a", "b"]


@pytest.mark.parametrize(
    ("condition", "status", "health", "why"),
    [
        ("service_started", "running", None, ""),
        ("service_started", "restarting", None, "is restarting (0)"),
        ("service_started", "exited", None, "is exited (0)"),
        ("service_healthy", "running", "healthy", ""),
        ("service_healthy", "running", "starting", "is running (starting)"),
        ("service_healthy", "running", None, "has no health check"),
        ("service_healthy", "exited", "healthy", "is exited (0)"),
        ("service_completed_successfully", "exited", None, ""),
        ("service_completed_successfully", "running", None, "is running"),
    ],
)
def test_a_dependency_is_judged_by_the_condition_asked_for(condition, status, health, why):
    assert compose.lacking(condition, container(status=status, health=health)) == why


@pytest.mark.parametrize(
    ("more", "data"),
    [
        ({}, False),
        ({"image": "ankane/pgvector:v0.5.1"}, True),
        ({"image": "registry:5000/library/postgres@sha256:abc"}, True),
        ({"image": "valkey/valkey:8"}, True),
        ({"image": "redis-free/letta:1", "ports": ["8283/tcp"]}, False),
        ({"image": "own", "ports": ["5432/tcp"]}, True),
        ({"image": "letta/letta", "ports": ["8283/tcp", "5432/tcp"]}, False),
    ],
)
def test_the_database_and_redis_are_known_by_image_and_by_port(more, data):
    assert compose.keeps_data(container(**more)) is data


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (container(status="paused"), "is paused"),
        (container(status="dead"), "is dead"),
        (container(status="removing"), "is removing"),
        (container(status="restarting"), ""),
        (container(status="exited"), ""),
    ],
)
def test_a_container_that_can_neither_be_stopped_nor_started_is_refused_with_advice(made, words):
    for stopping in (True, False):
        problem, advice = docker.obstacle(made, stopping)
        assert words in problem and bool(words) == bool(problem) == bool(advice)


def test_a_container_of_compose_run_is_no_part_of_the_project():
    assert compose.is_one_off(container(oneoff="True"))
    assert not compose.is_one_off(container(oneoff="False"))


def test_the_engines_moments_are_read_with_any_number_of_decimals():
    assert docker_engine.moment("1970-01-01T00:00:10.123456789Z") == pytest.approx(10.123456789)
    assert docker_engine.moment("1970-01-01T01:00:10+01:00") == 10
    with pytest.raises(RecoveryError, match="names no moment: soon"):
        docker_engine.moment("soon")
