"""A restore across two API servers, a database host and a Redis host, over SSH, with an ordinary user and sudo."""
from __future__ import annotations

import threading
import time

import pytest

from tests.integration.far_kit import REDIS, SERVERS, Reader, build
from tests.integration.restore_kit import HOST
from tests.lab import hosts, places

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(hosts.why_not()), reason=hosts.why_not() or "there can be hosts")]


@pytest.fixture(scope="module")
def lab(tmp_path_factory, sample_set):
    """The four hosts, PostgreSQL and Redis on theirs."""
    with hosts.Hosts([*SERVERS, HOST, REDIS]) as made:
        yield build(made, tmp_path_factory.mktemp("far"), sample_set)


@pytest.fixture
def far(lab):
    """The hosts with stand-ins for Letta that serve the live database."""
    world = lab[0]
    for node in world.nodes.values():
        node.run("stop")
        assert places.wait_for(lambda node=node: node.run("status") != 0, 30)
        node.becomes_stand_in(world.letta_role())
        node.run("start")
        node.await_up()
    world.variables.update(letta_service_start_timeout=5, letta_service_stop_timeout=15)
    return world


def check(report, name):
    return next((item for item in report["checks"] if item["id"] == name), None)


def at_the_exchange(far, do):
    """Do something in the moment in which a run that begins from now on sees sessions out; returns how to wait for it."""
    known, over = {item.run_id for item in far.journals()}, threading.Event()

    def wait():
        while not over.wait(0.02):
            if any(item.state("cutover.drain") for item in far.journals() if item.run_id not in known):
                do()
                return

    hand = threading.Thread(target=wait)
    hand.start()
    return lambda: (over.set(), hand.join())


def test_a_reader_of_real_lettas_sees_one_outage_as_long_as_the_report_says(lab):
    far, redis = lab
    for node in far.nodes.values():
        node.becomes_letta(far.letta_role(), (redis.host, redis.port))
        node.run("start")
    for node in far.nodes.values():
        node.await_up(120)
    old = far.live_oid()
    far.variables.update(letta_service_start_timeout=120, letta_service_stop_timeout=30)
    with Reader(far.nodes.values()) as reader:
        time.sleep(1)
        report = far.play("restore-full.yml", timeout=300).ok().report
        time.sleep(1)
    (outage,) = reader.outages()
    print("outage %.2f s, report %.2f s, %s" % (outage, report["downtime_seconds"], check(report, "services.away")["detail"]))
    assert abs(outage - report["downtime_seconds"]) < 1
    assert far.live_oid() != old
    assert check(report, "redis.aligned")["status"] == "pass"
    assert all(name in check(report, "services.away")["detail"] for name in SERVERS)
    assert (check(report, "services.late"), check(report, "services.outsiders")) == (None, None)
    assert [len(node.ask()) for node in far.nodes.values()] == [1, 1]


@pytest.mark.fault(23, "stays")
def test_a_server_that_somebody_starts_during_the_exchange_is_kept_out_and_started_again(far):
    old, late = far.live_oid(), far.nodes["letta2"]
    (late.folder / "slow").touch()  # at its next start, as Letta, which needs its time before it asks the database
    done = at_the_exchange(far, lambda: late.run("start"))
    with Reader(far.nodes.values()) as reader:
        try:
            report = far.play("restore-full.yml").ok().report
        finally:
            done()
        time.sleep(0.5)
    (outage,) = reader.outages()
    new = far.live_oid()
    assert new != old
    assert abs(outage - report["downtime_seconds"]) < 1, (outage, report["downtime_seconds"])
    told = check(report, "services.late")
    assert (told["status"], told["examples"]) == ("warn", ["letta2"])
    assert "letta2 ran already before it was to be started" in told["detail"]
    assert late.lines("calls") == ["start", "stop", "start", "stop", "start"]
    assert late.ask()["first"] == new, "it met the new database first"


@pytest.mark.fault(24, "start")
def test_when_the_second_server_does_not_come_back_the_first_one_goes_back_too(far):
    old, second = far.live_oid(), far.nodes["letta2"]
    (second.folder / "only").write_text(str(old))
    played = far.play("restore-full.yml").refused("swap_rolled_back")
    assert played.report["status"] == "rolled_back"
    assert "the service is not up" in played.report["message"]
    assert far.live_oid() == old
    for node in far.nodes.values():
        answer = node.ask()
        assert (answer["first"], answer["now"]) == (old, old), "a server that met the restored database serves the old one"
    assert far.nodes["letta1"].lines("calls") == ["start", "stop", "start", "stop", "start"]
    met = [int(oid) for oid in far.nodes["letta1"].lines("met")]
    assert (met[0], met[-1], len(set(met))) == (old, old, 2), "the first one had served the restored database"
    assert played.report["downtime_seconds"] > 1


@pytest.mark.fault(21, "lost")
def test_a_server_that_is_lost_after_the_exchange_is_told_and_everything_else_is_put_back(far):
    """Ansible drops a host that cannot be reached from the play: here that would have been the database host, with everything stopped."""
    old = far.live_oid()
    done = at_the_exchange(far, lambda: far.lab.lose("letta2"))
    try:
        played = far.play("restore-full.yml")
    finally:
        done()
    assert played.report["failure_class"] == "manual_help_needed", played.output[-5000:]
    assert "letta2 cannot be reached" in played.report["message"]
    assert "Letta's servers are down: letta2 cannot be reached" in played.report["now"]
    assert far.live_oid() == old
    assert far.nodes["letta1"].ask()["first"] == old
    again = far.play("restore-full.yml").refused("preflight")
    assert "letta2 cannot be reached" in again.report["message"]
    assert far.nodes["letta1"].lines("calls")[-1] == "start", "nothing was stopped for it"
