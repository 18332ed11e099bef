"""Whether a server is proven to use Redis, from who is connected to it: whatever could be somebody else is not proven."""
from __future__ import annotations

import socket

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.reach import source_of
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.redisuse import judge

HERE = {"address": "10.0.0.9", "machine": "redis1"}
ON_LOOPBACK = {"address": "127.0.0.1", "machine": "redis1"}


def at(address, machine="app"):
    return {"address": address, "machine": machine}


def proven(sources, places, here=HERE):
    return {item["server"]: item["proven"] for item in judge(sources, places, here)}


def test_a_server_whose_own_address_is_connected_is_proven():
    assert proven({"a": at("10.0.0.1"), "b": at("10.0.0.2")}, {"10.0.0.1": 1}) == {"a": True, "b": False}


def test_two_servers_behind_one_address_are_not_proven():
    assert proven({"a": at("10.0.0.1"), "b": at("10.0.0.1")}, {"10.0.0.1": 5}) == {"a": False, "b": False}


@pytest.mark.parametrize("source", [None, {}, at("")])
def test_a_server_whose_address_is_not_known_is_not_proven(source):
    assert proven({"a": source}, {"": 1, "10.0.0.1": 1}) == {"a": False}


def test_the_loopback_of_another_machine_proves_nothing():
    """Redis may have connections from its own loopback that are somebody else's."""
    places = {"127.0.0.1": 2}
    assert proven({"a": at("127.0.0.1", "app")}, places, ON_LOOPBACK) == {"a": False}
    assert proven({"a": at("127.0.0.1", "redis1")}, places, HERE) == {"a": False}
    assert proven({"a": at("127.0.0.1", "redis1")}, places, ON_LOOPBACK) == {"a": True}


def test_where_this_machine_reaches_another_from_is_told_without_sending_anything():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))  # nobody listens: a connection would be refused
        assert source_of("127.0.0.1", listening.getsockname()[1])["address"] == "127.0.0.1"
    assert source_of("no.such.host.invalid", 6379)["address"] == ""
    assert source_of("127.0.0.1", 1)["machine"] == source_of("localhost", 1)["machine"]
