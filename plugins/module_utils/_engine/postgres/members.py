# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of a few tables of an archive, as blocks of whole lines.

In directory format every table is a file of its own, which holds its COPY text and nothing else. Compressed with gzip, with zstd where
this host has it, or not at all, it is read here: without a process that copies gigabytes through a pipe. Everything else is read by
pg_restore.
"""

from __future__ import annotations

import os
import zlib
from contextlib import ExitStack, contextmanager
from importlib import import_module

from . import packing
from .archive import corrupt, selected
from .copytext import CopyEnded, CopyError, CopyScanner

try:
    inflate = import_module("isal.isal_zlib")  # where it is installed: the same functions, twice as fast
except ImportError:
    inflate = zlib

READ = 256 << 10
# What one step of inflating may yield: a file may hold a gigabyte of the same letter.
GROWN = 4 << 20
_TAIL = 64  # blocks below this go with the one before: the end of the text must not lie between two
_GZIP = 16 + zlib.MAX_WBITS


@contextmanager
def reading(archive, tools, entries):
    """Read the rows of some entries, in the order of the entries; yields an iterable of (index of the entry, block of whole lines).

    Memory: a few blocks, or the longest row.

    :raises RecoveryError: ``backup_corrupt``, also for a :class:`CopyError` of the block that reads.
    """
    files = [file_of(archive, entry) for entry in entries]
    if not all(files):
        with ExitStack() as stack:
            process = stack.enter_context(selected(archive, tools, entries))
            yield CopyScanner(process.stdout, [entry.copy for entry in entries])
        return
    try:
        yield ((index, block) for index, path in enumerate(files) for block in blocks(path))
    except (CopyError, packing.Damaged, OSError, zlib.error, inflate.error, UnicodeDecodeError) as exc:
        raise corrupt(archive.path, exc) from None


def blocks(path):
    """Yield the rows of one file as blocks of whole lines. :raises CopyEnded: and whatever unpacking raises."""
    return whole_lines(_chunks(path), path)


def file_of(archive, entry):
    """Return the path of an entry's text where it can be read here, else None."""
    if archive.format != "directory":
        return None
    path = os.path.join(archive.path, entry.file)
    ends = ("", ".gz", ".zst") if packing.has_zstd() else ("", ".gz")
    return next((path + end for end in ends if os.path.exists(path + end)), None)


def _chunks(path):
    if path.endswith(".zst"):
        with ExitStack() as stack:
            stream = stack.enter_context(packing.reading(path, "zstd"))
            yield from iter(lambda: stream.read(READ), b"")
        return
    with open(path, "rb", buffering=0) as stream:
        if not path.endswith(".gz"):
            yield from iter(lambda: stream.read(READ), b"")
            return
        unpacked, begun = inflate.decompressobj(_GZIP), False
        for data in iter(lambda: stream.read(READ), b""):
            left = data
            while left:
                yield unpacked.decompress(left, GROWN)
                begun = not unpacked.eof
                if begun:
                    left = unpacked.unconsumed_tail
                else:  # what follows is another gzip file: they may be joined
                    left, unpacked = unpacked.unused_data, inflate.decompressobj(_GZIP)
        while begun:
            text = unpacked.decompress(b"", GROWN)
            yield text
            begun = not unpacked.eof
            if begun and not text:
                raise CopyEnded("%s ends too early" % path)


def whole_lines(chunks, label):
    """Cut the text of one table into blocks that end with a line, without its end mark.

    :param chunks: iterable of bytes. :param label: for the error.
    :raises CopyEnded: when the end mark does not come.
    """
    before, line = b"", bytearray()  # a long line grows in place: its chunks beside it would be as much again
    for chunk in chunks:
        cut = chunk.rfind(b"\n") + 1
        line += chunk[:cut] if cut else chunk
        if not cut:
            continue
        block, line = bytes(line), bytearray(chunk[cut:])
        if len(block) < _TAIL:
            before += block
            continue
        if before:
            yield before
        before = block
    end = before.rstrip(b"\n")
    if line or not end.endswith(b"\\.") or (len(end) > 2 and end[-3:-2] != b"\n"):
        raise CopyEnded("the rows of %s do not end" % label)
    if end != b"\\.":
        yield end[:-2]
