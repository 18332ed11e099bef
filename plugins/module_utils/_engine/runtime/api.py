# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking a Letta server over HTTP whether it is there, and whether it can really read agents.

``/v1/health/`` alone proves little: with a wrong encryption key it stays 200 while every read
of an agent with secrets answers 400. So a read goes with it. Bodies of good answers are never
kept: an agent's answer holds its decrypted secrets. Only of the health check's answer the version is read.
"""
from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import asdict, dataclass

from ..errors import RecoveryError
from ..postgres.process import scrub

HEALTH_PATH = "/v1/health/"
READ_PATH = "/v1/agents/?limit=1"
KEPT_BODY = 300
_VERSION = re.compile(r"\d+\.\d+\.\d+\w*")
# What a reverse proxy says when nobody is behind it.
_GATEWAY_ERRORS = (502, 503, 504)
_NO_NAME = "no such host"


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follow no redirect: the token must not travel to another host."""

    def redirect_request(self, *_args):
        return None


@dataclass(frozen=True)
class Health:
    """What a server answered.

    :param ok: both requests answered 200.
    :param health: HTTP status of ``/v1/health/``, None without an answer.
    :param read: HTTP status of the read of an agent, None when it was not asked or gave no answer.
    :param detail: one sentence for a person, without secrets.
    :param version: the release it says it is, None when it says none.
    """

    ok: bool
    health: int | None
    read: int | None
    detail: str
    version: str | None = None

    def as_dict(self):
        """Return it as plain data."""
        return asdict(self)


class Api:
    """One Letta server's HTTP interface.

    :param url: ``http://host:8283``, without credentials.
    :param token: server password or API key, sent as a bearer token; empty for none.
    :param validate_certs: check the server's TLS certificate.
    :param timeout: seconds for one request.
    :raises RecoveryError: ``usage`` when the URL is not a plain http(s) URL.
    """

    def __init__(self, url, token="", validate_certs=True, timeout=10):
        self.url = _checked_url(url)
        self._token = token or ""
        self.timeout = timeout
        context = ssl.create_default_context()
        if not validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        # Straight to the server: an http_proxy in the environment would answer in its place.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _StayHere()
        )

    def clean(self, text):
        """Return ``text`` without the token and without passwords of URIs."""
        return scrub(text.replace(self._token, "***") if self._token else text)

    def health(self, timeout=None):
        """Ask for health, then read an agent; returns :class:`Health`. Raises nothing: no answer is an answer."""
        status, text, _server, body = self._get(HEALTH_PATH, timeout, KEPT_BODY)
        if status != 200:
            return Health(False, status, None, "%s%s: %s" % (self.url, HEALTH_PATH, text))
        version = _version(body)
        read, text, _server, _body = self._get(READ_PATH, timeout)
        if read == 200:
            return Health(True, status, read, "healthy, and agents can be read", version)
        return Health(False, status, read, "health is 200, but %s%s: %s%s" % (self.url, READ_PATH, text, _hint(read, text)), version)

    def answers(self):
        """Tell whether anything is still there: a server that accepts but hangs counts, a proxy with nobody behind it does not.

        :raises RecoveryError: ``preflight`` when the host's name cannot be resolved: silence would prove nothing.
        """
        status, text, server, _body = self._get(HEALTH_PATH, min(self.timeout, 3))
        if text.startswith(_NO_NAME):
            raise RecoveryError("preflight", "%s: %s" % (self.url, text), next_step="check letta_api_url")
        if status is None:
            return not text.startswith("no connection")
        return status not in _GATEWAY_ERRORS or "uvicorn" in server.lower()

    def _get(self, path, timeout=None, keep=1):
        """Return (status or None, one phrase, Server header, the first bytes of a good answer)."""
        request = urllib.request.Request(self.url + path, headers={"Accept": "application/json"})  # noqa: S310  (scheme checked)
        if self._token:
            request.add_unredirected_header("Authorization", "Bearer %s" % self._token)
        try:
            with self._opener.open(request, timeout=timeout or self.timeout) as answer:
                return answer.status, "HTTP %d" % answer.status, answer.headers.get("Server", ""), answer.read(keep)
        except urllib.error.HTTPError as exc:
            with exc:
                body = self.clean(_body(exc))
            return exc.code, "HTTP %d %s" % (exc.code, " ".join(body.split())), exc.headers.get("Server", ""), b""
        except urllib.error.URLError as exc:
            return None, self.clean(_unreachable(exc.reason)), "", b""
        except (OSError, http.client.HTTPException) as exc:
            return None, self.clean("connected, but no answer: %s" % (exc or type(exc).__name__)), "", b""


def _checked_url(url):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password or parts.query:
        raise RecoveryError(
            "usage",
            "the address of the Letta API is no plain http or https URL",
            next_step="letta_api_url: http://host:8283 (the token goes into letta_api_token)",
        )
    return url.rstrip("/")


def _version(body):
    try:
        found = json.loads(body).get("version")
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, str) and _VERSION.fullmatch(found) else None


def _body(response):
    try:
        return response.read(KEPT_BODY).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return ""


def _unreachable(reason):
    # urllib wraps both a refused connection and a broken TLS handshake; only the first means nobody is there.
    if isinstance(reason, ssl.SSLError):
        return "connected, but TLS failed: %s" % reason
    if isinstance(reason, socket.gaierror):
        return "%s: %s" % (_NO_NAME, reason)
    if isinstance(reason, (ConnectionResetError, BrokenPipeError)):
        return "connected, but no answer: %s" % reason
    return "no connection: %s" % (reason,)


def _hint(status, text):
    if status == 401:
        return " (check letta_api_token)"
    if status == 400 and "decrypt" in text.lower():
        return " (the server runs with another LETTA_ENCRYPTION_KEY than the data)"
    return ""
