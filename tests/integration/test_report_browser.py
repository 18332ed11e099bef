"""The HTML report in a real browser: it paints, says nothing on the console, and asks the network for nothing."""
from __future__ import annotations

import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report import collect, rehearsal, rehearsal_write, render

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "report"))
from rehearsal_samples import TARGET, failed, half_year, older, record
from report_samples import FAILURE, PLANNED, SUCCESS

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((path for path in map(shutil.which, _NAMES) if path), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium installed; nothing is downloaded for this test")]


def visit(tmp_path, html, width=1280):
    """Open a page; return (URLs it asked for, console lines, DOM as text)."""
    page, log = tmp_path / "report.html", tmp_path / "net.json"
    page.write_text(html, encoding="utf-8")
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update",
         "--disable-sync", "--user-data-dir=%s" % (tmp_path / "profile"), "--enable-logging=stderr", "--log-net-log=%s" % log,
         "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
         "--window-size=%d,900" % width, "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    urls = set()
    # One event a line; a browser that ends while writing may leave its list without the closing brackets.
    for line in log.read_text(errors="replace").splitlines():
        asked = re.search(r'"url":"((?:https?|wss?|ftp)://[^"]+)"', line)
        # The browser also asks its maker for the time and the like: such requests have no page as their origin.
        if asked and '"initiator":' in line and '"initiator":"not an origin"' not in line:
            urls.add(asked.group(1))
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return urls, console, done.stdout


@pytest.fixture
def canary():
    """A local web server; whoever asks it is recorded."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *args):
            return

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield "http://127.0.0.1:%d" % server.server_port, asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("facts", [SUCCESS, FAILURE, PLANNED], ids=["success", "failure", "planned"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_asks_for_nothing_and_the_console_is_silent(tmp_path, facts, width):
    urls, console, dom = visit(tmp_path, render.render_html(collect.build_report(facts)), width)
    assert not urls
    assert console == []
    assert facts["backup"]["id"] in dom


@pytest.mark.parametrize("history", [[], half_year(60)], ids=["first", "many"])
def test_the_page_of_a_rehearsal_asks_for_nothing_and_the_console_is_silent(tmp_path, history):
    records = [record(), older(), failed(policies=["random"])]
    urls, console, dom = visit(tmp_path, rehearsal_write.render_html(rehearsal.build(records, history, TARGET)))
    assert not urls
    assert console == []
    assert dom.count("<polyline") == (2 if history else 0)


def test_a_page_that_does_ask_would_be_caught(tmp_path, canary):
    address, asked = canary
    html = "<html><body><img src='%s/seen.png'><script>console.error('loud')</script></body></html>" % address
    urls, console, _ = visit(tmp_path, html)
    assert asked == ["/seen.png"]
    assert any(url.startswith(address) for url in urls)
    assert any("loud" in line for line in console)


def test_even_markup_that_slipped_in_could_load_nothing(tmp_path, canary):
    address, asked = canary
    html = render.render_html(collect.build_report(SUCCESS)).replace("</main>", "<img src='%s/leak.png'></main>" % address)
    visit(tmp_path, html)
    assert asked == []


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_sticks_out_sideways(tmp_path, width):
    facts = json.loads(json.dumps(SUCCESS))
    facts["plan"]["window"]["agents"] = ["a" * 10000]
    facts["tables"][0]["explanation"] = "b" * 10000
    facts["undo"]["command"] = "c" * 1000
    assert sticks_out(tmp_path, render.render_html(collect.build_report(facts)), width) == 0


def test_of_a_rehearsal_nothing_sticks_out_sideways_on_a_phone(tmp_path):
    records = [record(set="a" * 200, policies=["b" * 40]), failed(reason="c" * 1000)]
    assert sticks_out(tmp_path, rehearsal_write.render_html(rehearsal.build(records, half_year(), "d" * 200)), 400) == 0


def sticks_out(tmp_path, html, width):
    """How many pixels of a page lie beyond its window."""
    # The report itself runs no script; the measuring one needs the page's own ban lifted.
    html = re.sub(r"<meta http-equiv=.Content-Security-Policy.*?>", "", html)
    script = "f.srcdoc=%s;f.onload=()=>{document.title='over='+(d=>d.scrollWidth-d.clientWidth)(f.contentDocument.documentElement)}" % (
        json.dumps(html).replace("</", "<\\/"))
    frame = "<iframe id=f style='width:%dpx;height:900px;border:0'></iframe><script>%s</script>" % (width, script)
    _, _, dom = visit(tmp_path, "<html><head><title>x</title></head><body>%s</body></html>" % frame)
    return int(re.search(r"<title>over=(\d+)</title>", dom).group(1))
