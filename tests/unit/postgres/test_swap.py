"""Two databases change names in one step: whatever is killed in between, either both names changed or none."""
from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
import time
from contextlib import closing

import psycopg2
import pytest
from psycopg2 import sql

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import swap
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server, connect, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.processes import ENDED, start_time
from tests.lab.postgres import EmbeddedPostgres


class Pair:
    """A live and a side database, each with a table that says which it is."""

    def __init__(self, pg, stem):
        self.pg, self.server = pg, pg.server()
        self.live, self.side, self.previous = (stem + ending for ending in ("", "__restore", "__before"))
        for name, word in ((self.live, "old"), (self.side, "new")):
            pg.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
            pg.execute(sql.SQL("CREATE TABLE which AS SELECT {}::text AS word").format(sql.Literal(word)), name)
        self.before = self.names()

    def names(self):
        """Return {name: (oid, open)}."""
        rows = self.pg.execute("SELECT datname, oid::bigint, datallowconn FROM pg_database ORDER BY 1")
        return {name: (oid, opened) for name, oid, opened in rows if name in (self.live, self.side, self.previous)}

    def word(self):
        """Return what is in the live database."""
        return self.pg.execute("SELECT word FROM which", self.live)[0][0]

    def exchange(self, server=None):
        swap.exchange(server or self.server, self.live, self.side, self.previous)

    def exchanged(self):
        (old, _open), (new, _closed) = self.before[self.live], self.before[self.side]
        return self.names() == {self.live: (new, True), self.previous: (old, False)}

    def drop(self):
        for name in (self.live, self.side, self.previous):
            self.pg.drop_database(name)


@pytest.fixture
def pair(pg):
    made = Pair(pg, 'we"ird {{ x }} %s' % secrets.token_hex(4))
    yield made
    made.drop()


