"""Somebody who is no server of ours is in the live database, for milliseconds at a time: found, named, kept out."""
from __future__ import annotations

import secrets
import threading
from contextlib import closing

import psycopg2
import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import catalog, stamp, swap
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.watch import Watch
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import cutover, outsiders, runs, servers
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import NoJournal
from tests.lab import places


class Pair:
    """A live and a side database, and what is true of them."""

    def __init__(self, pg, stem):
        self.pg, self.server = pg, pg.server()
        self.names = {"live": stem, "side": stem + "__restore", "previous": stem + "__before", "undone": stem + "__undone"}
        for name in ("live", "side"):
            pg.execute('CREATE DATABASE "%s" TEMPLATE template0' % self.names[name])
        self.live_oid = cutover.oid_of(self.server, stem)

    def swap_in(self, **guests):
        return cutover.swap_in(self.server, NoJournal(), self.names, cutover.Guests(**guests))

    def is_old_and_open(self):
        same = cutover.oid_of(self.server, self.names["live"]) == self.live_oid
        return same and not swap.is_fenced(self.server, self.names["live"])


class Visitor:
    """A client without a pool: connects, asks, disconnects, again and again. ``with Visitor(…) as visitor: …``"""

    def __init__(self, server, pause=0.03):
        self.server, self.pause = server, pause
        self.answers, self.refusals = 0, []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._come_and_go, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._over.set()
        self._thread.join(10)

    def _come_and_go(self):
        where = {"host": self.server.host, "port": self.server.port, "user": self.server.user, "password": self.server.password}
        while not self._over.wait(self.pause):
            try:
                with closing(psycopg2.connect(dbname=self.server.dbname, **where)) as conn, conn.cursor() as cursor:
                    cursor.execute("SELECT pg_sleep(0.01)")
                    self.answers += 1
            except psycopg2.Error as exc:
                self.refusals.append(str(exc).strip())


@pytest.fixture
def pair(pg):
    made = Pair(pg, "out_%s" % secrets.token_hex(4))
    yield made
    for name in made.names.values():
        pg.drop_database(name)


@pytest.mark.fault(23, "instant")
def test_a_client_that_connects_for_an_instant_is_named_by_its_address_and_nothing_is_exchanged(pair):
    with Visitor(pair.server.database(pair.names["live"])) as visitor:
        assert places.wait_for(lambda: visitor.answers, 10)
        with pytest.raises(RecoveryError) as caught:
            pair.swap_in(watch_seconds=2, session_timeout=5)
        asked = visitor.answers
        assert places.wait_for(lambda: visitor.answers > asked, 10), "it is let in again"
    error = caught.value
    assert error.failure_class == "swap_rolled_back"
    assert "postgres from 127.0.0.1" in error.message
    assert error.details["count"] >= 1
    assert "letta_foreign_sessions=terminate" in error.next_step
    assert pair.is_old_and_open()


@pytest.mark.fault(23, "instant")
def test_it_is_called_by_its_name_when_it_is_a_server_of_the_inventory_that_runs_again(pair):
    with Visitor(pair.server.database(pair.names["live"])), pytest.raises(RecoveryError) as caught:
        pair.swap_in(watch_seconds=2, session_timeout=5, servers={"letta1": "192.0.2.7", "letta2": "127.0.0.1", "letta3": "no such name"})
    assert "127.0.0.1 is letta2 of the inventory" in caught.value.message
    assert "keep it down" in caught.value.next_step


@pytest.mark.fault(23, "instant")
def test_one_that_is_too_quick_to_be_seen_is_counted_and_the_way_to_its_address_is_told(pair):
    live = pair.server.database(pair.names["live"])
    with Watch(pair.server, pair.names["live"]) as watch:
        assert watch.look()["count"] == 0
        query(live, "SELECT 1")
        found = watch.found()
    assert (found["count"], found["seen"]) == (1, [])
    error = outsiders.keeps_coming(live.dbname, found)
    assert "1 session within" in error.message
    assert "too quick to see" in error.message
    assert "log_connections" in error.next_step


def test_nobody_there_means_nobody_found(pair):
    with Watch(pair.server, pair.names["live"]) as watch:
        assert watch.look(0.1)["count"] == 0
    assert pair.swap_in(watch_seconds=0.1)["previous"]["oid"] == pair.live_oid


