"""The REST client against a small real HTTP server: pages, limits, uploads, and errors that tell no values."""
from __future__ import annotations

import http.server
import io
import json
import threading
from urllib.parse import parse_qs, urlsplit

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.rest import Rest

TOKEN = "token-nobody-may-see"
SECRET = "value-nobody-may-see"
THINGS = [{"id": "thing-%d" % number} for number in range(60)]
ERRORS = {
    "/sql": (400, {"detail": "Import failed: bad byte\n[SQL: INSERT ...]\n[parameters: ('%s')]" % "row-value"}),
    "/pydantic": (400, {"detail": "a.b should be a number [type=int_parsing, input_value='row-value', input_type=str]"}),
    "/input": (422, {"detail": "[{'msg': 'bad', 'input': 'row-value'}]"}),
    "/echo": (500, {"detail": "no such key: %s %s" % (SECRET, TOKEN)}),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        if self.headers.get("Authorization") != "Bearer " + TOKEN:
            return self.say(401, {"detail": "Unauthorized"})
        if url.path in ERRORS:
            return self.say(*ERRORS[url.path])
        if url.path == "/things":
            asked = parse_qs(url.query)
            start = int(asked["after"][0].partition("-")[2]) + 1 if "after" in asked else 0
            # Never more than 25 at a time, whatever is asked for.
            return self.say(200, THINGS[start:start + min(25, int(asked["limit"][0]))])
        return self.say(404, {"detail": "Not Found"}) if url.path != "/text" else self.say(200, None, b"no json")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.say(200, {"type": self.headers["Content-Type"], "body": body.decode()})

    def say(self, status, data, body=None):
        body = json.dumps(data).encode() if body is None else body
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


@pytest.fixture(scope="module")
def rest():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Rest("http://127.0.0.1:%d" % server.server_port, TOKEN, hide=[SECRET])
        server.shutdown()
        thread.join()


def test_a_listing_is_read_to_its_end_though_the_server_gives_fewer_than_asked(rest):
    assert [list(rest.pages("/things", whole=whole)) for whole in (True, False)] == [THINGS, THINGS]


@pytest.mark.parametrize("path", ERRORS)
def test_an_error_tells_status_and_phrase_and_no_value(rest, path):
    with pytest.raises(RecoveryError, match="HTTP %d" % ERRORS[path][0]) as caught:
        rest.json("GET", path)
    told = str(caught.value.as_dict())
    assert caught.value.details == {"status": ERRORS[path][0]}
    assert not [value for value in ("row-value", SECRET, TOKEN) if value in told]


def test_a_wrong_token_a_wrong_address_and_another_server_are_told_apart(rest):
    with pytest.raises(RecoveryError, match="HTTP 401") as caught:
        Rest(rest.url, "another").json("GET", "/things?limit=1")
    assert "api_token" in caught.value.next_step
    with pytest.raises(RecoveryError, match="no connection"):
        Rest("http://127.0.0.1:1").json("GET", "/things")
    with pytest.raises(RecoveryError, match="not JSON"):
        rest.json("GET", "/text")
    assert rest.found("/nothing") is None


def test_a_download_stops_at_its_limit(rest):
    stream = io.BytesIO()
    size, digest = rest.download("/things?limit=25", stream, 10000)
    assert size == len(stream.getvalue()) and len(digest) == 64
    with pytest.raises(RecoveryError, match="longer than 100 bytes"):
        rest.download("/things?limit=25", io.BytesIO(), 100)


def test_an_upload_sends_fields_and_file_as_one_form(rest):
    answer = rest.upload("/import", io.BytesIO("{} 支持".encode()), {"name": "it's"}, 'a"b\r\n.af')
    boundary = answer["type"].partition("boundary=")[2]
    parts = answer["body"].split("--" + boundary)
    assert parts[1] == '\r\nContent-Disposition: form-data; name="name"\r\n\r\nit\'s\r\n'
    assert parts[2].startswith('\r\nContent-Disposition: form-data; name="file"; filename="a%22b%0D%0A.af"\r\n')
    assert parts[2].endswith("\r\n\r\n{} 支持\r\n") and parts[3] == "--\r\n"
