# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a report's files: each atomic, and the link to the latest run swapped in one rename."""
from __future__ import annotations

import json
import os
import re
import tempfile

from ..errors import RecoveryError
from .render import render_html, render_junit, render_prometheus

LATEST = "latest"
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


def write_report(report, report_dir):
    """Write ``report.json``, ``report.html``, ``junit.xml``, ``letta_restore.prom`` and point ``latest`` at them.

    :param report: what :func:`collect.build_report` returned.
    :param report_dir: folder of all reports; made when missing.
    :returns: dict of the paths: ``folder``, ``json``, ``html``, ``junit``, ``prometheus``, ``latest`` (None when there is no such link).
    :raises RecoveryError: ``usage`` when the run id is no safe folder name or the folder cannot be written.
    """
    run_id = report["run_id"]
    if not RUN_ID.match(run_id) or run_id == LATEST:
        raise RecoveryError("usage", "%r is no name for a folder of reports" % run_id[:80], "no report was written")
    folder = os.path.join(report_dir, run_id)
    texts = {
        # Others than the owner's group need only the metrics, which node_exporter reads as its own user.
        "json": ("report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n", 0o640),
        "html": ("report.html", render_html(report), 0o640),
        "junit": ("junit.xml", render_junit(report), 0o640),
        "prometheus": ("letta_restore.prom", render_prometheus(report), 0o644),
    }
    paths = write_files(folder, texts)
    paths["latest"] = link(report_dir, run_id)
    return paths


def write_files(folder, texts):
    """Write the files of a report, each atomically, into a folder that is made when missing.

    :param texts: {key: (name, text, mode)}. :returns: {``folder``, and each key: path}.
    :raises RecoveryError: ``usage`` when the folder cannot be written.
    """
    paths = {"folder": folder}
    try:
        _make_folder(os.path.dirname(folder))
        _make_folder(folder)
        for key, (name, text, mode) in texts.items():
            paths[key] = os.path.join(folder, name)
            _write_text(paths[key], text, mode)
    except OSError as error:
        raise RecoveryError(
            "usage", "the report cannot be written to %s: %s" % (folder, error.strerror), "the run itself is not affected",
            "-e letta_report_dir=<a folder this user may write>",
        ) from error
    return paths


def _make_folder(path):
    """Make a folder that node_exporter may enter, whatever the umask; one that is there keeps its mode."""
    if not os.path.isdir(path):
        os.makedirs(path)
        os.chmod(path, 0o755)  # noqa: S103 - names and counts only; the files carry their own modes


def _write_text(path, text, mode):
    handle, temp = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".report-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(temp, mode)
        os.replace(temp, path)
    except BaseException:
        if os.path.exists(temp):
            os.unlink(temp)
        raise


def link(report_dir, run_id, name=LATEST):
    """Point ``latest`` at the run; returns the link's path, or None. A real folder of that name is left alone."""
    path, temp = os.path.join(report_dir, name), os.path.join(report_dir, ".%s-%d" % (name, os.getpid()))
    try:
        if os.path.lexists(temp):
            os.unlink(temp)
        os.symlink(run_id, temp)
        os.replace(temp, path)
    except OSError:
        if os.path.lexists(temp):
            os.unlink(temp)
        return None
    return path
