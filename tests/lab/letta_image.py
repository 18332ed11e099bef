"""Images of Letta and of a Redis-compatible server for a :class:`.engine.DockerEngine`, made of this machine's files.

No official images: nothing can be fetched here. That of Letta starts as the official one does, its own migrations first; its Python is this
machine's, its packages are those of :mod:`.letta_install`.
"""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import docker

from . import servers
from .letta_install import VERSION, letta_home
from .postgres_image import add_root, add_text, libraries, of_root

LETTA, REDIS = "letta-of-the-lab:%s" % VERSION, "redis-of-the-lab:8"
HOME = "/letta"
_START = "#!/bin/sh\nset -e\ncd %s\nalembic upgrade head\nexec letta server --host 0.0.0.0 --port 8283\n" % HOME
# As the official entrypoint: options alone are the server's.
_REDIS_START = '#!/bin/sh\n[ "${1#-}" = "$1" ] || set -- redis-server "$@"\nexec "$@"\n'
_SHELL = ("dirname", "realpath", "sh")
_UNUSED = re.compile(r"/python3\.\d+/(test|idlelib|ensurepip|lib2to3|site-packages|config-[^/]+)(/|$)|\.a$|/share/|/include/")
IMPORT_SECONDS = 600


def import_redis(engine):
    """Make the image in an engine; returns its name."""
    server = servers.redis()
    files = {"usr/bin/redis-server": server, **_shell(("sh",)), **libraries(server)}
    _import(engine, REDIS, files, {}, _REDIS_START, ["CMD [\"redis-server\"]"])
    return REDIS


def import_letta(engine):
    """Make the image in an engine; returns its name. Letta is installed first where it is not: see :func:`.letta_install.letta_home`."""
    home, base = letta_home(), Path(os.path.realpath(sys.base_prefix))
    venv = home / "venv"
    _compile(home)
    static = next(venv.glob("lib/python3*/site-packages/llama_index/core/_static"))
    words = "%s/%s" % (HOME, static.relative_to(home))
    changes = [
        "ENV PATH=%s/venv/bin:/usr/bin:/bin HOME=/tmp" % HOME,
        "ENV TIKTOKEN_CACHE_DIR=%s/tiktoken_cache NLTK_DATA=%s/nltk_cache" % (words, words),
        "WORKDIR %s" % HOME, "EXPOSE 8283", 'CMD ["/entrypoint.sh"]',
    ]  # fmt: skip
    files = {**_shell(_SHELL), **_libraries_below(*base.glob("lib/python3*/lib-dynload"), venv / "lib")}
    _import(engine, LETTA, files, {HOME.lstrip("/"): home, str(base).lstrip("/"): base}, _START, changes)
    return LETTA


def _compile(home):
    """Compile what is imported, once: every container would do it again."""
    if next(home.glob("venv/lib/python3*/site-packages/letta/server/rest_api/__pycache__/app.*.pyc"), None):
        return
    warm = dict(os.environ, LETTA_PG_URI="postgresql://nobody@127.0.0.1:9/none", HOME=tempfile.gettempdir(), PYTHONDONTWRITEBYTECODE="")
    imports = "import alembic.config, letta.server.rest_api.app"
    subprocess.run([str(home / "venv" / "bin" / "python"), "-c", imports], check=True, env=warm, capture_output=True, cwd=home)


def _shell(names):
    files = {"usr/bin/%s" % name: shutil.which(name) for name in names}
    for source in list(files.values()):
        files.update(libraries(source))
    return files


def _libraries_below(*folders):
    """Return what all programs and libraries in these folders are linked with, of the machine's own."""
    found = [str(path) for folder in folders for path in folder.rglob("*.so*") if path.is_file()]
    told = subprocess.run(["ldd", *found], capture_output=True, text=True, check=False).stdout
    machine = set(re.findall(r"(?m)(?:=> |^\s+)(/(?:usr/)?lib\S*) \(", told))
    return {path.lstrip("/") if path.startswith("/usr/") else "usr" + path: path for path in machine}


def _import(engine, name, files, folders, entrypoint, changes):
    repository, _colon, tag = name.partition(":")
    changes = [*changes, 'ENTRYPOINT ["/entrypoint.sh"]'] if "redis" in name else changes
    with tempfile.TemporaryDirectory(prefix="letta-image-") as folder:
        path = os.path.join(folder, "image.tar")
        with tarfile.open(path, "w") as archive:
            add_root(archive)
            for inside, source in sorted(files.items()):
                archive.add(os.path.realpath(source), inside, filter=of_root)
            for inside, source in folders.items():
                archive.add(source, inside, filter=_of_use)
            add_text(archive, "entrypoint.sh", entrypoint, 0o755)
        # A gigabyte takes the engine its time.
        api = docker.APIClient(base_url=engine.address, version="auto", timeout=IMPORT_SECONDS)
        api.import_image_from_file(path, repository=repository, tag=tag, changes=changes)
        api.close()


def _of_use(member):
    return None if _UNUSED.search("/" + member.name) and not member.name.startswith(HOME.lstrip("/")) else of_root(member)
