"""The images of the containers, built from Debian's packages (``python -m tests.lab.staging images``); one that is there is left as it is.

A tag is the hash of the recipe, of what is copied into it, and of the image below it.
"""
from __future__ import annotations

import glob
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from functools import lru_cache
from pathlib import Path

import docker
import requests

from .. import ROOT
from ..letta_install import OLDER_WHEEL, REQUIREMENTS, SDIST_SHA256, install_for, install_older
from . import LABEL, Missing

SUITE, PYTHON, GLIBC = "trixie", "3.13", "2_40"
RECIPES = Path(__file__).with_name("recipes")
NAMES = ("base", "letta", "app", "db", "redis", "store", "model")
_BELOW = {"letta": "base", "app": "letta", "db": "letta", "redis": "base", "store": "base", "model": "base"}
_LAUNCHER = "#!/opt/letta/venv/bin/python\nimport sys\nfrom letta.main import app\nsys.exit(app())\n"
_FAKE = {
    "openai_stub.py": "tests/lab/openai_stub.py",
    "ansible_collections/letta_ops/recovery/plugins/module_utils/_engine/rehearse/model.py":
        "plugins/module_utils/_engine/rehearse/model.py",
}  # fmt: skip
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def build(client, say=print):
    """Build what is missing. :returns: {name of :data:`NAMES`: tag}. :raises Missing: where Debian cannot be had."""
    tags = {name: tag(name) for name in NAMES}
    for name in NAMES:
        if not _there(client, tags[name]):
            started = time.monotonic()
            below = tags[_BELOW[name]] if name in _BELOW else _debian(client, say)
            _build(client, name, tags[name], below)
            say("image %s: built in %d s" % (tags[name], time.monotonic() - started))
    return tags


@lru_cache
def tag(name):
    """Return the tag that an image of today's recipe has."""
    seen = hashlib.sha256((RECIPES / ("%s.Dockerfile" % name)).read_bytes())
    for path, content in sorted(_files(name).items()):
        seen.update(b"%s\0%s\0" % (path.encode(), content))
    if name == "letta":
        seen.update(REQUIREMENTS.read_bytes() + SDIST_SHA256.encode() + PYTHON.encode())
    if name == "app":
        seen.update(OLDER_WHEEL.encode())
    seen.update((tag(_BELOW[name]) if name in _BELOW else SUITE).encode())
    return "letta-staging/%s:%s" % (name, seen.hexdigest()[:12])


def _there(client, name):
    try:
        return client.images.get(name)
    except docker.errors.ImageNotFound:
        return None


def _files(name):
    """Return the small files that a recipe copies: {path in its context: content}."""
    text = (RECIPES / ("%s.Dockerfile" % name)).read_text(encoding="utf-8")
    files = {found: (RECIPES / found).read_bytes() for found in re.findall(r"^COPY (\S+\.service) ", text, re.M)}
    if "COPY machine/ " in text:
        files.update(("machine" + path, content) for path, content in machine().items())
    if "COPY fake/ " in text:
        files.update(("fake/" + path, (ROOT / source).read_bytes()) for path, source in _FAKE.items())
    if name == "letta":
        files["letta/venv/bin/letta"] = _LAUNCHER.encode()
    return files


@lru_cache
def machine():
    """Return what a container needs to install packages as this machine does: {path: content}."""
    files = {}
    if mirror():
        files["/etc/apt/sources.list"] = ("deb %s %s main\n" % (mirror(), SUITE)).encode()
        files["/etc/apt/sources.list.d/debian.sources"] = b""
    settings = _output("apt-config", "dump", "--format", "%f \"%v\";%n")
    kept = [line for line in settings.splitlines() if re.match(r"Acquire::https?::(Proxy|CaInfo)", line, re.I)]
    if kept:
        files["/etc/apt/apt.conf.d/99machine"] = ("\n".join(kept) + "\n").encode()
    if _AUTHORITIES.exists():
        files[str(_AUTHORITIES)] = _AUTHORITIES.read_bytes()
    return files


