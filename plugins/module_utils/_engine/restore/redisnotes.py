# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run says about Redis: in its plan, its journal and its checks. The work is done on another host, this is told of it. Pure.

``redis`` is what role letta_restore knows, empty where no Redis is configured: {"host", "port", "database", "at" (the inventory host it
is asked from), "user", "password", "ca_cert", "tls" (whether each is set), "restore" (none or full), and results of tasks, {} when not
done: "look", "align", "use", and of the exchange of its file "files", "stopped", "placed", "loaded", "back"}.
Nothing here fails a restore: Redis holds nothing that has to survive.
"""
from __future__ import annotations

from ..findings import PASS, WARN, Finding

FRESH = ("dropped", "kept")
_NOT_USED = "a server that did not reach Redis at its first use goes on without it until it is started again"


FULL = "full"
_EXCHANGE = ("stopped", "placed", "loaded", "back")


def planned(redis, files=None):
    """Return (step of the plan or None, warnings).

    :param files: of :func:`files_to_place`; what is in Redis is replaced by it first.
    """
    if not redis:
        return None, []
    detail, look = "drop Letta's keys in Redis %s" % address(redis), redis.get("look") or {}
    if files:
        told = "stop Redis %s for all that use it, put the snapshot of the set (%d bytes) in place of its %d keys, start it; then "
        detail = told % (address(redis), files["bytes"], files["data"]["keys"]) + detail
    elif "dropped" in look:
        detail += " (about %d, %d others stay)" % (look["dropped"], look["kept"])
    warnings = [] if "dropped" in look else ["%s; the restore does not wait for it" % _why_not(look, "it was not looked at")]
    return {"name": "redis", "detail": detail, "expected_seconds": look.get("seconds")}, warnings


def files_to_place(redis, saved):
    """Return (what is to be put into Redis, {} when nothing is; warnings).

    :param saved: ``redis`` of the manifest. :returns: {"path" (in the set), "bytes", "data" (where Redis has its file)}.
    """
    if not redis or redis.get("restore") != FULL:
        return {}, []
    found = redis.get("files") or {}
    if not saved or not saved.get("path"):
        return {}, ["the set holds nothing of Redis: what is in it stays, but for Letta's keys"]
    if "data" not in found:
        why = _why_not(found, "it was not looked at")
        return {}, ["what is in Redis stays, but for Letta's keys: %s" % why]
    return {"path": saved["path"], "bytes": saved["bytes"], "data": found["data"]}, []


def note(journal, redis):
    """Keep in the journal what was done in Redis. A run that is taken up keeps what was done before."""
    if not redis:
        return
    known = dict(journal.data.get("redis") or {}, address=address(redis), later=later(redis))
    align, use = redis.get("align") or {}, redis.get("use") or {}
    if "dropped" in align:
        known.update({key: align[key] for key in ("dropped", "kept", "classes", "seconds")}, why_not="")
    elif "dropped" not in known:
        known["why_not"] = _why_not(align, "left out (--skip-tags redis)")
    done = _restored(*({} if result.get("skipped") else result for result in (redis.get(name) or {} for name in _EXCHANGE)))
    known.update({"restored": done} if done else {})
    if "servers" in use:
        known["servers"] = use["servers"]
    elif use.get("msg"):
        known["use_why_not"] = _why_not(use, "")
    journal.save(redis=known)


def _restored(stopped, placed, loaded, back):
    """Return what became of the file of Redis, {} where nothing was done.

    {"keys", "before"} where it started with that of the set, {"why_not", "back": whether it runs as before} where it did not, and of a
    rollback {"put_back", "why_not"}.
    """
    if not stopped:
        return {"put_back": "keys" in back, "why_not": _why_not(back, "")} if back else {}
    if "path" in placed and "keys" in loaded and not back:
        return {"keys": loaded["keys"], "before": placed.get("before", "")}
    failed = loaded if "path" in placed else placed or stopped
    return {"why_not": _why_not(failed, "it did not stop"), "back": "keys" in (back or loaded)}


def is_placed(journal):
    """Tell whether Redis runs on the file of the set."""
    return "keys" in ((journal.data.get("redis") or {}).get("restored") or {})


def is_aligned(journal):
    """Tell whether Letta's keys were dropped already, with a note of it that came after the start of the servers."""
    return "dropped" in (journal.data.get("redis") or {})


