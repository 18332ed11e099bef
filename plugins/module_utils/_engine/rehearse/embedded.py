# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away system of programs of this host, in a network of its own with nothing but loopback in it.

:meth:`EmbeddedStand.make` lays out the folder and its network; everything else runs inside that network, by the interpreter it returns.
"""
from __future__ import annotations

import glob
import inspect
import os
import subprocess
import sys
import time

from ..durable import write_private
from ..errors import RecoveryError
from ..postgres.connection import Server, query
from ..postgres.process import ToolFailed, run_tool
from ..processes import identity
from ..runtime.api import Api
from . import confine, folder, model, programs, serving, stand
from .stand import LOOPBACK, START_SECONDS, SUPERUSER


class EmbeddedStand(stand.Stand):
    """See :class:`~.stand.Stand`.

    :param isolated: give it a network of its own. :param bin_dir: PostgreSQL's server programs; empty finds the newest that has pgvector.
    """

    def __init__(self, base, name="", ports=None, isolated=True, bin_dir=""):
        super().__init__(base, name, ports)
        self.isolated, self.bin_dir = isolated, bin_dir

    def make(self, lifetime=86400):
        path = folder.make(self.base, self.name)
        try:
            facts = folder.facts_of(path)
            if self.isolated:
                facts["holder"] = confine.begin(path, lifetime)
                folder.keep(path, facts)
            python = confine.interpreter(os.path.join(path, "python"), facts["holder"])
            root, volumes = folder.sets_of(path), folder.volumes_of(path)
        except BaseException:
            folder.remove(path)
            raise
        return {"path": path, "python": python, "backup_root": root, "volume_root": volumes, "address": LOOPBACK, "letta_version": "",
                "container": "", "alembic_command": []}  # fmt: skip

    def start(self, passwords):
        version = self._start_postgres(programs.postgres(self.bin_dir), passwords)
        redis = programs.redis()
        if redis:
            self._start_redis(redis)
        self._start_model()
        return {"postgresql": version, "redis": redis, "ports": self.ports}

    def serve(self, letta):
        env = {**serving.environment(self.ports, letta), "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.path.join(self.path, "home"),
               "LANG": "C.UTF-8", "TOOL_EXEC_DIR": "~/tool_execution", **serving.plain(letta.more)}  # fmt: skip
        os.makedirs(env["HOME"], 0o700, exist_ok=True)
        began, port = time.monotonic(), self.ports["letta"]
        argv = [*letta.command, "--host", LOOPBACK, "--port", str(port)]
        try:
            process = self._spawn("letta", argv, {**offline_data(letta.command), **env})
        except OSError as exc:
            raise stand.wrong("Letta cannot be started: %s: %s" % (letta.command[0], exc.strerror)) from None
        url, health = "http://%s:%d" % (LOOPBACK, port), None
        api = Api(url, letta.token, timeout=20)
        while process.poll() is None and time.monotonic() < began + letta.timeout:
            health = api.health()
            if health.ok:
                stand.check_version(health.version, letta.version)
                return {"url": url, "version": health.version, "seconds": round(time.monotonic() - began, 1)}
            time.sleep(0.25)
        ended = "it ended with status %s" % process.poll() if process.poll() is not None else "not ready after %d s" % letta.timeout
        said = serving.without_secrets(self._tail("letta"), env, letta)
        raise stand.not_serving("%s; %s" % (ended, health.detail if health else "never asked"), said)

    def remove(self):
        return folder.remove(self.path)

    def reap(self, max_age):
        return folder.reap(self.base, max_age)

    # -- programs -------------------------------------------------------------------------------------------

    def _spawn(self, name, argv, env=None):
        """Start a program that goes on when this one ends, its output in ``<name>.log``; returns the process."""
        with open(os.path.join(self.path, name + ".log"), "ab", opener=lambda where, flags: os.open(where, flags, 0o600)) as log:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.path, start_new_session=True, env=env
            )
        # Written down before it is relied on.
        facts = folder.facts_of(self.path)
        facts["processes"].append(identity(process.pid))
        folder.keep(self.path, facts)
        return process

    def _tail(self, name, characters=600):
        try:
            with open(os.path.join(self.path, name + ".log"), "rb") as stream:
                return stream.read()[-characters:].decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def _not_started(self, name, why):
        said = self._tail(name)
        return RecoveryError(
            "preflight", "the rehearsal's %s did not start: %s" % (name, why + (": " + said if said else "")),
            now="nothing but the rehearsal's own folder %s was written" % self.path,
            next_step="see above; the folder goes with the rehearsal",
        )  # fmt: skip

    def _start_postgres(self, bin_dir, passwords):
        data, password_file = os.path.join(self.path, "postgres"), os.path.join(self.path, "initdb.password")
        write_private(password_file, passwords[SUPERUSER].encode())
        argv = [os.path.join(bin_dir, "initdb"), "--pgdata", data, "--username", SUPERUSER, "--pwfile", password_file, "--no-sync"]
        argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
        try:
            run_tool(confine.inside(None, argv, as_server=True), timeout=START_SECONDS)
        except ToolFailed as exc:
            raise self._not_started("postgresql", "initdb: %s" % exc) from None
        finally:
            os.unlink(password_file)
        port = self.ports["postgres"]
        settings = {**stand.settings_of(self.name), "listen_addresses": LOOPBACK, "port": port, "unix_socket_directories": ""}
        with open(os.path.join(data, "postgresql.conf"), "a", encoding="utf-8") as out:
            out.writelines("%s = '%s'\n" % pair for pair in settings.items())
        process = self._spawn("postgresql", confine.inside(None, [os.path.join(bin_dir, "postgres"), "-D", data], as_server=True))
        server = Server(LOOPBACK, port, SUPERUSER, passwords[SUPERUSER], "postgres", sslmode="disable")
        self._wait("postgresql", process, lambda: query(server, "SELECT 1"))
        return stand.furnish(server, passwords)

    def _start_redis(self, program):
        port = self.ports["redis"]
        lines = ["bind %s" % LOOPBACK, "port %d" % port, "dir %s" % self.path, "daemonize no", 'save ""', "appendonly no"]
        config = os.path.join(self.path, "redis.conf")
        write_private(config, ("\n".join(lines) + "\n").encode())
        process = self._spawn("redis", [program, config])
        self._wait("redis", process, lambda: programs.answers(port))

    def _start_model(self):
        source = os.path.join(self.path, "model.py")
        # Imported, so that it travels with whatever imports this.
        write_private(source, inspect.getsource(model).encode())
        process = self._spawn("model", [sys.executable, "-I", source, LOOPBACK, str(self.ports["model"])])
        self._wait("model", process, lambda: programs.answers(self.ports["model"]))

    def _wait(self, name, process, ready):
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if ready():
                    return
            except RecoveryError:
                pass  # until the deadline; the log then tells why
            time.sleep(0.05)
        ended = process.poll()
        raise self._not_started(name, "no answer in %d s" % START_SECONDS if ended is None else "it ended with status %d" % ended)


def offline_data(command):
    """Return the settings by which a Letta out of a virtual environment finds word lists that it would else download.

    :param command: how it is started; its first word lies in the environment's ``bin``.
    """
    above = os.path.dirname(os.path.dirname(command[0]))
    static = glob.glob(os.path.join(glob.escape(above), "lib", "python3*", "site-packages", "llama_index", "core", "_static"))
    if not static:
        return {}
    return {"TIKTOKEN_CACHE_DIR": os.path.join(static[0], "tiktoken_cache"), "NLTK_DATA": os.path.join(static[0], "nltk_cache")}