@pytest.fixture(scope="module")
def own_pg(tmp_path_factory):
    """A server of our own that may be killed, as durable as a real one."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("killed"))
    yield server.start()
    server.destroy()


@pytest.fixture
def own_pair(own_pg):
    made = Pair(own_pg, "killed_%s" % secrets.token_hex(4))
    yield made
    own_pg.start()
    made.drop()


def test_names_are_exchanged_and_the_old_database_stays_closed(pair):
    pair.exchange()
    assert pair.exchanged()
    assert pair.word() == "new"
    with pytest.raises(RecoveryError):
        connect(pair.server.database(pair.previous))


def test_exchanging_again_goes_back(pair):
    pair.exchange()
    swap.exchange(pair.server, pair.live, pair.previous, pair.side)
    assert pair.word() == "old"
    assert pair.names()[pair.live] == pair.before[pair.live]


def test_without_a_live_database_the_side_database_is_renamed_in(pair):
    pair.pg.drop_database(pair.live)
    pair.exchange()
    assert list(pair.names()) == [pair.live]
    assert pair.word() == "new"


def test_a_fenced_live_database_is_open_after_the_exchange(pair):
    swap.fence(pair.server, pair.live)
    pair.exchange()
    assert pair.exchanged()


def test_nobody_sees_a_moment_without_a_live_database(pair):
    """A client that looks all the time finds the name in the catalog every time."""
    seen, stop = set(), threading.Event()

    def look():
        with closing(connect(pair.server)) as conn, conn.cursor() as cursor:
            while not stop.is_set():
                cursor.execute("SELECT oid::bigint FROM pg_database WHERE datname = %s", (pair.live,))
                row = cursor.fetchone()
                seen.add(row[0] if row else None)

    watcher = threading.Thread(target=look)
    watcher.start()
    for _round in range(5):
        pair.exchange()
        swap.exchange(pair.server, pair.live, pair.previous, pair.side)
    stop.set()
    watcher.join()
    assert seen == {pair.before[pair.live][0], pair.before[pair.side][0]}


@pytest.mark.parametrize("where", ["live", "side"])
def test_a_session_in_either_database_makes_the_exchange_refuse_with_no_name_changed(pair, where):
    with closing(connect(pair.server.database(getattr(pair, where)), "somebody")), pytest.raises(RecoveryError) as caught:
        pair.exchange()
    assert caught.value.failure_class == "swap_rolled_back"
    assert "being accessed by other users" in caught.value.message
    assert pair.names() == pair.before


@pytest.mark.parametrize("obstacle", ["side is gone", "previous is taken"])
def test_an_exchange_that_cannot_be_changes_no_name(pair, obstacle):
    if obstacle == "side is gone":
        pair.pg.drop_database(pair.side)
    else:
        pair.pg.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(pair.previous)))
    before = pair.names()
    with pytest.raises(RecoveryError) as caught:
        pair.exchange()
    assert caught.value.failure_class == "swap_rolled_back"
    assert pair.names() == before


def test_drain_names_who_is_there_and_ends_them_only_when_told(pair):
    with closing(connect(pair.server.database(pair.live), "uvicorn")):
        (left,) = swap.drain(pair.server, pair.live, 0.3)
        assert (left["application"], left["user"], left["address"]) == ("uvicorn", "postgres", "127.0.0.1")
        assert swap.describe_sessions([left]) == "postgres from 127.0.0.1 (uvicorn, idle)"
        assert swap.drain(pair.server, pair.live, 5, terminate=True) == []
    assert swap.drain(pair.server, pair.live, 0.3) == []


@pytest.fixture
def vacuumed(pair):
    """A pair in whose live database an autovacuum worker is at work, and stays for minutes."""
    pair.pg.execute("CREATE TABLE busy AS SELECT g, repeat('x', 900) AS filler FROM generate_series(1, 20000) g", pair.live)
    slow = "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1"
    pair.pg.execute("ALTER TABLE busy SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0, %s)" % slow, pair.live)
    pair.pg.execute("DELETE FROM busy WHERE g % 2 = 0", pair.live)
    pair.pg.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    pair.pg.execute("SELECT pg_reload_conf()")
    seen = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND backend_type = 'autovacuum worker'"
    try:
        deadline = time.monotonic() + 60
        while not pair.pg.execute(seen, params=(pair.live,)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert pair.pg.execute(seen, params=(pair.live,)), "autovacuum did not come"
        yield pair
    finally:
        pair.pg.execute("ALTER SYSTEM RESET autovacuum_naptime")
        pair.pg.execute("SELECT pg_reload_conf()")


def test_autovacuum_at_work_is_no_session_that_stays_and_does_not_hinder_the_exchange(vacuumed):
    assert swap.drain(vacuumed.server, vacuumed.live, 0) == []
    vacuumed.exchange()
    assert vacuumed.exchanged()


def test_many_sessions_are_counted_and_the_first_named():
    one = {"user": "letta", "address": "10.0.0.7", "application": "", "state": "active"}
    assert swap.describe_sessions([one] * 7).endswith("(no name, active) and 2 more")


def test_a_fence_keeps_superusers_out_and_the_session_inside_in(pair):
    with closing(connect(pair.server.database(pair.live))) as inside, inside.cursor() as cursor:
        swap.fence(pair.server, pair.live)
        assert swap.is_fenced(pair.server, pair.live)
        with pytest.raises(RecoveryError):
            connect(pair.server.database(pair.live))
        cursor.execute("SELECT word FROM which")
    swap.unfence(pair.server, pair.live)
    assert pair.word() == "old"


def half_way(pair):
    """Do by hand, on a connection of our own, what ``exchange`` does up to just before its commit."""
    conn = connect(pair.server, autocommit=False)
    cursor = conn.cursor()
    for old, new in ((pair.live, pair.previous), (pair.side, pair.live)):
        cursor.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new)))
        yield conn
    conn.close()


def backend_of(conn):
    return conn.info.backend_pid


@pytest.mark.fault(20, "database")
@pytest.mark.fault(19, "postgres")
@pytest.mark.parametrize("renames", [1, 2])
@pytest.mark.parametrize("victim", ["session", "server"])
def test_a_kill_between_the_renames_leaves_both_names_as_before(own_pair, victim, renames):
    steps = half_way(own_pair)
    for _rename in range(renames):
        conn = next(steps)
    pid = backend_of(conn)
    if victim == "session":
        os.kill(pid, signal.SIGKILL)  # PostgreSQL restarts itself after a killed session
    else:
        own_pair.pg.kill()
    wait_until(lambda: start_time(pid) in (None, ENDED))  # an orphan stays a zombie where the first process reaps none
    own_pair.pg.start()
    wait_until(lambda: answers(own_pair.server))
    assert own_pair.names() == own_pair.before
    assert own_pair.word() == "old"
    own_pair.exchange()
    assert own_pair.exchanged()


SECOND_RENAME = """SELECT pid FROM pg_stat_activity
WHERE query = 'ALTER DATABASE "' || %s || '" RENAME TO "' || %s || '"' AND state = 'active'"""


@pytest.mark.fault(20, "database")
@pytest.mark.fault(19, "postgres")
def test_the_exchange_itself_killed_between_its_renames_leaves_both_names_as_before(own_pair):
    def exchange():
        with pytest.raises(RecoveryError):
            own_pair.exchange()

    worker = threading.Thread(target=exchange)
    with closing(connect(own_pair.server.database(own_pair.side), "somebody")):  # its second rename waits for him
        worker.start()
        found = []
        wait_until(lambda: found.extend(query(own_pair.server, SECOND_RENAME, (own_pair.side, own_pair.live))) or found)
        os.kill(found[0][0], signal.SIGKILL)  # every session ends with it
        wait_until(lambda: start_time(found[0][0]) is None)
    worker.join(30)
    own_pair.pg.start()
    wait_until(lambda: answers(own_pair.server))
    assert own_pair.names() == own_pair.before
    own_pair.exchange()
    assert own_pair.exchanged()


@pytest.mark.fault(20, "database")
@pytest.mark.fault(19, "postgres")
def test_a_server_killed_right_after_the_commit_has_both_new_names(own_pair):
    own_pair.exchange()
    own_pair.pg.kill()
    own_pair.pg.start()
    assert own_pair.exchanged()
    assert own_pair.word() == "new"


def answers(server):
    try:
        return bool(query(server, "SELECT 1"))
    except (RecoveryError, psycopg2.Error):
        return False


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class CutAtCommit:
    """A wire to a server that breaks after the client's COMMIT was passed on (``passed``) or before (``lost``)."""

    def __init__(self, port, passed):
        self.passed, self._target = passed, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._wire, args=(client,), daemon=True).start()

    def _wire(self, client):
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            threading.Thread(target=self._back, args=(server, client), daemon=True).start()
            while data := client.recv(65536):
                if b"COMMIT" in data:
                    if self.passed:
                        server.sendall(data)
                        time.sleep(0.5)
                    break
                server.sendall(data)
            for end in (client, server):
                end.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _back(server, client):
        try:
            while data := server.recv(65536):
                if b"COMMIT\0" not in data:
                    client.sendall(data)
        except OSError:
            return

    def close(self):
        self._listener.close()


@pytest.mark.fault(20, "database")
@pytest.mark.parametrize("passed", [True, False])
def test_a_connection_lost_at_the_commit_is_told_as_what_really_happened(pair, passed):
    """Whether names changed is looked up, not concluded from the error."""
    wire = CutAtCommit(pair.pg.port, passed)
    try:
        through = Server("127.0.0.1", wire.port, pair.server.user, pair.server.password, "postgres", sslmode="disable")
        if passed:
            pair.exchange(through)
            assert pair.exchanged()
        else:
            with pytest.raises(RecoveryError) as caught:
                pair.exchange(through)
            assert caught.value.failure_class == "swap_rolled_back"
            assert pair.names() == pair.before
    finally:
        wire.close()
