# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Using a Letta server's REST API: JSON, listings page by page, downloads and uploads that go through the disk.

Answers hold decrypted secrets: whoever asks keeps what is needed and drops the rest. Errors tell the status and one phrase.
"""
from __future__ import annotations

import hashlib
import http.client
import json
import re
import urllib.error
import urllib.request
import uuid
from urllib.parse import quote

from ..errors import RecoveryError
from .api import Api, _unreachable

CHUNK = 1 << 20
_PHRASE = 200
_SHORT = 20
# SQLAlchemy ends its messages with the statement and its parameters, pydantic with the input: values, all of them.
_VALUES = re.compile(r"\[(?:SQL|parameters|type=).*", re.DOTALL)


class Rest(Api):
    """An :class:`Api` that is read and written. All methods raise :class:`RecoveryError` (``preflight``) when the server does not
    answer or answers with an error; ``details.status`` is the HTTP status, or None.

    :param hide: secrets that must never be seen in a message, besides the token.
    """

    def __init__(self, url, token="", validate_certs=True, timeout=60, hide=()):
        super().__init__(url, token, validate_certs, timeout)
        self._hide = [str(secret) for secret in hide if secret]

    def clean(self, text):
        """Return ``text`` without token, hidden values and passwords of URIs."""
        for secret in sorted(self._hide, key=len, reverse=True):
            text = text.replace(secret, "***")
        return super().clean(text)

    def json(self, method, path, body=None):
        """Send a request, return the decoded answer (None when it is empty)."""
        data = None if body is None else json.dumps(body).encode()
        with self._answer(method, path, data, {"Content-Type": "application/json"} if body is not None else {}) as answer:
            return _decoded(self._read(answer, path), self.url + path)

    def found(self, path):
        """Return the decoded answer of a GET, or None when the server says 404."""
        try:
            return self.json("GET", path)
        except RecoveryError as error:
            if error.details["status"] == 404:
                return None
            raise

    def pages(self, path, limit=500, whole=True):
        """Yield every entry of a listing that pages by ``after`` (the last id seen).

        :param whole: each thing is one entry, so that a very short page is the last one. A message is told in parts, or in none: there
            the listing ends with a page that brings no new id.
        """
        seen, after = set(), ""
        while True:
            page = self.json("GET", "%s%slimit=%d%s" % (path, "&" if "?" in path else "?", limit, after and "&after=" + quote(after)))
            if not any(entry["id"] not in seen for entry in page):
                return
            yield from page
            seen.update(entry["id"] for entry in page)
            after = page[-1]["id"]
            # Not "fewer than asked for": a server may give fewer at a time than it is asked for.
            if whole and len(page) < _SHORT:
                return

    def download(self, path, stream, limit):
        """Write the answer of a GET into a binary stream.

        :param limit: bytes; ``preflight`` when the answer is longer.
        :returns: (bytes written, SHA-256 as hex).
        """
        digest, size = hashlib.sha256(), 0
        with self._answer("GET", path) as answer:
            while True:
                chunk = self._read(answer, path, CHUNK)
                if not chunk:
                    return size, digest.hexdigest()
                size += len(chunk)
                if size > limit:
                    raise self._failed("GET", path, "the answer is longer than %d bytes" % limit)
                digest.update(chunk)
                stream.write(chunk)

    def upload(self, path, source, fields, filename):
        """POST a file as ``multipart/form-data``, read from disk while it is sent.

        :param source: binary stream at its beginning. :param fields: {name: text} of the other parts.
        :returns: the decoded answer.
        """
        boundary = uuid.uuid4().hex
        field = '--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
        parts = [field % (boundary, name, text) for name, text in fields.items()]
        parts.append(
            '--%s\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\nContent-Type: application/json\r\n\r\n'
            % (boundary, quote(filename))
        )
        head, tail = "".join(parts).encode(), ("\r\n--%s--\r\n" % boundary).encode()
        source.seek(0, 2)
        headers = {
            "Content-Type": "multipart/form-data; boundary=%s" % boundary,
            "Content-Length": str(len(head) + source.tell() + len(tail)),
        }
        source.seek(0)

        def body():
            yield head
            yield from iter(lambda: source.read(CHUNK), b"")
            yield tail

        with self._answer("POST", path, body(), headers) as answer:
            return _decoded(self._read(answer, path), self.url + path)

    def _answer(self, method, path, data=None, headers=None):
        request = urllib.request.Request(  # noqa: S310  (scheme checked)
            self.url + path, data, {"Accept": "application/json", **(headers or {})}, method=method
        )
        if self._token:
            request.add_unredirected_header("Authorization", "Bearer %s" % self._token)
        try:
            return self._opener.open(request, timeout=self.timeout)
        except urllib.error.HTTPError as exc:
            with exc:
                phrase = self._phrase(exc)
            raise self._failed(method, path, "HTTP %d%s" % (exc.code, phrase and " " + phrase), exc.code) from None
        except urllib.error.URLError as exc:
            raise self._failed(method, path, _unreachable(exc.reason)) from None
        except (OSError, http.client.HTTPException) as exc:
            raise self._failed(method, path, "connected, but no answer: %s" % (exc or type(exc).__name__)) from None

    def _read(self, answer, path, size=None):
        try:
            return answer.read(size)
        except (OSError, http.client.HTTPException) as exc:
            raise self._failed("GET", path, "the answer broke off: %s" % (exc or type(exc).__name__)) from None

    def _phrase(self, exc):
        """Return one phrase of an error's body. A list of validation errors repeats the input, so of it only places are told."""
        try:
            detail = json.loads(exc.read(1 << 16)).get("detail", "")
        except (ValueError, AttributeError, OSError, http.client.HTTPException):
            return ""
        if exc.code == 422 or not isinstance(detail, str):
            return "the request or the file does not fit this server's release"
        return " ".join(self.clean(_VALUES.sub("", detail)).split())[:_PHRASE]

    def _failed(self, method, path, why, status=None):
        hints = {
            401: "check api_token",
            404: "check api_url, and that the thing asked for exists",
            None: "check api_url, and that the server runs",
        }
        return RecoveryError(
            "preflight",
            self.clean("%s %s%s: %s" % (method, self.url, path, why)),
            now="nothing was changed",
            next_step=hints.get(status, "see the server's log"),
            details={"status": status},
        )


def _decoded(body, where):
    try:
        return json.loads(body) if body else None
    except ValueError:
        raise RecoveryError(
            "preflight", "%s answers something that is not JSON" % where, now="nothing was changed",
            next_step="check that api_url is a Letta server", details={"status": None},
        ) from None
