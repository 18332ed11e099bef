"""No secret is left anywhere: output at -vvv, arguments of processes, journals, reports, the catalogue, temporary files.

Where a secret may be, on purpose and only there:

* the environment of PostgreSQL's client tools (``PGPASSWORD``): readable by the same user and root alone;
* while a long module runs detached, the module file that Ansible wrote for it, in a folder of mode 0700 that only this user can
  enter (the file's own mode is Ansible's choice: 0644, then 0744). It holds the module's arguments, and is gone when the task ends.
"""
from __future__ import annotations

import base64
import html
import io
import json
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import threading
import time
import urllib.parse
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pyrage
import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.trust import Seal
from tests.faults import kit
from tests.integration.restore_kit import ADMIN_PASSWORD, PASSWORD
from tests.lab import places

pytestmark = pytest.mark.slow

BASE64 = re.compile(rb"[A-Za-z0-9+/]{80,}={0,2}")
TOOLS = ("pg_restore", "pg_dump", "psql", "pg_dumpall")
TEMPORARY = ("tmp", "remote", "async", "local")  # what a run may write beside its results


def spellings(secret):
    """Return every way a text is likely to be written down, as bytes."""
    quoted = json.dumps(secret)[1:-1]
    found = {secret, quoted, json.dumps(quoted)[1:-1], repr(secret)[1:-1], html.escape(secret), html.escape(secret, quote=False)}
    found |= {urllib.parse.quote(secret), urllib.parse.quote_plus(secret), urllib.parse.quote(secret, safe=""), secret.replace("'", "''")}
    found |= {secret.replace("'", "\\'"), secret.replace("'", "'\"'\"'"), secret.encode().hex()}
    for text in (secret, quoted, json.dumps(quoted)[1:-1]):  # JSON inside a Python literal, as in the module files of Ansible
        escaped = text.replace("\\", "\\\\")
        found |= {repr(text)[1:-1], escaped, escaped.replace("'", "\\'"), escaped.replace('"', '\\"')}
    every = {text.encode() for text in found}
    for shift in range(3):  # the same text at the three places it can have in a base64 stream; its ragged ends left out
        coded = base64.b64encode(b"\0" * shift + secret.encode())
        every.add(coded[(0, 2, 3)[shift] : -4])
    return {text for text in every if len(text) >= 8}


