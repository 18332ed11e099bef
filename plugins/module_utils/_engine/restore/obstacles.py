# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands against a restore here, apart from its schema: key, server, extensions, role, disk. Pure."""
from __future__ import annotations

from ..errors import RecoveryError
from ..letta import secrets as letta_secrets
from ..progress import human_bytes
from . import replicas

HEADROOM = 1.2  # the side database needs room for its WAL and for sorting indexes


def check_key(manifest, options):
    """Refuse a key that is not the one of the backup. :raises RecoveryError: ``key_mismatch``."""
    saved, key = manifest.get("encryption_key"), options.get("encryption_key")
    if saved and key and not letta_secrets.matches(key, saved):
        raise RecoveryError(
            "key_mismatch",
            "letta_encryption_key is not the key that %s was taken under" % manifest["id"],
            next_step="give the LETTA_ENCRYPTION_KEY of the time of the backup; agents with secrets answer 400 under another key",
        )


def check_server(manifest, target):
    """Refuse a standby, an older PostgreSQL and missing extensions. :raises RecoveryError: ``schema`` or ``preflight``."""
    replicas.refuse_standby(target)
    dumped, here = manifest["postgresql"].get("server_version_num") or 0, target["server_version_num"]
    if dumped // 10000 > here // 10000:
        raise RecoveryError(
            "schema",
            "the dump was taken from PostgreSQL %d, this server is %s: PostgreSQL restores forward only"
            % (dumped // 10000, target["server_version"]),
            next_step="restore into PostgreSQL %d or newer" % (dumped // 10000),
        )
    check_vectors(manifest, (target["live"] or {}).get("vector_probe"))
    for extension in manifest["database"].get("extensions") or []:
        name = extension["name"]
        if name == "plpgsql":
            continue
        found = target["extensions"].get(name)
        if found is None:
            raise RecoveryError(
                "schema",
                "extension %s is not installed on the server, the backup needs it" % name,
                next_step="install it (Debian: postgresql-%d-pgvector) and run again" % (here // 10000),
            )
        if not found["trusted"] and not target["role"]["superuser"]:
            raise RecoveryError(
                "preflight",
                "role %s may not create extension %s (it is not trusted on this server)" % (target["role"]["name"], name),
                next_step="set letta_db_admin_user to a superuser, or mark the extension trusted in its control file",
            )


def check_vectors(manifest, probe):
    """Refuse a server whose vectors have another binary form. :raises RecoveryError: ``schema``.

    :param probe: of :func:`segments.probe` on it, None when nothing of it has vectors yet: then it is told after the side
        database was made.
    """
    saved = (manifest["database"].get("segments") or {}).get("probe")
    if saved and probe and saved != probe:
        raise RecoveryError(
            "schema",
            "%s has its vectors in the binary form of another pgvector than this server's" % manifest["id"],
            next_step="restore it to a server with pgvector %s, or take a set with letta_backup_vectors=text there"
            % (manifest["postgresql"].get("pgvector") or "of the backup"),
        )


def check_role(target, options):
    """Refuse a role without the grants, naming them. :raises RecoveryError: ``preflight``."""
    role, live = target["role"], target["live"]
    grant = None
    if not target["owner_exists"]:
        reason = "Letta's role %s does not exist on the server" % target["owner"]
        grant = "CREATE ROLE %s LOGIN PASSWORD '…'" % target["owner"]
    elif not (role["superuser"] or role["createdb"]):
        reason, grant = "role %s may not create databases" % role["name"], "ALTER ROLE %s CREATEDB" % role["name"]
    elif not role["may_set_owner"]:
        reason, grant = (
            "role %s may not give a database to %s" % (role["name"], target["owner"]),
            "GRANT %s TO %s" % (target["owner"], role["name"]),
        )
    elif live and not live["may_rename"]:
        reason, grant = (
            "role %s may not rename %s, which belongs to %s" % (role["name"], options["database"], live["owner"]),
            "GRANT %s TO %s" % (live["owner"], role["name"]),
        )
    if grant:
        raise RecoveryError("preflight", reason, next_step="as a superuser: %s; or set letta_db_admin_user" % grant)


def check_disk(manifest, target, options):
    """Return ``{need_bytes, free_bytes}`` (free None when unknown). :raises RecoveryError: ``preflight`` when it does not fit."""
    need = int((manifest["database"].get("size_bytes") or 0) * HEADROOM)
    free = target["free_bytes"]
    if options["mode"] == "in_place" and target["live"]:
        need = max(0, need - (target["live"]["size_bytes"] or 0))
    if free is not None and need > free:
        raise RecoveryError(
            "preflight",
            "the disk of %s has %s free, the side database needs %s" % (options["host"], human_bytes(free), human_bytes(need)),
            next_step="free room there, or -e letta_restore_mode=in_place (takes a safety dump, longer downtime)",
        )
    return {"need_bytes": need, "free_bytes": free}
