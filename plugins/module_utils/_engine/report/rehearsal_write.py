# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a rehearsal on disk: four files, and the links that people and monitoring follow."""
from __future__ import annotations

import json
import os

from ..errors import RecoveryError
from .rehearsal import ERROR, FAILED, HOLDS, PASSED, UNKNOWN, build, figures_set
from .rehearsal_chart import chart
from .rehearsal_metrics import render_junit, render_prometheus
from .rehearsal_text import headline, milliseconds, proof_text, query_name, shown_parts
from .render import environment
from .write import LATEST, RUN_ID, link, write_files

TEMPLATE = "rehearsal.html.j2"
# Restores have reports in the same folder; what monitoring reads must stay when one of those is the latest.
LATEST_REHEARSAL = "latest-rehearsal"
TONES = {PASSED: "good", FAILED: "bad", ERROR: "warn"}
WORDS = {PASSED: "passed", FAILED: "failed", ERROR: "no verdict"}


def write_rehearsal(folder, records, history=(), target=None):
    """Write ``report.json``, ``report.html``, ``junit.xml`` and ``letta_rehearsal.prom``; ``latest`` and ``latest-rehearsal`` lead there.

    :param folder: of this rehearsal, ``<letta_report_dir>/<rehearsal id>``; made when missing.
    :param records: its sets; :param history: earlier ones, oldest first; :param target: as for :func:`rehearsal.build`.
    :returns: dict of the paths: ``folder``, ``json``, ``html``, ``junit``, ``prometheus``, and the links ``latest`` and
        ``latest_rehearsal`` (None where a real folder stands in their place).
    :raises RecoveryError: ``usage`` when the folder has no usable name or cannot be written.
    """
    folder = os.path.abspath(folder)
    parent, name = os.path.split(folder)
    if not RUN_ID.match(name) or name in (LATEST, LATEST_REHEARSAL):
        raise RecoveryError("usage", "%r is no name for a folder of reports" % name[:80], "no report was written")
    report = build(records, history, target)
    paths = write_files(folder, {
        # Others than the owner's group need only the metrics, which node_exporter reads as its own user.
        "json": ("report.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n", 0o640),
        "html": ("report.html", render_html(report), 0o640),
        "junit": ("junit.xml", render_junit(report), 0o640),
        "prometheus": ("letta_rehearsal.prom", render_prometheus(report), 0o644),
    })
    return dict(paths, latest=link(parent, name), latest_rehearsal=link(parent, name, LATEST_REHEARSAL))


def render_html(report):
    """Return the report of :func:`rehearsal.build` as one HTML page that needs no network and no script."""
    made = environment()
    made.globals.update(shown=_shown, query_name=query_name, ms=milliseconds, verdict_words=WORDS, tones=TONES)
    return made.get_template(TEMPLATE).render(
        r=report, c=chart(report["trend"], report["rto"]["target"]), measured=figures_set(report["sets"]), proof=proof_text(report),
        word=headline(report).capitalize(), tone={HOLDS: "good", UNKNOWN: "warn"}.get(report["promise"], "bad"),
    )


def _shown(item):
    return " · ".join(shown_parts(item))