class Searcher:
    """Finds secrets in bytes, also inside base64 and zip."""

    def __init__(self, **known):
        self.known = {name: spellings(secret) for name, secret in known.items()}

    def find(self, data, depth=0):
        """Return the names of the secrets in ``data``."""
        found = {name for name, texts in self.known.items() if any(text in data for text in texts)}
        if depth < 3:
            for inner in self._inside(data):
                found |= self.find(inner, depth + 1)
        return found

    @staticmethod
    def _inside(data):
        for match in BASE64.finditer(data):
            text = match.group()
            try:
                yield base64.b64decode(text[: len(text) // 4 * 4])
            except ValueError:
                continue
        if b"PK\x03\x04" in data:
            try:
                with zipfile.ZipFile(io.BytesIO(data[data.index(b"PK\x03\x04") :])) as archive:
                    for name in archive.namelist():
                        yield archive.read(name)
            except (zipfile.BadZipFile, EOFError, ValueError):
                return


@dataclass
class Seen:
    """What was seen while a playbook ran."""

    arguments: set = field(default_factory=set)  # (secret, command line)
    environments: set = field(default_factory=set)  # (secret, program)
    files: dict = field(default_factory=dict)  # path -> (secrets, mode, mode of its folder)
    samples: int = 0


class Watch(threading.Thread):
    """Looks every 20 ms at all processes, and at every file below some folders."""

    def __init__(self, searcher, folders):
        super().__init__(daemon=True)
        self.searcher, self.folders = searcher, folders
        self.seen, self.over, self.known = Seen(), threading.Event(), {}
        self.failure = None

    def run(self):
        try:
            while not self.over.wait(0.02):
                self.look_at_processes()
                self.look_at_files()
                self.seen.samples += 1
        except Exception as exc:  # noqa: BLE001  (told by the test)
            self.failure = exc

    def look_at_processes(self):
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit() or int(folder.name) == os.getpid():
                continue
            for part, keep in (("cmdline", self.seen.arguments), ("environ", self.seen.environments)):
                try:
                    data = (folder / part).read_bytes()
                    if (folder.name, part, data) in self.known:
                        continue
                    self.known[(folder.name, part, data)] = True
                    found = self.searcher.find(data)
                    line = data.replace(b"\0", b" ").decode("utf-8", "replace")[:300]
                    what = line if part == "cmdline" else (folder / "comm").read_text().strip()
                except OSError:
                    continue  # it ended, or is somebody else's
                keep.update((name, what) for name in found)

    def look_at_files(self):
        for top in self.folders:
            for folder, _dirs, names in os.walk(top):
                for name in names:
                    self.look_at_file(Path(folder, name))

    def look_at_file(self, path):
        try:
            facts = path.lstat()
            mark = (str(path), facts.st_ino, facts.st_size, facts.st_mtime_ns)
            if mark in self.known or not stat.S_ISREG(facts.st_mode):
                return
            found = self.searcher.find(path.read_bytes())
            above = path.parent.stat().st_mode
        except OSError:
            return
        self.known[mark] = True
        before = self.seen.files.get(str(path), (set(), 0, 0))[0]
        self.seen.files[str(path)] = (before | found, stat.S_IMODE(facts.st_mode), stat.S_IMODE(above))

    def __exit__(self, *exc_info):
        self.over.set()
        self.join(20)

    def __enter__(self):
        self.start()
        return self


class Observed:
    """A world whose every playbook run is watched and then searched."""

    def __init__(self, world, redis):
        self.world = world
        self.key, self.token = "key-%s" % secrets.token_urlsafe(20), "token-%s" % secrets.token_urlsafe(20)
        world.variables.update(
            letta_encryption_key=self.key, letta_redis_host=redis.host, letta_redis_port=redis.port, letta_redis_password=redis.password
        )
        self.identity, self.signing_key = self._trust()
        self.service = kit.Service(world, PASSWORD)
        self.service.answer_at(places.free_port(), self.token)
        assert self.service.run("start") == 0
        world.sql("DELETE FROM letta.messages WHERE created_at > now() - interval '1 hour'")
        world.sql("DELETE FROM letta.agents WHERE created_at > now() - interval '1 hour'")  # validation would rightly complain of it
        self.searcher = Searcher(
            admin_password=ADMIN_PASSWORD, letta_password=PASSWORD, encryption_key=self.key, api_token=self.token,
            redis_password=redis.password, identity=self.identity, signing_key=self.signing_key,
        )
        self.folders = {name: world.folder / "watched" / name for name in TEMPORARY}
        for folder in self.folders.values():
            folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        self.log = world.folder / "ansible.log"

    def _trust(self):
        """Put an encrypted, signed set in place of the plain one; returns (the identity, a line of the private signing key)."""
        identity, key = str(pyrage.x25519.Identity.generate()), self.world.folder / "signing"
        recipient = str(pyrage.x25519.Identity.from_str(identity).to_public())
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        scratch = self.world.folder / "watched" / "tmp"  # what is left there is told by left_behind
        scratch.mkdir(parents=True)
        shutil.rmtree(kit.only_set(self.world))
        self.world.backup(seal=Seal(str(key), (recipient,), str(scratch)))
        self.world.variables.update(
            letta_backup_recipients=[recipient], letta_backup_identity=identity, letta_backup_signing_key=str(key),
            letta_backup_allowed_signers="ops " + key.with_suffix(".pub").read_text(), letta_scratch_dir=str(scratch),
        )
        return identity, key.read_text().splitlines()[3]

    def play(self, playbook, *arguments):
        """Run a playbook at -vvv under observation; returns (Played, Seen)."""
        env = dict(
            TMPDIR=str(self.folders["tmp"]), ANSIBLE_LOCAL_TEMP=str(self.folders["local"]), ANSIBLE_REMOTE_TMP=str(self.folders["remote"]),
            ANSIBLE_ASYNC_DIR=str(self.folders["async"]), ANSIBLE_LOG_PATH=str(self.log),
        )
        with Watch(self.searcher, list(self.folders.values())) as watch:
            played = self.world.play(playbook, "-vvv", *arguments, env=env)
        assert watch.failure is None
        assert watch.seen.samples > 10
        return played, watch.seen

    def findings(self, played, seen):
        """Return every place where a secret was found and may not be."""
        found = ["output: %s" % name for name in self.searcher.find(played.output.encode())]
        found += ["arguments of %s: %s" % (what, name) for name, what in seen.arguments]
        found += ["environment of %s: %s" % (what, name) for name, what in seen.environments if what not in TOOLS]
        for path, (names, mode, above) in seen.files.items():
            # Ansible's own file of a module with its arguments: where it runs, and for an instant on its way there.
            module = Path(path).name.startswith("AnsiballZ_") and path.startswith(str(self.folders["remote"]))
            module = module or (path.startswith(str(self.folders["local"] / "ansible-local-")) and mode == 0o600)
            if names and not (module and above & 0o077 == 0):
                found.append("temporary file %s (%o in %o): %s" % (path, mode, above, sorted(names)))
        for folder in (self.world.root, self.world.reports, self.folders["tmp"].parent, self.world.folder / "ansible_home"):
            for path in Path(folder).rglob("*"):
                if path.is_file():
                    found += ["left in %s: %s" % (path, name) for name in self.searcher.find(path.read_bytes())]
        if self.log.exists():
            found += ["log: %s" % name for name in self.searcher.find(self.log.read_bytes())]
        return found

    def left_behind(self):
        """Return the temporary files that a run did not remove."""
        return [str(path) for name in TEMPORARY for path in self.folders[name].rglob("*") if path.is_file()]


@pytest.fixture
def observed(world, redis_server):
    made = Observed(world, redis_server)
    yield made
    made.service.close()


@pytest.mark.fault(42, "report", "temporary")
def test_the_searcher_finds_a_planted_secret_however_it_is_written_and_packed():
    searcher = Searcher(admin_password=ADMIN_PASSWORD, letta_password=PASSWORD)
    for secret, name in ((ADMIN_PASSWORD, "admin_password"), (PASSWORD, "letta_password")):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("args", json.dumps({"login_password": secret}))
        hidden = {
            "plain": secret.encode(),
            "json": json.dumps({"a": {"b": secret}}).encode(),
            "json in json": json.dumps(json.dumps([secret])).encode(),
            "literal": ("PARAMS = b'%s'" % json.dumps([secret]).replace("\\", "\\\\").replace("'", "\\'")).encode(),
            "uri": b"postgresql://letta:%s@db1/letta" % urllib.parse.quote(secret, safe="").encode(),
            "module": b"ZIPDATA = '%s'" % base64.b64encode(packed.getvalue()),
            "html": ("<td>%s</td>" % html.escape(secret)).encode(),
        }
        hidden.update({"base64 at %d" % n: base64.b64encode(b"x" * n + secret.encode() + b"yy") for n in range(4)})
        assert [how for how, data in hidden.items() if searcher.find(data) != {name}] == []
    assert searcher.find(b"nothing to see, only a password") == set()


@pytest.mark.fault(42, "arguments", "temporary")
def test_the_watch_sees_a_secret_in_arguments_environment_and_a_file_of_a_moment(tmp_path):
    searcher = Searcher(planted="a-secret-of-this-test")
    with Watch(searcher, [tmp_path]) as watch:
        code = "import os, time; open(os.environ['F'], 'w').write('a-secret-of-' + 'this-test'); time.sleep(.4); os.unlink(os.environ['F'])"
        env = {"F": str(tmp_path / "f"), "P": "a-secret-of-this-test"}
        subprocess.run([sys.executable, "-c", code, "a-secret-of-this-test"], env=env, check=True)
        time.sleep(0.1)
    assert watch.failure is None
    assert {name for name, _what in watch.seen.arguments} == {"planted"}
    assert {name for name, _what in watch.seen.environments} == {"planted"}
    assert watch.seen.files[str(tmp_path / "f")][0] == {"planted"}


@pytest.mark.fault(42, "output", "report", "temporary", "arguments")
def test_backup_validation_and_catalogue_leave_no_secret_anywhere(observed):
    for playbook, arguments in (("backup.yml", ()), ("validate.yml", ()), ("catalog.yml", ("--tags", "verify"))):
        played, seen = observed.play(playbook, *arguments)
        assert played.rc == 0, played.output[-4000:]
        assert observed.findings(played, seen) == [], playbook
        assert observed.left_behind() == [], playbook


@pytest.mark.fault(42, "output", "report", "temporary", "arguments")
def test_a_restore_and_its_rollback_leave_no_secret_anywhere(observed):
    played, seen = observed.play("restore-full.yml")
    played.ok()
    assert observed.findings(played, seen) == []
    assert observed.left_behind() == []
    assert observed.service.calls[-2:] == ["stop", "start"], "the API token was used"
    detached = {path: facts for path, facts in seen.files.items() if facts[0]}
    assert detached, "the detached load was seen while its file held its arguments"
    for path, (_names, _mode, above) in detached.items():
        assert "AnsiballZ_pg_restore" in path
        assert above & 0o077 == 0
        assert not Path(path).exists()

    played, seen = observed.play("rollback.yml")
    played.ok()
    assert observed.findings(played, seen) == []
    assert observed.left_behind() == []


@pytest.mark.fault(42, "output", "report", "temporary", "arguments")
@pytest.mark.parametrize(
    ("failure_class", "variables"),
    [
        ("preflight", {"letta_db_admin_password": "wrong {{ pass }} 'word' of-nobody"}),
        ("preflight", {"letta_pg_uri": "postgresql://letta:another-secret-of-mine@127.0.0.1:1/letta", "letta_db_admin_user": ""}),
        ("verify_failed", {}),
    ],
)
def test_a_failed_restore_leaves_no_secret_anywhere(observed, failure_class, variables):
    if failure_class == "verify_failed":
        tables = kit.read_manifest(kit.only_set(observed.world))["tables"]
        form = tables["letta.block"]["digest"].partition(":")[0]
        del observed.world.variables["letta_backup_allowed_signers"]
        kit.reseal(kit.only_set(observed.world), tables=dict(tables, **{"letta.block": {"rows": 99, "digest": form + ":" + "0" * 32}}))
    observed.world.variables.update(variables)
    observed.searcher.known["given"] = spellings(variables.get("letta_db_admin_password", "another-secret-of-mine"))
    played, seen = observed.play("restore-full.yml")
    played.refused(failure_class)
    assert observed.findings(played, seen) == []
    assert observed.left_behind() == []
