"""The lasting lab of one folder: PostgreSQL and Redis with ports and passwords remembered in ``lab.json``."""
from __future__ import annotations

import json
import secrets
from pathlib import Path

from . import places
from .postgres import EmbeddedPostgres
from .valkey import EmbeddedValkey

DATABASE = "letta"
ROLE = "letta"


class Stand:
    """What ``python -m tests.lab up`` starts and ``down`` stops.

    :param folder: ``lab.json``, ``inventory-vars.yml``, the servers' files and ``backups/`` live here.
    """

    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        self._facts_file = self.folder / "lab.json"
        self.vars_file = self.folder / "inventory-vars.yml"
        self.backup_root = self.folder / "backups"

    def up(self):
        """Start what does not run; returns True when something had to be started."""
        places.make_folder(self.folder)
        self.backup_root.mkdir(mode=0o700, exist_ok=True)
        with places.locked(self.folder / "lab.lock"):
            facts = self._facts()
            postgres, valkey = self._servers(facts)
            changed = not (postgres.running() and valkey.running())
            postgres.start()
            valkey.start()
            # No database: a restore into a fresh cluster creates it, as the superuser.
            postgres.ensure_role(ROLE, facts["letta_password"])
            facts["superuser_password"] = postgres.superuser_password
            places.secret_file(self._facts_file, json.dumps(facts, indent=1) + "\n")
            self._write_vars(facts)
        return changed

    def down(self, remove=False):
        """Stop both servers; ``remove`` also deletes their files (never the backups)."""
        if not self._facts_file.exists():
            return False
        with places.locked(self.folder / "lab.lock"):
            servers = self._servers(self._facts())
            was_running = any(server.running() for server in servers)
            for server in servers:
                server.destroy() if remove else server.stop()
            if remove:
                self._facts_file.unlink()
                self.vars_file.unlink(missing_ok=True)
        return was_running

    def status(self):
        """Return {server: "running on port N" | "stopped"}."""
        if not self._facts_file.exists():
            return {"postgresql": "stopped", "redis": "stopped"}
        facts = self._facts()
        names = (("postgresql", "pg_port"), ("redis", "redis_port"))
        return {
            name: "running on %s:%d" % (places.LOOPBACK, facts[port]) if server.running() else "stopped"
            for (name, port), server in zip(names, self._servers(facts))
        }

    def postgres(self):
        """Return the stand's PostgreSQL."""
        return self._servers(self._facts())[0]

    def valkey(self):
        """Return the stand's Redis-compatible server."""
        return self._servers(self._facts())[1]

    def letta_password(self):
        return self._facts()["letta_password"]

    def variables(self):
        """Return the inventory variables that lead to this lab."""
        facts = self._facts()
        return {
            "letta_db_host": places.LOOPBACK,
            "letta_db_port": facts["pg_port"],
            "letta_db_name": DATABASE,
            "letta_db_user": ROLE,
            "letta_db_password": facts["letta_password"],
            "letta_db_admin_user": EmbeddedPostgres.superuser,
            "letta_db_admin_password": facts["superuser_password"],
            "letta_redis_host": places.LOOPBACK,
            "letta_redis_port": facts["redis_port"],
            "letta_redis_password": facts["redis_password"],
            "letta_backup_root": str(self.backup_root),
        }

    def _facts(self):
        if self._facts_file.exists():
            return json.loads(self._facts_file.read_text(encoding="utf-8"))
        facts = {"pg_port": places.free_port(), "redis_port": places.free_port()}
        facts.update({name: secrets.token_urlsafe(18) for name in ("superuser_password", "letta_password", "redis_password")})
        places.secret_file(self._facts_file, json.dumps(facts, indent=1) + "\n")
        return facts

    def _servers(self, facts):
        postgres = EmbeddedPostgres(self.folder, facts["pg_port"], facts["superuser_password"])
        return postgres, EmbeddedValkey(self.folder, facts["redis_port"], facts["redis_password"])

    def _write_vars(self, facts):
        lines = ["---", "# Written by `python -m tests.lab up`; holds the passwords of this lab."]
        lines += ["%s: %s" % (name, json.dumps(value)) for name, value in self.variables().items()]
        places.secret_file(self.vars_file, "\n".join(lines) + "\n")
