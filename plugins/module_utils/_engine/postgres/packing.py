# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compressed files, written and read as streams: zstd by a package of Python or by the program, gzip by Python itself."""
from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from importlib import import_module

from ..errors import RecoveryError
from .process import ToolFailed, running_tool

SUFFIXES = {"zstd": ".zst", "gzip": ".gz", "none": ""}
# Vectors hardly compress but for the zeros they are padded with, which the lowest level finds too.
FAST = {"zstd": "zstd:1", "gzip": "gzip:1"}
_PROGRAM = "zstd"
_BUFFER = 1 << 20


class Damaged(ValueError):
    """A compressed file cannot be read to its end; the message names it."""


def _package():
    """Return a module whose ``open`` reads and writes zstd: Python's own (3.14), the package zstandard, or None."""
    for name in ("compression.zstd", "zstandard"):
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


def has_zstd():
    """Tell whether files of zstd can be written and read here."""
    return bool(_package() or shutil.which(_PROGRAM))


def best():
    """Return the compression for vectors: ``zstd:1`` where it can be had, else ``gzip:1``."""
    return FAST["zstd" if has_zstd() else "gzip"]


def require(compression, what):
    """Refuse to go on where files of a compression cannot be read.

    :param compression: ``zstd:1``, ``gzip:1`` or ``none``. :param what: whose files they are, for the error.
    :raises RecoveryError: ``preflight``, naming what to install.
    """
    name = compression.partition(":")[0]
    if name not in SUFFIXES:
        text = "%s has files compressed with %s, which this release of the collection does not know"
        raise RecoveryError("preflight", text % (what, name), next_step="use the release that made it")
    if name == "zstd" and not has_zstd():
        raise RecoveryError(
            "preflight", "%s has files compressed with zstd, and nothing here reads them" % what,
            next_step="install the program zstd or Python's package zstandard on this host (Debian: apt install zstd)",
        )  # fmt: skip


@contextmanager
def writing(path, compression):
    """Write a new private file; yields an object with ``write``. The file is on disk when the block ends.

    :param compression: ``zstd:1``, ``gzip:1`` or ``none``.
    """
    name, _colon, level = compression.partition(":")
    with ExitStack() as stack:
        raw = stack.enter_context(open(path, "xb", opener=lambda file, flags: os.open(file, flags, 0o600)))
        if name == "zstd" and not _package():
            yield stack.enter_context(_through_program(raw, level or "1"))
        elif name == "none":
            yield raw
        else:
            yield stack.enter_context(_writer(raw, name, int(level or 1)))
        stack.pop_all().close()
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _writer(raw, name, level):
    if name == "gzip":
        return gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=raw, mtime=0)
    package = _package()
    if package.__name__ == "zstandard":
        return package.ZstdCompressor(level=level, write_checksum=True).stream_writer(raw, closefd=False)
    options = {package.CompressionParameter.compression_level: level, package.CompressionParameter.checksum_flag: 1}
    return package.open(raw, "wb", options=options)


@contextmanager
def _through_program(raw, level):
    argv = [shutil.which(_PROGRAM), "--quiet", "--check", "-" + level, "--stdout"]
    with running_tool(argv, stdin=subprocess.PIPE, stdout=raw) as process:
        yield process.stdin
        process.stdin.close()


@contextmanager
def reading(path, compression):
    """Read a file; yields an object with ``read``. One that was cut may read as if it ended there: whoever reads counts.

    :raises Damaged: while reading.
    """
    name, package = compression.partition(":")[0], _package()
    with ExitStack() as stack:
        if name == "zstd" and not package:
            try:
                with running_tool([shutil.which(_PROGRAM), "--quiet", "--decompress", "--stdout", path]) as process:
                    yield process.stdout
            except ToolFailed as exc:
                raise Damaged("%s: %s" % (os.path.basename(path), exc)) from None
            return
        raw = stack.enter_context(open(path, "rb"))
        yield _Checked(stack.enter_context(_reader(raw, name, package)), path)


def _reader(raw, name, package):
    if name == "none":
        return raw
    if name == "gzip":
        return gzip.open(raw)
    if package.__name__ == "zstandard":
        return package.ZstdDecompressor().stream_reader(raw, read_size=_BUFFER, read_across_frames=True, closefd=False)
    return package.open(raw)


class _Checked:
    """Reads a stream whose every error means one thing."""

    def __init__(self, stream, path):
        self._read, self._path = stream.read, path

    def read(self, size=-1):
        """Return up to ``size`` bytes. :raises Damaged:"""
        try:
            return self._read(size)
        except Exception as exc:  # noqa: BLE001 (each package has errors of its own)
            raise Damaged("%s cannot be read: %s" % (os.path.basename(self._path), exc)) from None
