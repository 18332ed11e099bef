# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module of the collection shares: login options, one engine call, honest errors.

A module's ``main()`` is: build an ``AnsibleModule`` from :func:`login_argument_spec` and its own
options, then ``run(module, function)`` where ``function(module)`` returns the result as a dict.
"""
from __future__ import annotations

import re
import traceback
from urllib.parse import unquote

from ansible.module_utils.basic import missing_required_lib

from .._engine.backup.trust import SCRATCH, Seal, Trust
from .._engine.errors import RecoveryError
from .._engine.postgres import connection
from .._engine.postgres.connection import Server
from .._engine.postgres.tools import tools_of_container
from .._engine.progress import Progress
from .._engine.redisserver import RedisServer

# Options whose values are wiped from whatever we print, on top of Ansible's own no_log.
_SECRET_OPTIONS = ("login_password", "login_uri", "owner_password", "encryption_key", "redis_password", "api_token", "identity",
                   "password")  # fmt: skip
_MASK = "********"


def login_argument_spec(**more):
    """Return the login options of every database module, plus ``more`` options of its own."""
    spec = dict(
        login_host=dict(type="str", default="localhost"),
        login_port=dict(type="int", default=5432),
        login_user=dict(type="str", default="postgres"),
        login_password=dict(type="str", no_log=True, default=""),
        login_db=dict(type="str"),
        login_uri=dict(type="str", no_log=True),
        ssl_mode=dict(type="str", default="prefer", choices=["allow", "disable", "prefer", "require", "verify-ca", "verify-full"]),
        ca_cert=dict(type="path", aliases=["ssl_rootcert"]),
        **tools_argument_spec(),
    )
    spec.update(more)
    return spec


def tools_argument_spec():
    """Return the options that say where PostgreSQL's client tools are; :func:`run` heeds those of the container."""
    return dict(bin_dir=dict(type="path"), db_container=dict(type="str"), docker_host=dict(type="str"))


def progress_argument_spec():
    """Return the option through which an action plugin follows a long module."""
    return dict(progress_file=dict(type="path"))


def trust_argument_spec():
    """Return the options of modules that read backup sets: who must have signed them, what opens them."""
    return dict(
        allowed_signers=dict(type="str", default=""),
        signer=dict(type="str", default=""),
        identity=dict(type="str", no_log=True, default=""),
        scratch_dir=dict(type="path", default=SCRATCH),
    )


def trust_from_params(params):
    """Build the :class:`Trust` of those options."""
    return Trust(params["allowed_signers"], params["signer"], params["identity"], params["scratch_dir"])


def choice_argument_spec():
    """Return the options of modules that choose a backup set for a target and keep a run on it."""
    return dict(
        backup_root=dict(type="path", required=True),
        host=dict(type="str", required=True),
        database=dict(type="str", required=True),
        owner=dict(type="str"),
        backup_id=dict(type="str", default="latest"),
        backup_max_age=dict(type="str"),
        backup_fallback=dict(type="str", choices=["latest", "always", "never"], default="latest"),
        stores=dict(type="list", elements="str", default=[]),
        rclone_config=dict(type="path"),
        store_timeout=dict(type="int", default=300),
        keep_previous=dict(type="int", default=604800),
        controller=dict(type="dict", default={}),
        proven_dead=dict(type="str", default=""),
    )


def seal_argument_spec():
    """Return the options of modules that make backup sets: how they are signed and encrypted."""
    return dict(
        signing_key=dict(type="str", no_log=False, default=""),
        recipients=dict(type="list", elements="str", default=[]),
        scratch_dir=dict(type="path", default=SCRATCH),
    )


def seal_from_params(params):
    """Build the :class:`Seal` of those options."""
    return Seal(params["signing_key"], tuple(params["recipients"]), params["scratch_dir"])


def api_argument_spec(**more):
    """Return the options of modules that go to a Letta server as a client, plus ``more``, its address among them."""
    return dict(api_token=dict(type="str", no_log=True), validate_certs=dict(type="bool", default=True), **more)


def redis_argument_spec(**more):
    """Return the options of modules that go to Redis, plus ``more``, which win."""
    spec = dict(
        redis_host=dict(type="str"),
        redis_port=dict(type="int", default=6379),
        redis_user=dict(type="str"),
        redis_password=dict(type="str", no_log=True),
        redis_tls=dict(type="bool", default=False),
        redis_ca_cert=dict(type="path"),
    )
    spec.update(more)
    return spec


def redis_from_params(params, **more):
    """Build the :class:`RedisServer` of those options; ``more`` are further fields of it."""
    user, password, authority = (params[name] or "" for name in ("redis_user", "redis_password", "redis_ca_cert"))
    return RedisServer(params["redis_host"], params["redis_port"], password, user, params["redis_tls"], authority, **more)


def require_redis(module, error):
    """End the module with what to install when the Python package redis is missing."""
    if error is not None:
        module.fail_json(
            msg=missing_required_lib("redis"),
            exception=str(error),
            failure_class="preflight",
            now="nothing was changed",
            next_step="install python3-redis 4.0 or newer for the interpreter Ansible uses on this host (ansible_python_interpreter)",
            details={},
        )


