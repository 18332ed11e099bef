# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot of Redis, taken as a replica takes it: over the network, without touching the server's own files."""
from __future__ import annotations

import os
import socket
import ssl

from ..redisserver import is_snapshot

_CHUNK = 1 << 18
_LONGEST_ANSWER = 1 << 20  # of INFO, which takes a few hundred bytes


class RedisSnapshotError(Exception):
    """The snapshot could not be taken; the text says why and holds no secret."""


def take_snapshot(server, target):
    """Write an RDB file of everything in a Redis or Valkey server.

    :param server: a :class:`~..redisserver.RedisServer`.
    :param target: file to write (0600, synced); absent after a failure.
    :returns: ``{"bytes", "server_version"}``.
    :raises RedisSnapshotError: unreachable, wrong password, SYNC not allowed, or an answer that is no RDB.
    """
    try:
        with _connect(server) as sock, sock.makefile("rb") as stream:
            if server.password:
                _command(sock, stream, *(["AUTH"] + ([server.user] if server.user else []) + [server.password]))
            version = _version(sock, stream)
            _send(sock, "SYNC")
            size = _receive(stream, target)
    except (OSError, ValueError) as exc:
        if os.path.exists(target):
            os.unlink(target)
        raise RedisSnapshotError("%s:%d: %s" % (server.host, server.port, exc)) from None
    except BaseException:
        if os.path.exists(target):
            os.unlink(target)
        raise
    return {"bytes": size, "server_version": version}


def _connect(server):
    sock = socket.create_connection((server.host, server.port), timeout=server.timeout)
    if not server.tls:
        return sock
    return ssl.create_default_context(cafile=server.tls_ca or None).wrap_socket(sock, server_hostname=server.host)


def _send(sock, *words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word.encode("utf-8")
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    sock.sendall(b"".join(parts))


def _command(sock, stream, *words):
    _send(sock, *words)
    line = stream.readline(1 << 16)
    if line[:1] != b"+":
        raise ValueError("%s was answered with %s" % (words[0], _plain(line)))


def _version(sock, stream):
    _send(sock, "INFO", "server")
    line = stream.readline(1 << 16)
    if line[:1] != b"$":
        raise ValueError("INFO was answered with %s" % _plain(line))
    size = int(line[1:])
    if not 0 <= size <= _LONGEST_ANSWER:
        raise ValueError("INFO was answered with %d bytes" % size)
    text = stream.read(size + 2).decode("utf-8", "replace")
    facts = dict(row.split(":", 1) for row in text.splitlines() if ":" in row)
    return facts.get("valkey_version") or facts.get("redis_version")


def _plain(line):
    return line.decode("utf-8", "replace").strip() or "nothing: the connection was closed"


def _receive(stream, target):
    # The server sends bare newlines while it prepares, then either $<length> or, without a disk, $EOF:<40 byte mark>.
    line = b"\n"
    while line == b"\n":
        line = stream.readline(1 << 16)
    if line[:1] != b"$":
        raise ValueError("SYNC was answered with %s" % _plain(line))
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as out:
        until_mark = line.startswith(b"$EOF:")
        size = _copy_to_mark(stream, out, line[5:].strip()) if until_mark else _copy_length(stream, out, int(line[1:]))
        out.flush()
        os.fsync(out.fileno())
    if not is_snapshot(target):
        raise ValueError("what SYNC sent is no RDB file")
    return size


def _copy_length(stream, out, length):
    left = length
    while left:
        data = stream.read1(min(_CHUNK, left))
        if not data:
            raise ValueError("the connection was closed %d bytes before the end of the snapshot" % left)
        out.write(data)
        left -= len(data)
    return length


def _copy_to_mark(stream, out, mark):
    tail, size = b"", 0
    while True:
        data = stream.read1(_CHUNK)
        if not data:
            raise ValueError("the connection was closed before the end of the snapshot")
        tail += data
        if tail.endswith(mark):
            out.write(tail[: -len(mark)])
            return size + len(tail) - len(mark)
        # The mark may be split between two reads: its length stays back.
        ready = max(len(tail) - len(mark), 0)
        out.write(tail[:ready])
        size += ready
        tail = tail[ready:]
