"""A streaming standby of an :class:`.postgres.EmbeddedPostgres`, and the failover to it: the same address, another server behind it."""
from __future__ import annotations

import signal

from . import places
from .postgres import EmbeddedPostgres


class Standby(EmbeddedPostgres):
    """Follows a running primary from its first start on; asynchronously, as most standbys do.

    :param primary: the server it follows. :param base_dir: folder for its own cluster.
    """

    def __init__(self, primary, base_dir, **options):
        super().__init__(base_dir, superuser_password=primary.superuser_password, fsync=False, **options)
        self._primary = primary

    def _fill(self, folder, password):
        argv = [str(self._server_bin_dir / "pg_basebackup"), "-D", str(folder), "-R", "--checkpoint=fast", "--no-sync"]
        argv += ["-h", places.LOOPBACK, "-p", str(self._primary.port), "-U", self.superuser]
        self._run(argv, PGPASSWORD=password)

    def follow(self, timeout=30):
        """Wait until everything that the primary has written is here too."""
        (wanted,) = self._primary.execute("SELECT pg_current_wal_lsn()")[0]
        caught_up = "SELECT coalesce(pg_last_wal_replay_lsn() >= %s, false)"
        if not places.wait_for(lambda: self.execute(caught_up, params=(wanted,)) == [(True,)], timeout):
            raise RuntimeError("the standby did not reach %s in %d s" % (wanted, timeout))

    def pause(self):
        """Let nothing arrive any more that the primary writes from now on.

        The receiver of the log is stopped, not the replay: what was received is replayed by a promotion.
        """
        self.execute("ALTER SYSTEM SET primary_conninfo = ''")
        self.execute("SELECT pg_reload_conf()")
        if not places.wait_for(lambda: self.execute("SELECT count(*) FROM pg_stat_wal_receiver") == [(0,)], 10):
            raise RuntimeError("the standby still receives")

    def take_over(self):
        """Kill the primary, be promoted, and answer at the primary's address."""
        port = self._primary.port
        self._primary.kill(signal.SIGKILL)
        self.execute("SELECT pg_promote(true, 60)")
        self.stop()
        self._port = port
        self.start()