@pytest.mark.fault(23, "instant")
def test_while_it_is_fenced_postgresql_itself_refuses_every_attempt_and_lets_them_in_again_afterwards(pair):
    live, guests = pair.names["live"], cutover.Guests(terminate=True)
    with Visitor(pair.server.database(live)) as visitor:
        assert places.wait_for(lambda: visitor.answers, 10)
        with cutover.fenced(pair.server, NoJournal(), live, pair.live_oid, guests):
            asked, refused = visitor.answers, len(visitor.refusals)
            assert places.wait_for(lambda: len(visitor.refusals) - refused >= 3, 10)
            assert visitor.answers <= asked + 1, "somebody was let in"  # one answer may have been on its way
        swap.unfence(pair.server, live)
        assert places.wait_for(lambda: visitor.answers > asked + 1, 10)
    assert all("not currently accepting connections" in text or "terminating" in text for text in visitor.refusals), visitor.refusals


def test_who_is_let_be_on_purpose_is_kept_out_of_the_exchange_and_told(pair):
    journal, live = NoJournal(), pair.names["live"]

    def seen():
        with cutover.fenced(pair.server, journal, live, pair.live_oid, cutover.Guests(terminate=True)):
            pass
        swap.unfence(pair.server, live)
        return journal.entry("cutover.fence")["outsiders"]

    with Visitor(pair.server.database(live), pause=0.001):
        assert places.wait_for(seen, 20), "nobody waits for him: he is seen only when he comes in just that moment"
        cutover.swap_in(pair.server, NoJournal(), pair.names, cutover.Guests(terminate=True))
    assert cutover.oid_of(pair.server, pair.names["previous"]) == pair.live_oid
    (told,) = [item for item in servers.checks(journal) if item["id"] == "services.outsiders"]
    assert "session" in told["detail"]


@pytest.mark.fault(23, "stays")
@pytest.mark.fault(37, "modest")
def test_a_session_that_a_modest_role_may_not_look_into_is_a_session_all_the_same(pg, pair):
    pg.ensure_role("modest_looker", "no-secret-of-anybody")
    modest = pair.server.as_role("modest_looker", "no-secret-of-anybody")
    with closing(connect(pair.server.database(pair.names["live"]), "hidden")):
        (found,) = swap.sessions(modest, pair.names["live"])
    assert (found["user"], found["application"]) == ("postgres", "hidden")
    assert "pg_read_all_stats" in found["address"]
    assert swap.sessions(modest, pair.names["live"]) == []


def generation_of(pair, name="live"):
    with closing(connect(pair.server)) as conn, conn.cursor() as cursor:
        return stamp.read(cursor, pair.names[name])


def test_the_live_database_tells_which_run_made_it_live_and_keeps_its_comment(pair):
    pair.pg.execute("""COMMENT ON DATABASE "%s" IS 'of the sales team\n{{ x }} ''quoted'' word'""" % pair.names["side"])
    journal = NoJournal()
    journal.data["run_id"] = "r-0123abcd"
    cutover.swap_in(pair.server, journal, pair.names)
    comment, generation = generation_of(pair)
    assert comment == "of the sales team\n{{ x }} 'quoted' word"
    assert generation.startswith("r-0123abcd 20")
    assert catalog.database_facts(pair.server.database(pair.names["live"]))["comment"] == comment
    assert generation_of(pair, "previous") == (None, "")
    cutover.swap_back(pair.server, journal, pair.names)
    assert generation_of(pair)[1].startswith("r-0123abcd taken back 20")
    assert generation_of(pair, "undone")[1] == generation


def test_a_database_with_a_comment_and_a_generation_is_backed_up_and_planned_without_the_generation(world):
    with closing(connect(world.admin)) as conn, conn.cursor() as cursor:
        cursor.execute("""COMMENT ON DATABASE "%s" IS 'theirs'""" % world.database)
        stamp.write(cursor, world.database, "r-0123abcd 2026-11-21T00:00:00Z")
    manifest = world.backup()
    assert manifest["database"]["comment"] == "theirs"
    begun = runs.begin(world.admin, world.run_options(backup_id=manifest["id"], check=True))
    assert begun["plan"]["generation"] == "r-0123abcd 2026-11-21T00:00:00Z"
