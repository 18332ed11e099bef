# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How work that nobody will finish is closed, as data and decisions: in which words of Letta's own, and why.

Read in Letta 0.16.8: a run ends as ``messages/cancel`` ends it, a batch as ``batches/cancel``, a file as a failed upload. Only
``callback_url`` is never called: whoever waits there would be told about work of another time.
"""
from __future__ import annotations

from dataclasses import dataclass

# Table -> (status, stop reason or None) that open work of it ends with.
CLOSINGS = {
    "runs": ("cancelled", "cancelled"),
    "steps": ("CANCELLED", "cancelled"),
    "jobs": ("cancelled", "cancelled"),
    "llm_batch_job": ("cancelled", None),
    "llm_batch_items": ("cancelled", None),
}
# A run that ended by asking for approval is over: what goes on after the answer is another run.
ASKED_FOR_APPROVAL = ("completed", "requires_approval")
# A provider works on a batch for up to a day; nothing in Letta's tables moves meanwhile.
BATCH_SECONDS = 24 * 3600
# What a row of a table is to a person.
ENTITIES = {
    "runs": "run",
    "run_metrics": "run metrics",
    "steps": "step",
    "jobs": "job",
    "llm_batch_job": "batch",
    "llm_batch_items": "batch item",
    "files": "file",
    "agents": "agent",
    "conversation_messages": "conversation message",
    "messages": "message",
    "groups": "group",
}
# Key in the metadata of runs and jobs that says who closed them.
MARKER = "letta_ops_reconciled"

FILE_WITHOUT_TEXT = "Processing was interrupted before the text was stored: upload the file again."
FILE_WITH_TEXT = "Processing was interrupted: the text is stored, but cannot be searched. Delete the file and upload it again."


@dataclass(frozen=True)
class FileEnd:
    """How the processing of a file ends.

    :param status: ``completed`` or ``error``. :param message: for ``error``; Letta cannot read such a row without one.
    :param chunks: counter of embedded chunks; None where it stays as it is.
    :param why: half a sentence for the report.
    """

    status: str
    message: str | None
    chunks: int | None
    why: str


def end_of_file(total_chunks, passages, has_text):
    """Decide how the processing of an interrupted file ends; both ends are final to Letta.

    :param total_chunks: the file's counter, None or 0 before its text was cut. :param passages: rows there are of it.
    :param has_text: its text is stored.
    """
    if has_text and total_chunks and passages == total_chunks:
        return FileEnd("completed", None, total_chunks, "its text and all %d passages are there" % passages)
    if has_text:
        return FileEnd("error", FILE_WITH_TEXT, None, "its text is there, %d of %s passages are" % (passages, total_chunks or "its"))
    return FileEnd("error", FILE_WITHOUT_TEXT, None, "its text was not stored yet, and Letta keeps no uploaded file")


def marked(metadata, was):
    """Return a run's or job's metadata with a note of what its status was. What else is in it stays."""
    return dict(metadata if isinstance(metadata, dict) else {}, **{MARKER: {"status_was": was}})


def is_sleeptime_run(metadata):
    """Tell from a run's metadata whether it is the background turn of a sleeptime agent."""
    return isinstance(metadata, dict) and "sleeptime" in str(metadata.get("run_type") or "")
