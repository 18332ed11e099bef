# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis after a restore: Letta's keys speak of a database that is not the live one any more, and are dropped; nobody else's are.

The whole database is walked with SCAN and keys go with UNLINK, both in bounded batches: memory stays flat, and a server that
others use too answers them in between.
"""
from __future__ import annotations

import time
from contextlib import closing, contextmanager
from typing import Any

from ..errors import RecoveryError
from ..letta import redis_keys

REDIS_IMPORT_ERROR = None
try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as exc:
    redis = None  # type: ignore[assignment]
    REDIS_IMPORT_ERROR = exc

BATCH = 1000
NO_LIMIT = redis_keys.Only()
_GRANT = "allow it +scan +unlink +getrange +dbsize +info +select +client|list +client|id on all keys, or give another user"
_OR_TLS = ", or whether it wants letta_redis_tls"


def align(server, only=NO_LIMIT, check=False):
    """Drop Letta's keys.

    :param server: a :class:`~..redisserver.RedisServer`. :param only: the agents, conversations and runs whose keys go alone.
    :param check: True to count and drop nothing.
    :returns: {"changed", "address", "dropped", "kept" (keys that are there afterwards), "classes" {class: {"dropped", "kept"}},
        "client_id" (of this connection: later ones have higher numbers), "seconds"}.
    :raises RecoveryError: ``preflight`` with one sentence on what Redis refused.
    """
    began = time.monotonic()
    counts = {name: {"dropped": 0, "kept": 0} for name in redis_keys.CLASSES}
    with opened(server) as client:
        for keys in _batches(client):
            _align_batch(client, keys, only, check, counts)
        dropped = sum(count["dropped"] for count in counts.values())
        left = client.dbsize() - (dropped if check else 0)
        client_id = client.client_id()
    # SCAN may tell a key twice while tables are resized; what is left is asked, and not summed up.
    lettas = sum(count["kept"] for name, count in counts.items() if name != redis_keys.FOREIGN)
    counts[redis_keys.FOREIGN]["kept"] = max(left - lettas, 0)
    return {
        "changed": dropped > 0,
        "address": server.address,
        "dropped": dropped,
        "kept": max(left, 0),
        "classes": counts,
        "client_id": client_id,
        "seconds": round(time.monotonic() - began, 3),
    }


def _batches(client):
    cursor = None
    while cursor != 0:
        cursor, keys = client.scan(cursor or 0, count=BATCH)
        for start in range(0, len(keys), BATCH):
            yield keys[start : start + BATCH]


def _align_batch(client, keys, only, check, counts):
    values = _values(client, [key for key in keys if redis_keys.needs_value(key)])
    going = {}
    for key in set(keys):
        key_class, identity = redis_keys.classify(key, values.get(key))
        if redis_keys.is_dropped(key_class, identity, only):
            going.setdefault(key_class, []).append(key)
        else:
            counts[key_class]["kept"] += 1
    for key_class, mine in going.items():
        counts[key_class]["dropped"] += len(mine) if check else client.unlink(*mine)


def _values(client, keys):
    """Return {key: the beginning of its value}; keys that hold no string are left out."""
    if not keys:
        return {}
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.getrange(key, 0, redis_keys.VALUE_LENGTH - 1)
    found = pipe.execute(raise_on_error=False)
    for value in found:
        if isinstance(value, redis.exceptions.NoPermissionError):
            raise value
    return {key: value for key, value in zip(keys, found) if isinstance(value, bytes)}


@contextmanager
def opened(server):
    """Yield a client (answers in bytes) of a server that can be aligned; what goes wrong in the block is told in one sentence.

    :raises RecoveryError: ``preflight``.
    """
    try:
        with closing(_client(server)) as client:
            _check_role(client, server)
            yield client
    except (redis.RedisError, OSError, ValueError) as error:
        raise _refused(server, *_reason(server, error)) from None


def _client(server):
    options: dict[str, Any] = {"username": server.user or None, "password": server.password or None}
    if server.tls:
        options.update(ssl=True, ssl_cert_reqs="required", ssl_check_hostname=True, ssl_ca_certs=server.tls_ca or None)
    options.update(socket_timeout=server.timeout, socket_connect_timeout=server.timeout, single_connection_client=True)
    # The library's own retries would multiply the time-out, and Letta's servers are down meanwhile.
    return redis.Redis(server.host, server.port, db=server.database, retry=Retry(NoBackoff(), 0), **options)


def _check_role(client, server):
    facts = client.info()
    if facts.get("cluster_enabled"):
        raise _refused(
            server,
            "is a node of a Redis cluster, and Letta (up to 0.16.8) cannot use one",
            "give letta_redis_host the single server that LETTA_REDIS_HOST names",
        )
    if facts.get("role") not in ("master", None):
        primary = "%s:%s" % (facts.get("master_host"), facts.get("master_port"))
        raise _refused(server, "is a replica of %s and takes no changes" % primary, "give letta_redis_host the primary, %s" % primary)


def _reason(server, error):
    """Return (what is wrong, what to do) in words of an operator; the library's own text holds no secret."""
    told, kinds = str(error).strip() or type(error).__name__, redis.exceptions
    rules = (
        (isinstance(error, kinds.AuthenticationError) or told.startswith(("NOAUTH", "WRONGPASS")), _of_password(server, told)),
        (isinstance(error, kinds.NoPermissionError), ("does not let this user do it (%s)" % told, _GRANT)),
        (isinstance(error, kinds.BusyLoadingError), ("is loading its data and answers nobody yet", "wait until it is up")),
        (
            "SSL" in told or "certificate" in told.lower(),
            ("cannot be talked to through TLS (%s)" % told, "check letta_redis_tls, letta_redis_ca_cert and the name in its certificate"),
        ),
        (
            isinstance(error, (kinds.TimeoutError, kinds.ConnectionError, OSError)),
            ("does not answer (%s)" % told, "look whether it runs and is reached from this host%s" % ("" if server.tls else _OR_TLS)),
        ),
        (
            "DB index" in told,
            ("has no database %d (%s)" % (server.database, told), "check letta_redis_database; Letta up to 0.16.8 uses 0"),
        ),
    )
    return next((words for fits, words in rules if fits), ("refuses (%s)" % told, "look into its log"))


def _of_password(server, told):
    if not server.password:
        return "wants a password", "set letta_redis_password"
    return "refuses letta_redis_password (%s)" % told, "compare letta_redis_user and letta_redis_password with its configuration"


def _refused(server, reason, hint):
    return RecoveryError(
        "preflight",
        "Redis %s %s" % (server.address, reason),
        now="Letta's keys are still in Redis, some of them at least; no database was touched by this step",
        next_step=hint,
    )
