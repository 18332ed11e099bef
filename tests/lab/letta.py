"""A real Letta server of the lab: migrate a database, start, wait until it answers reads, talk to its REST API, stop or kill."""
from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal as signals
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from urllib.parse import quote

from . import places
from .letta_install import letta_home
from .openai_stub import BASE_URL

URI_ALLOWS = "!$&'()*+,;="


class ApiError(RuntimeError):
    """The server answered with an error status: ``status`` and the start of its text."""

    def __init__(self, method, path, status, text):
        super().__init__("%s %s -> %d: %s" % (method, path, status, text[:1500]))
        self.status = status
        self.text = text


def pg_uri(server):
    """Return the URI Letta takes for an engine :class:`Server`.

    Letta 0.16.8 does not start with a URI that holds a "%" (it goes through a ConfigParser, which takes it for an
    interpolation), so what a URI allows unencoded stays so, and a password beyond that is refused here.
    """
    user, password = quote(server.user, safe=URI_ALLOWS), quote(server.password, safe=URI_ALLOWS)
    if "%" in user + password:
        raise ValueError("Letta cannot use a role or password that a URI has to encode")
    return "postgresql://%s:%s@%s:%d/%s" % (user, password, server.host, server.port, quote(server.dbname, safe=""))


def environment(home, server, key=None, redis=None, model_proxy=None):
    """Return the whole environment of a Letta process.

    :param home: scratch folder that becomes ``HOME`` (the server writes ``~/.letta``).
    :param server: where the database is, as Letta's role.
    :param key: ``LETTA_ENCRYPTION_KEY``; None leaves it out.
    :param redis: (host, port) or None. Letta 0.16.8 knows no Redis password.
    :param model_proxy: address of the fake model service, see :data:`.openai_stub.BASE_URL`.
    """
    static = next((letta_home() / "venv" / "lib").glob("python3*")) / "site-packages" / "llama_index" / "core" / "_static"
    env = {
        "PATH": "%s:/usr/bin:/bin" % (letta_home() / "venv" / "bin"),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "LETTA_PG_URI": pg_uri(server),
        # Without uvloop new database connections were seen to hang until their time-out.
        "LETTA_USE_UVLOOP": "true",
        "TIKTOKEN_CACHE_DIR": str(static / "tiktoken_cache"),
        "NLTK_DATA": str(static / "nltk_cache"),
        # Stored in the database as it is written here: an absolute path of this machine would go into backups.
        "TOOL_EXEC_DIR": "~/tool_execution",
        "OPENAI_API_KEY": "fake-key-of-the-lab",
        # Each call of the model service reads all authorities anew, of which the lab needs none: half the CPU of a search.
        "SSL_CERT_FILE": str(_one_authority(home)),
    }
    if model_proxy:
        env.update(OPENAI_BASE_URL=BASE_URL, OPENAI_API_BASE=BASE_URL, HTTP_PROXY=model_proxy, NO_PROXY="%s,localhost" % places.LOOPBACK)
    if key:
        env["LETTA_ENCRYPTION_KEY"] = key
    if redis:
        env.update(LETTA_REDIS_HOST=redis[0], LETTA_REDIS_PORT=str(redis[1]))
    return env


def _one_authority(home):
    """Write a file with one authority's certificate (an empty one is refused); returns its path."""
    path = Path(home) / "authority.pem"
    if not path.exists():
        bundle = next((letta_home() / "venv" / "lib").glob("python3*/site-packages/certifi/cacert.pem")).read_text(encoding="utf-8")
        start, end = bundle.index("-----BEGIN"), "-----END CERTIFICATE-----\n"
        path.write_text(bundle[start:bundle.index(end) + len(end)], encoding="utf-8")
    return path


def migrate(server, home, key=None, revision="head"):
    """Run Letta's own ``alembic upgrade`` on a database; about 5 s from empty to head.

    :param key: the encryption key; without one the migrations that encrypt leave everything in plain text.
    :param revision: where to stop: a revision, or a number of steps as "+1".
    :raises RuntimeError: with the end of its output, the password taken out.
    """
    argv = [str(letta_home() / "venv" / "bin" / "python"), "-m", "alembic", "upgrade", revision]
    done = subprocess.run(
        argv, cwd=letta_home(), env=environment(home, server, key), check=False, capture_output=True, text=True, timeout=300
    )
    if done.returncode:
        raise RuntimeError("alembic upgrade %s failed:\n%s" % (revision, _without((done.stdout + done.stderr)[-4000:], server)))


_BY_STEPS = """
import sys
from alembic import command
from alembic.config import Config
for line in sys.stdin:
    command.upgrade(Config("alembic.ini"), line.strip())
    print("", "REACHED", sep="\\n", flush=True)
"""