def of_report(journal):
    """Return the report's ``redis``."""
    known = journal.data.get("redis") or {}
    return dict({key: known.get(key) for key in FRESH}, later=known.get("later", ""))


def checks(journal):
    """Return the findings on Redis, as plain data."""
    known = journal.data.get("redis") or {}
    found = ([_replaced(known)] if known.get("restored") else []) + ([_aligned(known)] if known else [])
    if known.get("servers"):
        found.append(_used(known["servers"]))
    elif known.get("use_why_not"):
        found.append(Finding("redis.used", WARN, "not proven that Letta's servers use Redis: %s" % known["use_why_not"]))
    return [item.as_dict() for item in found]


def _replaced(known):
    done = known["restored"]
    if "put_back" in done:
        if done["put_back"]:
            return Finding("redis.restored", PASS, "Redis %s runs again with what it held before the restore" % known["address"])
        told = "Redis %s does not answer after what it held before was put back: %s" % (known["address"], done["why_not"])
        return Finding("redis.restored", WARN, told, 1)
    if "keys" in done:
        aside = "; what was there before is %s on its host" % done["before"] if done["before"] else ""
        told = "Redis %s started with the %d keys of the set%s" % (known["address"], done["keys"], aside)
        return Finding("redis.restored", PASS, told)
    now = "it runs with what it held before" if done["back"] else "it does not answer: start it by hand"
    return Finding("redis.restored", WARN, "what was in Redis %s was not replaced: %s; %s" % (known["address"], done["why_not"], now), 1)


def _aligned(known):
    if "dropped" in known:
        parts = ["%d %s" % (count["dropped"], name.replace("_", " ")) for name, count in known["classes"].items() if count["dropped"]]
        told = "%d keys of Letta dropped in Redis %s%s, %d others kept"
        told %= (known["dropped"], known["address"], " (%s)" % ", ".join(parts) if parts else "", known["kept"])
        return Finding("redis.aligned", PASS, told)
    told = "Letta's keys in Redis %s were not dropped: %s. Later, best with the servers stopped: %s"
    return Finding("redis.aligned", WARN, told % (known["address"], known["why_not"], known["later"]), 1)


def _used(servers):
    missing = [item for item in servers if not item["proven"]]
    if not missing:
        told = "; ".join("%s: %s" % (item["server"], item["detail"]) for item in servers)
        return Finding("redis.used", PASS, "every server uses Redis (%s)" % told)
    told = "; ".join("%s (%s)" % (item["server"], item["detail"]) for item in missing)
    names = [item["server"] for item in missing]
    return Finding("redis.used", WARN, "not proven that it uses Redis: %s; %s" % (told, _NOT_USED), len(missing), names)


def address(redis):
    """Return ``host:port/database``, for a person."""
    return "%s:%s/%s" % (redis["host"], redis["port"], redis["database"])


def later(redis):
    """Return the line that drops Letta's keys without a restore. Secrets stay in the inventory: it names their variables."""
    words = ["redis_host=%(host)s redis_port=%(port)s redis_database=%(database)s" % redis]
    words += ["redis_%s={{ letta_redis_%s }}" % (name, name) for name in ("user", "password", "ca_cert") if redis.get(name)]
    words += ["redis_tls=true"] if redis.get("tls") else []
    return "ansible %s -m letta_ops.recovery.redis_align -a '%s'" % (redis["at"], " ".join(words))


def _why_not(result, otherwise):
    """Return the first line of what a failed task said, without its class."""
    first = str(result.get("msg") or otherwise).partition("\nNOW: ")[0].split("\n")[0]
    return first.partition(": ")[2] if result.get("failure_class") and first.startswith(result["failure_class"] + ": ") else first
