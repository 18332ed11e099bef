"""Harnesses of what an inventory says and of short texts that other programs say."""
from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.lines import read_state
from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible.module import server_from_params
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import catalogue, retention, stores, volumes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import agent_file, closure
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial import selection
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import sidedb
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.progress import format_line
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.commands import parse_command
from tests.fuzz.bench import NOW, as_bytes, parsed, words

LOGIN = {"login_host": "localhost", "login_port": 5432, "login_user": "postgres", "login_password": "", "ssl_mode": "prefer",
         "ca_cert": None}  # fmt: skip


def _refused(call, *classes):
    """Return what a call returns; None where it refuses, in one of these classes."""
    try:
        return call()
    except RecoveryError as exc:
        assert exc.failure_class in (classes or ("usage",)), exc.failure_class
        assert exc.message
        return None


def age(data: bytes) -> None:
    """letta_backup_max_age and every other duration; what is accepted can be reckoned with."""
    text = data.decode("utf-8", "replace")
    for value in (text, parsed(data)):
        seconds = _refused(lambda value=value: catalogue.parse_age(value))
        if seconds is not None:
            assert seconds >= 0
            assert NOW - timedelta(seconds=seconds) < NOW + timedelta(seconds=seconds + 1)


def command(data: bytes) -> None:
    """letta_alembic_command, the commands that start and stop servers: arguments that a process can be given."""
    value = parsed(data)
    for given in (data.decode("utf-8", "replace"), value if isinstance(value, list) else ""):
        argv = _refused(lambda given=given: parse_command(given, "letta_alembic_command"))
        assert argv is None or (argv[0] and all(isinstance(part, str) and "\0" not in part for part in argv))


def policy(data: bytes) -> None:
    """letta_catalog_keep as the module's arguments bring it: numbers."""
    value = parsed(data)
    if isinstance(value, dict) and all(item is None or isinstance(item, int) for item in value.values()):
        kept = _refused(lambda: retention.check_policy(value))
        assert kept is None or max(kept.values()) > 0


def store_names(data: bytes) -> None:
    """letta_stores: no text becomes an option of rclone, and no secret goes into its arguments."""
    name = data.decode("utf-8", "replace")
    remote = _refused(lambda: stores.checked(name))
    assert remote is None or not (remote.startswith("-") or "\n" in remote or "\0" in remote)


def volume_names(data: bytes) -> None:
    """letta_volumes: names that become names of files, folders that are exchanged whole."""
    value = parsed(data)
    if not isinstance(value, list) or not all(isinstance(item, list) and len(item) == 2 for item in value):
        return
    asked = [{"name": str(name), "path": str(path)} for name, path in value]
    if _refused(lambda: volumes.check_volumes(asked) or True, "usage", "preflight"):
        assert all("/" not in item["name"] and "\n" not in item["name"] for item in asked)


def login_uri(data: bytes) -> None:
    """login_uri: it is read or refused, and the refusal does not repeat it."""
    text = data.decode("utf-8", "replace")
    try:
        server = server_from_params(dict(LOGIN, login_uri=text))
    except RecoveryError as exc:
        assert exc.failure_class == "usage"
        assert len(text) < 4 or text not in exc.message
        return
    assert isinstance(server.port, int)


class Rows:
    """A backup with a few things, each with the name that is given."""

    place = "here"

    def __init__(self, names):
        self._names = names

    def rows(self, table, columns):
        """As :func:`selection.resolve_in` asks for them."""
        if table in ("agents", "sources", "files", "block", "archives"):
            for number, name in enumerate(self._names):
                held = {"id": "%s-%d" % (table, number), "organization_id": name, "source_id": "sources-0"}
                yield tuple(held.get(column, name) for column in columns)
        elif table == "agents_tags":
            yield from (("agents-%d" % number, name) for number, name in enumerate(self._names))


def chosen(data: bytes) -> None:
    """letta_agents, letta_agent_tags and their like against names: exactly what is named is found, or nothing."""
    value = parsed(data)
    if not isinstance(value, list) or len(value) != 3:
        return
    wanted, tags, names = map(words, value)
    for kind in ("agents", "sources", "files", "blocks", "archives"):
        asked = selection.Selection(**{kind: tuple(wanted)}, **({"tags": tuple(tags)} if kind == "agents" else {}))
        found = _refused(lambda asked=asked: selection.resolve_in(Rows(names), asked))
        if found is None:
            continue
        ids = found.roots[closure.AGENTS if kind == "agents" else selection.ROOT_OF[kind]]
        plain = [text for text in wanted if not any(sign in text for sign in selection.WILDCARDS)]
        if plain == wanted and wanted:
            assert all(identity in wanted or found.names[identity] in wanted for identity in ids)
            assert (kind == "agents" and tags) or {found.names[identity] for identity in ids} | set(ids) >= set(wanted)
        json.dumps(found.roots)


def privileges(data: bytes) -> None:
    """The privileges and the search path that a manifest brings: every text is read as something."""
    text = data.decode("utf-8", "surrogateescape")
    role, found = sidedb.parse_acl_item(text)
    assert isinstance(role, str)
    assert {name for name, _grantable in found} <= set(sidedb.PRIVILEGES.values())
    assert all(sidedb.split_names(text))


def progress_file(data: bytes) -> None:
    """What a module on a host says of its progress: a line without anything that could steer a terminal, or nothing."""
    state = read_state(data.decode("utf-8", "replace"))
    if state:
        assert format_line("db1", state, "").isprintable()


def agents_of_file(data: bytes) -> None:
    """An agent file: read, counted and looked through, or refused with a phrase."""
    with suppress(ValueError):
        found = agent_file.parse(data.decode("utf-8"))
        agent_file.counts(found)
        agent_file.problems(found)


def seeds() -> dict[str, list[bytes]]:
    """What is accepted, for each harness."""
    agent = {"id": "agent-0", "name": "a", "messages": [{"id": "message-0"}], "in_context_message_ids": ["message-0"], "tool_ids": [],
             "secrets": {"A": "b"}, "files_agents": [{"file_id": "file-0", "source_id": "source-0"}]}  # fmt: skip
    kinds = {kind: [{"id": "%s-0" % kind}] for kind in agent_file.KINDS if kind != "agents"}
    return {
        "age": [b"36h", b"90", b"2 d", b'"1w"'],
        "command": [b"docker exec letta alembic", b'["a", "b c"]', b"a 'b c' \\\"d"],
        "policy": [b'{"last": 3, "daily": 7}'],
        "store_names": [b"minio:letta/sets", b":sftp,host=h:/srv"],
        "volume_names": [b'[["files", "/"], ["more", "/etc"]]', b'[["a", "/etc"], ["b", "/usr"]]'],
        "login_uri": [b"postgresql+asyncpg://u:p%40@h:5432/db?ssl=require", b"host=h port=5"],
        "chosen": [as_bytes([["a"], [], ["a", "b"]]), as_bytes([["a*", "agents-1"], ["a"], ["a", "[ab]?"]])],
        "privileges": [b"letta=C*Tc/postgres", b'"we ""ird"=c/letta', b'"$user", public'],
        "progress_file": [b'{"started": 1.5, "at": 3, "done": 1, "total": 2, "phase": "load", "unit": "bytes", "item": "x"}'],
        "agents_of_file": [as_bytes(dict(kinds, agents=[agent]))],
    }