def migrate_by_steps(server, home, key, revisions):
    """Run Letta's own upgrades in one process: Letta's imports, most of what :func:`migrate` costs, are paid once.

    :param revisions: where to stop, oldest first. :returns: iterator of each revision once the database is there.
    :raises RuntimeError: as :func:`migrate`.
    """
    argv = [str(letta_home() / "venv" / "bin" / "python"), "-c", _BY_STEPS]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(argv, cwd=letta_home(), env=environment(home, server, key), text=True, **streams) as process:
        for revision in revisions:
            process.stdin.write(revision + "\n")
            process.stdin.flush()
            said = []
            for line in iter(process.stdout.readline, ""):
                if line == "REACHED\n":
                    break
                said.append(line)
            else:
                raise RuntimeError("alembic upgrade %s failed:\n%s" % (revision, _without("".join(said)[-4000:], server)))
            yield revision


class LettaServer:
    """One server process on a free loopback port.

    :param home: scratch folder for ``HOME``, working directory and log.
    :param server: the database as an engine :class:`Server` (Letta's role).
    :param pooled: keep connections, which Letta does not unless told so; its requests then need less CPU.
    """

    def __init__(self, home, server, model_proxy, key=None, redis=None, pooled=False):
        self.home = Path(home).resolve()
        self.home.mkdir(parents=True, exist_ok=True)
        self.server = server
        self.log_path = self.home / "letta.log"
        self._settings = {"key": key, "redis": redis, "model_proxy": model_proxy}
        self._pooled = pooled
        self._process = None
        self.url = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()

    def start(self, timeout=120):
        """Start and wait until it is healthy *and* a read of the database answers; returns self.

        :raises RuntimeError: with the end of the log when that does not happen in ``timeout`` seconds.
        """
        port = places.free_port()
        self.url = "http://%s:%d" % (places.LOOPBACK, port)
        argv = [str(letta_home() / "venv" / "bin" / "letta"), "server", "--host", places.LOOPBACK, "--port", str(port)]
        env = environment(self.home, self.server, **self._settings)
        if self._pooled:
            # With a pool Letta demands TLS unless the URI speaks of it.
            env.update(LETTA_DISABLE_SQLALCHEMY_POOLING="false", LETTA_PG_URI=pg_uri(self.server) + "?ssl=disable")
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                argv, cwd=self.home, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, ApiError):
                self.api("GET", "/v1/health/", timeout=5)
                # Health does not touch the database; this read does.
                self.api("GET", "/v1/agents/?limit=1", timeout=20)
                return self
            time.sleep(0.25)
        why = "ended with status %s" % self._process.poll() if self._process.poll() is not None else "is not ready after %d s" % timeout
        self.kill()
        raise RuntimeError("Letta %s:\n%s" % (why, self.log_tail()))

    def stop(self, timeout=30):
        """Ask the server to end, wait for the process to be gone, kill it after ``timeout`` seconds."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        self.kill()

    def kill(self, signal=signals.SIGKILL):
        """Kill the server and what it started (it is the first of its own process group)."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal)
        self._process.wait(30)

    @property
    def pid(self):
        """The id of the server's first process."""
        return self._process.pid

    def running(self):
        return self._process is not None and self._process.poll() is None

    def log_tail(self, characters=4000):
        """Return the end of the server's log without the database password."""
        return _without(self.log_path.read_text(encoding="utf-8", errors="replace")[-characters:], self.server)

    def api(self, method, path, body=None, timeout=60):
        """Call the REST API.

        :param body: sent as JSON; a dict from :func:`upload` is sent as a file.
        :returns: the decoded JSON answer (None when empty).
        :raises ApiError: for answers of status 400 and above; OSError when there is no answer.
        """
        data, headers = None, {"Accept": "application/json"}
        if isinstance(body, FileUpload):
            data, headers["Content-Type"] = body.encoded()
        elif body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                text = response.read().decode()
        except urllib.error.HTTPError as exc:
            raise ApiError(method, path, exc.code, exc.read().decode("utf-8", "replace")) from None
        return json.loads(text) if text else None

    def say(self, agent_id, text, **options):
        """Send a user message to an agent and wait for the whole turn; returns Letta's answer."""
        body = {"messages": [{"role": "user", "content": text}], **options}
        return self.api("POST", "/v1/agents/%s/messages" % agent_id, body, timeout=120)

    def everything(self, path, limit=50):
        """Return all pages of a listing that pages by ``after`` (the last id seen)."""
        found = []
        while True:
            after = "&after=%s" % found[-1]["id"] if found else ""
            page = self.api("GET", "%s%slimit=%d%s" % (path, "&" if "?" in path else "?", limit, after))
            found += page
            if len(page) < limit:
                return found


class FileUpload:
    """A file for a multipart upload."""

    def __init__(self, name, content, content_type="text/plain"):
        self.name, self.content, self.content_type = name, content, content_type

    def encoded(self):
        """Return (body, content type)."""
        boundary = uuid.uuid4().hex
        head = 'Content-Disposition: form-data; name="file"; filename="%s"\r\nContent-Type: %s' % (self.name, self.content_type)
        parts = [b"--" + boundary.encode(), head.encode(), b"", self.content, b"--" + boundary.encode() + b"--", b""]
        return b"\r\n".join(parts), "multipart/form-data; boundary=%s" % boundary


def remove_home(home):
    """Remove a server's scratch folder."""
    shutil.rmtree(home, ignore_errors=True)


def _without(text, server):
    return text.replace(server.password, "***") if server.password else text