def server_from_params(params, dbname=None):
    """Build the :class:`Server` of the login options.

    :param params: ``module.params``.
    :param dbname: database to go to; else ``login_db``, else the one in ``login_uri``, else ``postgres``.
    :raises RecoveryError: ``usage`` when ``login_uri`` cannot be read.
    """
    database = dbname or params.get("login_db")
    if params.get("login_uri"):
        try:
            server = Server.from_uri(params["login_uri"])
        except ValueError:
            step = "postgresql://user:password@host:5432/database"
            raise RecoveryError("usage", "the port in login_uri is no number", next_step=step) from None
        return server.database(database) if database else server
    return Server(
        host=params["login_host"],
        port=params["login_port"],
        user=params["login_user"],
        password=params["login_password"] or "",
        dbname=database or "postgres",
        sslmode=params["ssl_mode"],
        sslrootcert=params["ca_cert"] or "",
    )


def progress_from_params(params):
    """Return the :class:`Progress` of option ``progress_file`` (silent when it is not set)."""
    return Progress(params.get("progress_file"))


def require_psycopg2(module):
    """End the module with what to install when psycopg2 is missing."""
    if connection.PSYCOPG2_IMPORT_ERROR is not None:
        module.fail_json(
            msg=missing_required_lib("psycopg2 (or psycopg2-binary)"),
            exception=str(connection.PSYCOPG2_IMPORT_ERROR),
            failure_class="preflight",
            now="nothing was changed",
            next_step="install python3-psycopg2 for the interpreter Ansible uses on this host (ansible_python_interpreter)",
            details={},
        )


def _connection_lost(module, exc):
    """Return the error of a connection to PostgreSQL that ended in mid-work, None when it is something else."""
    try:
        gone = connection.lost("PostgreSQL (%s)" % server_from_params(module.params), exc) if "login_host" in module.params else None
    except RecoveryError:
        return None
    return gone and gone.with_now("what was under way ended there: PostgreSQL takes back what was not committed")


def run(module, function, needs_database=True):
    """Call ``function(module)`` and end the module with its result.

    :param function: takes the module, returns the result dict (``changed`` defaults to False).
    :param needs_database: False for modules that work without psycopg2.

    A :class:`RecoveryError` ends in ``fail_json`` with ``msg`` (what failed, NOW, NEXT in readable
    lines) and the keys ``failure_class``, ``now``, ``next_step``, ``details``. Anything unforeseen
    ends in class ``manual_help_needed`` with the places it came through in ``details.where`` (ansible-core 2.19 drops
    tracebacks unless asked). Secrets are wiped from both.
    """
    if needs_database:
        require_psycopg2(module)
    try:
        with tools_of_container(module.params.get("db_container") or "", module.params.get("docker_host") or ""):
            result = function(module)
    except RecoveryError as exc:
        module.fail_json(**failure(exc, module.params))
    except Exception as exc:  # noqa: BLE001 (whatever happens, a module answers in JSON and without secrets)
        error = _connection_lost(module, exc) or RecoveryError(
            "manual_help_needed",
            "unforeseen %s: %s" % (type(exc).__name__, exc),
            now="unknown: the step was cut short by an error nobody planned for",
            next_step="report this, with details.where, as a fault of letta_ops.recovery",
            details={"where": ["%s:%d %s" % frame[:3] for frame in traceback.extract_tb(exc.__traceback__)[-4:]]},
        )
        module.fail_json(exception=scrub(traceback.format_exc(), module.params), **failure(error, module.params))
    else:
        result.setdefault("changed", False)
        module.exit_json(**result)


def failure(error, params=None):
    """Return the ``fail_json`` arguments of a :class:`RecoveryError`, secrets wiped."""
    data = scrub(error.as_dict(), params or {})
    lines = ["%s: %s" % (data["failure_class"], data.pop("message"))]
    if data["now"]:
        lines.append("NOW: %s" % data["now"])
    if data["next_step"]:
        lines.append("NEXT: %s" % data["next_step"])
    return dict(data, msg="\n".join(lines))


def failure_of_result(result):
    """Turn a failed task's result back into what :func:`failure` was given.

    :param result: result of a task; of one that is not ours (a template error, a lost connection) only ``msg`` is known.
    :returns: dict of failure_class, message, now, next_step, details.
    """
    message = str(result.get("msg", "a task failed without a message"))
    prefix = "%s: " % result.get("failure_class", "")
    first = message.partition("\nNOW: ")[0]
    return {
        "failure_class": result.get("failure_class") or "manual_help_needed",
        "message": first.partition(prefix)[2] if result.get("failure_class") and first.startswith(prefix) else first,
        "now": result.get("now", ""),
        "next_step": result.get("next_step") or "run the same command again with -vvv",
        "details": result.get("details") or {},
    }


def scrub(value, params):
    """Return ``value`` (text, list or dict) without the secrets found in ``params``.

    The password inside ``login_uri`` counts too: libpq may name it apart from its URI.
    """
    secrets = sorted(_secrets(params), key=len, reverse=True)
    return _replace(value, secrets)


def _secrets(params):
    found = {str(params[name]) for name in _SECRET_OPTIONS if params.get(name)}
    found |= {str(value) for value in (params.get("secrets") or {}).values()}
    # By its place in the text, so that the password of a URI that cannot be read is known too.
    match = re.search(r"://[^:/@]*:(.*)@", params.get("login_uri") or "")
    if match:
        found |= {match.group(1), unquote(match.group(1))}
    return {secret for secret in found if secret}


def _replace(value, secrets):
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, _MASK)
        return value
    if isinstance(value, dict):
        return {_replace(key, secrets): _replace(item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replace(item, secrets) for item in value]
    return value
