# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away Letta system on this host: PostgreSQL, a Redis-compatible server, a fake model service, and then Letta itself.

:func:`make` lays out the folder and its network; everything else runs inside that network, by the interpreter that it returns.
"""
from __future__ import annotations

import inspect
import os
import subprocess
import sys
import time
from contextlib import closing

from ..durable import write_private
from ..errors import RecoveryError
from ..postgres.connection import Server, connect, query, sql
from ..postgres.process import ToolFailed, run_tool
from ..processes import identity
from ..runtime.first_database import prepare
from . import blank, confine, folder, model, programs

LOOPBACK = "127.0.0.1"
ROLE = DATABASE = "letta"
SUPERUSER = "postgres"
START_SECONDS = 60
PORTS = {"postgres": 5432, "redis": 6379, "model": 8399, "letta": 8283}


def make(base, name, isolated=True, lifetime=86400):
    """Make the folder and, isolated, the network.

    :param base: folder to make it in. :param name: of the system, see :func:`.folder.path_of`.
    :param lifetime: seconds after which the network ends by itself.
    :returns: dict: ``path``, ``python`` (what runs modules inside), ``backup_root`` (empty, for sets and runs), ``isolated``.
    :raises RecoveryError: ``preflight``; nothing is left then.
    """
    path = folder.make(base, name)
    try:
        facts = folder.facts_of(path)
        if isolated:
            facts["holder"] = confine.begin(path, lifetime)
            folder.keep(path, facts)
        root = os.path.join(path, "sets")
        os.mkdir(root, 0o700)
        python = confine.interpreter(os.path.join(path, "python"), facts["holder"])
    except BaseException:
        folder.remove(path)
        raise
    return {"path": path, "python": python, "backup_root": root, "isolated": isolated}


def start(path, passwords, ports=None, bin_dir=""):
    """Start PostgreSQL, a Redis-compatible server where this host has one, and the fake model service; make an empty Letta database.

    :param path: of :func:`make`. :param passwords: of ``postgres`` and ``letta``. :param ports: see :data:`PORTS`.
    :param bin_dir: PostgreSQL's server programs; empty finds the newest that has pgvector.
    :returns: dict: ``postgresql`` (version), ``redis`` (program, empty where there is none), ``ports``.
    :raises RecoveryError: ``preflight``.
    """
    ports = {**PORTS, **(ports or {})}
    version = _start_postgres(path, programs.postgres(bin_dir), ports["postgres"], passwords)
    redis = programs.redis()
    if redis:
        _start_redis(path, redis, ports["redis"])
    _start_model(path, ports["model"])
    return {"postgresql": version, "redis": redis, "ports": ports}


def remember(path, pid):
    """Write down a process of the system before it is relied on."""
    facts = folder.facts_of(path)
    facts["processes"].append(identity(pid))
    folder.keep(path, facts)


def spawn(path, name, argv, env=None):
    """Start a program that goes on when this one ends, its output in ``<name>.log``; returns the process."""
    with open(os.path.join(path, name + ".log"), "ab", opener=lambda where, flags: os.open(where, flags, 0o600)) as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=path, start_new_session=True, env=env
        )
    remember(path, process.pid)
    return process


def tail(path, name, characters=600):
    """Return the end of a program's output."""
    try:
        with open(os.path.join(path, name + ".log"), "rb") as stream:
            return stream.read()[-characters:].decode("utf-8", "replace").strip()
    except OSError:
        return ""


def not_started(path, name, why):
    """Return the error of a program that did not come up."""
    said = tail(path, name)
    return RecoveryError(
        "preflight", "the rehearsal's %s did not start: %s" % (name, why + (": " + said if said else "")),
        now="nothing but the rehearsal's own folder %s was written" % path, next_step="see above; the folder goes with the rehearsal",
    )  # fmt: skip


def _start_postgres(path, bin_dir, port, passwords):
    data, password_file = os.path.join(path, "postgres"), os.path.join(path, "initdb.password")
    write_private(password_file, passwords[SUPERUSER].encode())
    argv = [os.path.join(bin_dir, "initdb"), "--pgdata", data, "--username", SUPERUSER, "--pwfile", password_file, "--no-sync"]
    argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
    try:
        run_tool(confine.inside(None, argv, as_server=True), timeout=START_SECONDS)
    except ToolFailed as exc:
        raise not_started(path, "postgresql", "initdb: %s" % exc) from None
    finally:
        os.unlink(password_file)
    settings = {
        "listen_addresses": LOOPBACK, "port": port, "unix_socket_directories": "", "max_connections": 200, "max_wal_size": "4GB",
        "huge_pages": "off", blank.MARK: os.path.basename(path),
    }  # fmt: skip
    with open(os.path.join(data, "postgresql.conf"), "a", encoding="utf-8") as out:
        out.writelines("%s = '%s'\n" % pair for pair in settings.items())
    argv = [os.path.join(bin_dir, "postgres"), "-D", data]
    process = spawn(path, "postgresql", confine.inside(None, argv, as_server=True))
    server = Server(LOOPBACK, port, SUPERUSER, passwords[SUPERUSER], "postgres", sslmode="disable")
    _wait(path, "postgresql", process, lambda: query(server, "SELECT 1"))
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(ROLE), sql.Literal(passwords[ROLE])))
        cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(*map(sql.Identifier, (DATABASE, ROLE))))
        cursor.execute("SHOW server_version")
        version = cursor.fetchone()[0].split()[0]
    prepare(server.database(DATABASE))
    with closing(connect(server.database(DATABASE))) as conn, conn.cursor() as cursor:
        # Made by the superuser, who may create the extension; Letta's role owns it as in production.
        cursor.execute(sql.SQL("ALTER SCHEMA {} OWNER TO {}").format(sql.Identifier(DATABASE), sql.Identifier(ROLE)))
    return version


def _start_redis(path, program, port):
    lines = ["bind %s" % LOOPBACK, "port %d" % port, "dir %s" % path, "daemonize no", 'save ""', "appendonly no"]
    config = os.path.join(path, "redis.conf")
    write_private(config, ("\n".join(lines) + "\n").encode())
    process = spawn(path, "redis", [program, config])
    _wait(path, "redis", process, lambda: programs.answers(port))


def _start_model(path, port):
    source = os.path.join(path, "model.py")
    # Imported, so that it travels with whatever imports this.
    write_private(source, inspect.getsource(model).encode())
    process = spawn(path, "model", [sys.executable, "-I", source, LOOPBACK, str(port)])
    _wait(path, "model", process, lambda: programs.answers(port))


def _wait(path, name, process, ready):
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if ready():
                return
        except RecoveryError:
            pass  # until the deadline; the log then tells why
        time.sleep(0.05)
    ended = process.poll()
    raise not_started(path, name, "no answer in %d s" % START_SECONDS if ended is None else "it ended with status %d" % ended)
