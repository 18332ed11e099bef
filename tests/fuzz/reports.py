"""Harnesses of what is written at the end of a run: whatever the facts hold, pages are inert and metrics are read back."""
from __future__ import annotations

import functools
import json
from html.parser import HTMLParser
from itertools import chain
from xml.etree import ElementTree

from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report import (
    collect,
    partial_text,
    rehearsal,
    rehearsal_metrics,
    rehearsal_text,
    rehearsal_write,
    render,
    text,
)
from tests.fuzz.bench import NOW, as_bytes, parsed
from tests.unit.report import rehearsal_samples, report_samples

# Each makes the templates anew, which takes longer than everything that is looked for here.
render.environment = rehearsal_write.environment = functools.cache(render.environment)
# What our two templates are made of. Nothing here runs a script or loads anything.
ELEMENTS = frozenset((
    "html", "head", "meta", "title", "link", "style", "body", "main", "header", "footer", "section", "div", "span", "p", "pre", "code",
    "h1", "h2", "h3", "ul", "ol", "li", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "caption", "details", "summary",
    "strong", "em", "b", "i", "small", "time", "br", "hr", "svg", "g", "rect", "line", "path", "circle", "text", "polyline", "figure",
    "figcaption", "nav", "article", "tfoot", "colgroup", "col", "desc",
))  # fmt: skip


class _Page(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self):
        super().__init__()
        self.offences = []

    def handle_starttag(self, tag, attrs):
        if tag not in ELEMENTS:
            self.offences.append(tag)
        for name, value in attrs:
            addressed = name in ("href", "src", "action", "formaction", "xlink:href") and value != "data:,"
            if name.startswith("on") or addressed or (name == "style" and "url" in (value or "")):
                self.offences.append("%s %s=%r" % (tag, name, value))


def inert(page: str) -> None:
    """No element, address or handler of a page comes from what is shown on it."""
    reader = _Page()
    reader.feed(page)
    reader.close()
    assert reader.offences == []
    assert page.count("<style") == 1


def report(data: bytes) -> None:
    """The report of a restore."""
    facts = parsed(data)
    if facts is not None:
        built = collect.build_report(facts)
        written(json.dumps(built, allow_nan=False, ensure_ascii=False), render.render_junit(built), render.render_prometheus(built))
        inert(render.render_html(built))
        told = partial_text if partial_text.is_partial(built["plan"]) else text
        said = [text.recap_lines(built, "r"), text.failure_lines(built, "r"), text.progress_lines(built)]
        printable(list(chain.from_iterable([*said, told.plan_lines(built["plan"], NOW)])))


def rehearsed(data: bytes) -> None:
    """The report of a rehearsal, out of records that may have lain in a file for months."""
    records = parsed(data)
    if records is not None:
        made = rehearsal.build(records, records if isinstance(records, list) else ())
        written(json.dumps(made, allow_nan=False, ensure_ascii=False), rehearsal_metrics.render_junit(made),
                rehearsal_metrics.render_prometheus(made))  # fmt: skip
        inert(rehearsal_write.render_html(made))
        printable(rehearsal_text.lines(made, "r"))


def written(document: str, junit: str, metrics: str) -> None:
    """Every file is read back by the program it is for."""
    document.encode("utf-8")
    ElementTree.fromstring(junit.encode("utf-8"))
    for family in text_string_to_metric_families(metrics.encode("utf-8").decode("utf-8")):
        assert family.name.startswith("letta_")
        assert family.samples


def printable(lines: list[str]) -> None:
    """Nothing in a line steers a terminal or turns its direction."""
    for line in lines:
        assert not [char for char in line if ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u202a\u202b\u202d\u202e\u2066\u2067"]
        line.encode("utf-8")


def seeds() -> dict[str, list[bytes]]:
    """Facts of good runs."""
    runs = [report_samples.SUCCESS, report_samples.FAILURE, {"plan": report_samples.PLAN, "status": "planned"}]
    return {
        "report": [as_bytes(facts) for facts in runs],
        "rehearsed": [as_bytes([rehearsal_samples.record()]), as_bytes([rehearsal_samples.failed(), rehearsal_samples.error()])],
    }