@lru_cache
def mirror():
    """Return the address this machine takes Debian's packages from; empty where it takes none."""
    for path in sorted(["/etc/apt/sources.list", *glob.glob("/etc/apt/sources.list.d/*")], reverse=True):
        text = Path(path).read_text(encoding="utf-8", errors="replace") if os.path.isfile(path) else ""
        found = re.search(r"^(?:deb\s+(?:\[[^]]*\]\s+)?|URIs:\s*)(\S+/debian/?)(?=\s|$)", text, re.M)
        if found:
            return found.group(1)
    return ""


def _output(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout if shutil.which(argv[0]) else ""


# -- Debian -----------------------------------------------------------------------------------------------


def _debian(client, say):
    """Return an image of bare Debian: pulled where a registry answers, else bootstrapped of its packages."""
    name = "letta-staging/debian:%s" % SUITE
    if _there(client, name):
        return name
    try:
        # The client waits a few seconds for a registry's first word, and no longer.
        quick = docker.APIClient(base_url=_address(), version="auto", timeout=20)
        for line in quick.pull("debian", SUITE + "-slim", stream=True, decode=True):
            if "error" in line:
                raise docker.errors.APIError(line["error"])
        client.images.get("debian:%s-slim" % SUITE).tag(name)
        say("image %s: pulled" % name)
    except (docker.errors.DockerException, requests.exceptions.RequestException):
        started = time.monotonic()
        _bootstrap(client, name)
        say("image %s: no registry answers, bootstrapped in %d s" % (name, time.monotonic() - started))
    return name


def _address():
    return os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")


def _bootstrap(client, name):
    program = shutil.which("debootstrap", path="%s:/usr/sbin" % os.environ.get("PATH", "/usr/bin"))
    lacking = {"debootstrap is not installed": not program, "debootstrap needs root": os.geteuid(),
               "/etc/apt has no source of Debian's packages": not mirror()}  # fmt: skip
    for why, so in lacking.items():
        if so:
            raise Missing("No registry of container images answers, and %s: Debian cannot be had for them." % why)
    with tempfile.TemporaryDirectory(prefix="letta-debian-") as folder:
        root, packed = os.path.join(folder, "root"), os.path.join(folder, "root.tar")
        _run([program, "--variant=minbase", SUITE, root, mirror()])
        _run(["tar", "--numeric-owner", "--exclude=./var/cache/apt/archives/*.deb", "-C", root, "-cf", packed, "."])
        client.api.import_image_from_file(packed, *name.split(":"))


def _run(argv):
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise RuntimeError("%s failed:\n%s" % (" ".join(argv[:4]), (done.stdout + done.stderr)[-3000:]))


# -- ours -------------------------------------------------------------------------------------------------


def _build(client, name, wanted, below):
    with tempfile.TemporaryDirectory(prefix="letta-image-") as folder:
        if name == "letta":
            install_for(Path(folder) / "letta", PYTHON, "%s-manylinux_%s" % (platform.machine(), GLIBC))
        elif name == "app":
            install_older(Path(folder) / "older")
        context = os.path.join(folder, "context.tar")
        with tarfile.open(context, "w") as archive:
            for installed in sorted(os.listdir(folder)):
                if installed != "context.tar":
                    archive.add(os.path.join(folder, installed), installed, filter=_as_root)
            for path, content in {"Dockerfile": (RECIPES / ("%s.Dockerfile" % name)).read_bytes(), **_files(name)}.items():
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(content), 0o755 if "/bin/" in path else 0o644
                archive.addfile(member, io.BytesIO(content))
        proxies = {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}
        arguments = {_BELOW.get(name, "debian"): below, **proxies}
        with open(context, "rb") as packed:
            lines = client.api.build(fileobj=packed, custom_context=True, tag=wanted, buildargs=arguments, network_mode="host", rm=True,
                                     forcerm=True, labels={LABEL: name}, decode=True)  # fmt: skip
            _watch(name, lines)


def _watch(name, lines):
    said = []
    for line in lines:
        said.append(line.get("stream", ""))
        if "error" in line:
            raise RuntimeError("image %s: %s\n%s" % (name, line["error"], "".join(said)[-3000:]))


def _as_root(member):
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
