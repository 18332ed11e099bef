"""A real network store for tests: ``rclone serve`` on loopback, with a password, that can be stopped, stalled and damaged."""
from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import rclone

PASSWORD = "st0re's $(pass) {{ word }}"


class Served:
    """A folder served over WebDAV as the remote ``store:`` of a configuration file."""

    def __init__(self, folder, work):
        self.folder, self.work, self.process = Path(folder), Path(work), None
        self.work.mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.config = str(self.work / "rclone.conf")
        self.configure(PASSWORD)

    def configure(self, password):
        """Write the configuration with a password, right or wrong."""
        hidden = subprocess.run([rclone.find(), "obscure", "-"], input=password, capture_output=True, text=True, check=True).stdout.strip()
        text = "[store]\ntype = webdav\nurl = http://127.0.0.1:%d\nvendor = rclone\nuser = letta\npass = %s\n" % (self.port, hidden)
        Path(self.config).write_text(text, encoding="utf-8")
        os.chmod(self.config, 0o600)

    def start(self):
        """Serve until :meth:`stop`; returns self."""
        env = dict(os.environ, RCLONE_USER="letta", RCLONE_PASS=PASSWORD, RCLONE_CONFIG=str(self.work / "none"))
        with open(self.work / "log", "ab") as log:
            self.process = subprocess.Popen(
                [rclone.find(), "serve", "webdav", "--addr", "127.0.0.1:%d" % self.port, str(self.folder)], env=env, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return self
            time.sleep(0.05)
        raise AssertionError((self.work / "log").read_text(encoding="utf-8"))

    def stop(self):
        """End the server; what it was sending breaks off."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    def stall(self):
        """Let it hold its connections and answer nothing."""
        self.process.send_signal(signal.SIGSTOP)
