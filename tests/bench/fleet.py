"""``make bench-fleet``: several Letta systems of one inventory restored by one run, on one machine; how far that is from one alone."""
from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from tests.bench import ROOT, data
from tests.bench.target import ANSIBLE_PLAYBOOK
from tests.lab.postgres import EmbeddedPostgres


def arguments(argv=None):
    """Return the parsed options."""
    parser = argparse.ArgumentParser(prog="make bench-fleet", description=__doc__)
    parser.add_argument("--size", type=float, default=100, help="MB of the database of one system (%(default)s)")
    parser.add_argument("--systems", default="1,4,8", help="how many systems, each of these (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of every measurement (%(default)s)")
    parser.add_argument("--folder", type=Path, default=ROOT / ".lab" / "bench-fleet", help="where server and sets live (%(default)s)")
    return parser.parse_args(argv)


def main(argv=None):
    """Measure and print; returns the exit status."""
    options = arguments(argv)
    numbers = sorted({int(number) for number in options.systems.split(",")} | {1})
    shutil.rmtree(options.folder, ignore_errors=True)
    postgres = EmbeddedPostgres(options.folder, settings={"max_wal_size": "8GB", "checkpoint_timeout": "30min"})
    try:
        postgres.start()
        fleet = Fleet(postgres, options.folder / "systems", options.size, max(numbers))
        samples = {number: [] for number in numbers}
        for _round in range(options.rounds):
            for number in numbers:
                samples[number].append(fleet.restore(number))
    finally:
        postgres.destroy()
        shutil.rmtree(options.folder, ignore_errors=True)
    print(table(samples, options.size))
    return 0


def table(samples, size):
    """Return the result as Markdown. The share is the time over that of one system, times their number, over the cores."""
    cores, alone = os.cpu_count() or 1, statistics.median(samples[1])
    lines = ["%d cores, %g MB each, %d rounds" % (cores, size, len(samples[1])), ""]
    lines += ["| systems | seconds (all rounds) | of one, times their number, over the cores |", "| --- | --- | --- |"]
    for number, seconds in samples.items():
        share = statistics.median(seconds) / (alone * number / cores)
        lines.append("| %d | %.1f (%s) | %.2f |" % (number, statistics.median(seconds), ", ".join("%.1f" % one for one in seconds), share))
    return "\n".join(lines)


class Fleet:
    """Systems with a database, a store and a set each, on one server."""

    def __init__(self, postgres, folder, size, number):
        self.postgres, self.folder, self.password = postgres, Path(folder), secrets.token_urlsafe(12)
        self.names = ["fleet%02d" % place for place in range(number)]
        data.make_database(postgres, self.names[0], self.password, size)
        server = postgres.server()
        for name in self.names:
            if name != self.names[0]:
                postgres.clone_database(name, self.names[0], password=self.password)
            root = self.folder / name
            root.mkdir(mode=0o700, parents=True)
            take.take_backup(take.BackupOptions(server=server.database(name), root=str(root), bin_dir=str(postgres.bin_dir)))

    def restore(self, number):
        """Restore the first ``number`` systems in one run; returns its seconds."""
        names = self.names[:number]
        for (name,) in self.postgres.execute("SELECT datname FROM pg_database WHERE datname LIKE 'fleet%%\\_\\_%%'"):
            self.postgres.drop_database(name)
        self.postgres.execute("CHECKPOINT")
        began = time.perf_counter()
        argv = [ANSIBLE_PLAYBOOK, "-i", str(self._inventory(names)), str(ROOT / "playbooks" / "restore-full.yml"), "--forks", str(number)]
        argv += ["-e", "letta_confirm={{ inventory_hostname }}/{{ letta_db_name }} letta_restore_force=true"]
        env = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"))
        done = subprocess.run(argv, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError("restore-full.yml failed:\n%s" % (done.stdout + done.stderr)[-4000:])
        return seconds

    def _inventory(self, names):
        server = self.postgres.server()
        hosts = {
            name: {
                "ansible_connection": "local", "ansible_python_interpreter": sys.executable, "letta_deployment": name,
                "letta_db_host": server.host, "letta_db_port": server.port, "letta_db_name": name, "letta_db_user": "letta",
                "letta_db_password": self.password, "letta_db_admin_user": server.user, "letta_db_admin_password": server.password,
                "letta_backup_root": str(self.folder / name), "letta_report_dir": str(self.folder / "reports" / name),
            }
            for name in names
        }  # fmt: skip
        path = self.folder / "hosts.json"
        path.write_text(json.dumps({"letta_database": {"hosts": hosts}}), encoding="utf-8")
        return path


if __name__ == "__main__":
    sys.exit(main())
