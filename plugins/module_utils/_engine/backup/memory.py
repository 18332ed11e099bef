# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Git-backed memory in a folder: its repositories, their commits and blocks, held against the rows of a database.

A repository is data of somebody else. Its own configuration can run commands, so git never sees it: git works in an empty repository
of ours, and is only told where the objects are. References are read here.
"""
from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import subprocess
import tempfile

from ..letta import memory as letta
from ..postgres.catalog import quote_ident
from . import unpack, volumes, workplace

ATTEMPTS = 3  # archives of a folder that is written to meanwhile
HISTORY = 50  # commits that are searched for the one that rows are a copy of
TIMEOUT = 900
MAX_BLOCK = 16 << 20  # bytes; a file beyond it is no block
_SHA = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_REF = re.compile(r"refs/[A-Za-z0-9][A-Za-z0-9._/-]*")
_LISTED = re.compile(rb"(\d+) (\w+) ([0-9a-f]+) +(\d+|-)\t(.*)", re.DOTALL)
_IN_MEMORY = re.compile(r"(%s)/.+/agent-[^/]+/repo\.git/HEAD$" % "|".join(place for place in letta.PLACES if place))
_SETTINGS = ("core.fsmonitor=false", "core.commitGraph=false", "core.multiPackIndex=false", "core.bigFileThreshold=8m", "gc.auto=0")


class Corrupt(Exception):
    """A repository that cannot be read; the text says why."""


def repositories(top):
    """Return ``{agent id: path}`` of the repositories below a folder; links are not followed."""
    found = {}
    for place in letta.PLACES:
        for path in sorted(glob.glob(os.path.join(glob.escape(os.path.join(top, place)), letta.REPOSITORY))):
            if os.path.realpath(path) == os.path.join(os.path.realpath(top), os.path.relpath(path, top)) and os.path.isdir(path):
                found.setdefault(path.split("/")[-2], path)
    return found


def holds_memory(top):
    """Tell whether a folder is one that Letta keeps repositories in, be there any or not."""
    return any(place and os.path.isdir(os.path.join(top, place)) for place in letta.PLACES) or bool(repositories(top))


def head_of(repository):
    """Return the commit that HEAD names. :raises Corrupt: when there is none."""
    head = _read(repository, "HEAD")
    if head.startswith("ref: "):
        name = head[5:]
        if not _REF.fullmatch(name) or ".." in name:
            raise Corrupt("HEAD names the reference %r" % name[:100])
        head = references(repository).get(name, "")
    if not _SHA.fullmatch(head):
        raise Corrupt("HEAD names no commit")
    return head


def references(repository):
    """Return ``{name: commit}`` of every reference, loose ones before packed ones."""
    found = {}
    for line in _read(repository, "packed-refs", "").splitlines():
        sha, _blank, name = line.partition(" ")
        if _SHA.fullmatch(sha) and _REF.fullmatch(name):
            found[name] = sha
    for folder, _dirs, names in os.walk(os.path.join(repository, "refs")):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), repository)
            value = _read(repository, path) if _REF.fullmatch(path) and not path.endswith(".lock") else "ref: "
            if not value.startswith("ref: "):  # one that names another reference brings nothing of its own
                found[path] = value
    return found


def _read(repository, name, otherwise=None):
    try:
        fd = os.open(os.path.join(repository, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, encoding="utf-8", errors="replace") as stream:
            return stream.read(16 << 20).strip()
    except OSError as exc:
        if otherwise is not None and isinstance(exc, FileNotFoundError):
            return otherwise
        raise Corrupt("%s cannot be read (%s)" % (name, exc.strerror)) from None


def heads(top):
    """Return ``{agent id: commit, or None where there is none}``."""
    found = {}
    for agent, path in repositories(top).items():
        try:
            found[agent] = head_of(path)
        except Corrupt:
            found[agent] = None
    return found


class Git:
    """Git without anybody's configuration, in an empty repository that exists for the time of a block."""

    def __init__(self, program, folder):
        self._program, self._folder = program, folder

    @classmethod
    @contextlib.contextmanager
    def found(cls):
        """Yield a :class:`Git`, or None where this host has no git."""
        program = shutil.which("git")
        if program is None:
            yield None
            return
        with tempfile.TemporaryDirectory(prefix="letta-ops-git-") as folder:
            git = cls(program, folder)
            for name, form in ((".40", "sha1"), (".64", "sha256")):
                git._run(["init", "--quiet", "--bare", "--template=", "--object-format=" + form, folder + "/repo" + name], None)
            yield git

    def _run(self, arguments, repository, sha="0" * 40, stdin=b""):
        environment = {"PATH": os.defpath, "HOME": self._folder, "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull,
                       "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_ALLOW_PROTOCOL": "none"}
        where = []
        if repository is not None:
            environment["GIT_OBJECT_DIRECTORY"] = os.path.join(repository, "objects")
            where = ["--git-dir=%s/repo.%d" % (self._folder, len(sha))]
        argv = [self._program, "--no-pager", *where, *(part for name in _SETTINGS for part in ("-c", name)), *arguments]
        try:
            done = subprocess.run(argv, input=stdin, capture_output=True, check=False, env=environment, cwd=self._folder, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Corrupt("git did not end in %d s" % TIMEOUT) from None
        if done.returncode != 0:
            said = (done.stdout.splitlines()[-1:] if arguments[0] == "fsck" and not done.stderr else []) + done.stderr.splitlines()
            raise Corrupt((said[0] if said else b"git failed").decode("utf-8", "replace")[:200])
        return done.stdout

    def check(self, repository, head):
        """Check every object, and that everything which references name is whole. :raises Corrupt: naming the first fault."""
        for name in ("alternates", "http-alternates"):
            if os.path.lexists(os.path.join(repository, "objects", "info", name)):
                raise Corrupt("it keeps objects elsewhere (objects/info/%s)" % name)
        tips = sorted({head, *(sha for sha in references(repository).values() if len(sha) == len(head))})
        if not all(_SHA.fullmatch(sha) for sha in tips):
            raise Corrupt("a reference names no object")
        self._run(["fsck", "--full", "--no-dangling", "--no-progress", *tips], repository, head)

    def blocks(self, repository, commit):
        """Return ``{label: digests}`` of the blocks in a commit (see :func:`letta.memory.values_of`). :raises Corrupt:"""
        wanted = {}
        for line in self._run(["ls-tree", "-r", "-z", "-l", "--full-tree", commit], repository, commit).split(b"\0"):
            found = _LISTED.fullmatch(line)
            if found is None or found.group(2) != b"blob":
                continue
            label = letta.label_of(os.fsdecode(found.group(5)))
            if label is not None and int(found.group(4)) <= MAX_BLOCK:
                wanted[label] = found.group(3)
        told = self._run(["cat-file", "--batch"], repository, commit, b"".join(sha + b"\n" for sha in wanted.values()))
        return dict(zip(wanted, _batch(told, len(wanted))))

    def history(self, repository, commit):
        """Return the newest commits before one, itself left out."""
        told = self._run(["rev-list", "--max-count=%d" % HISTORY, "--skip=1", commit], repository, commit)
        return told.decode("ascii").split()


def _batch(told, count):
    at = 0
    for _number in range(count):
        head, end = told[at : told.index(b"\n", at)], told.index(b"\n", at) + 1
        if not head.split(b" ")[-1].isdigit():
            raise Corrupt(head.decode("utf-8", "replace")[:200])
        size = int(head.split(b" ")[2])
        yield letta.values_of(told[end : end + size])
        at = end + size + 1


def rows(cursor, schema):
    """Return ``{agent id: {"organization", "labels": {label: digest}}}`` of the agents whose memory is in git."""
    found = {}
    cursor.execute(letta.ROWS.format(schema=quote_ident(schema)), (letta.GIT_TAG,))
    for agent, organization, label, value in cursor:
        entry = found.setdefault(agent, {"organization": organization, "labels": {}})
        if label is not None:
            entry["labels"][label] = letta.digest(value)
    return found


def judge(git, repository, known, head=None, whole=False):
    """Hold one repository against the rows of its agent.

    :param git: :class:`Git` or None. :param repository: path, None without one. :param known: the agent's entry of :func:`rows`.
    :param head: commit to look at; by default the one of HEAD. :param whole: check every object too.
    :returns: ``{"verdict", "head", "rows_at", "detail"}``; ``rows_at`` is the older commit that the rows are a copy of.
    """
    if repository is None or known["organization"] != repository.split("/")[-3]:
        return {"verdict": letta.MISSING, "head": None, "rows_at": None, "detail": "there is no repository"}
    try:
        head = head or head_of(repository)
        if git is None:
            return {"verdict": letta.UNCHECKED, "head": head, "rows_at": None, "detail": "there is no git on this host"}
        if whole:
            git.check(repository, head)
        files, labels = git.blocks(repository, head), known["labels"]
        if letta.agree(labels, files):
            return {"verdict": letta.EQUAL, "head": head, "rows_at": head, "detail": ""}
        for commit in git.history(repository, head):
            if letta.agree(labels, git.blocks(repository, commit)):
                return {"verdict": letta.BEHIND, "head": head, "rows_at": commit, "detail": "the rows are those of commit %s" % commit[:12]}
        names = [label for label in sorted(set(labels) | set(files)) if labels.get(label) not in files.get(label, ())]
        detail = "%d blocks differ" % len(names)
        return {"verdict": letta.DIFFERS, "head": head, "rows_at": None, "detail": detail}
    except Corrupt as exc:
        return {"verdict": letta.CORRUPT, "head": head, "rows_at": None, "detail": str(exc)}


def archive(path, target, known):
    """Archive a folder (see :func:`.volumes.archive_volume`), anew when a commit came meanwhile, and hold its repositories against rows.

    :param known: what :func:`rows` returned, of the dump's own snapshot.
    :returns: the archive's facts, with ``memory`` where the folder holds repositories: {"moved": how many agents committed during the
        last attempt, "agents": {agent id: {"head", "verdict", "rows_at"}}}.
    """
    for attempt in range(ATTEMPTS):
        before = heads(path)
        facts = volumes.archive_volume(path, target)
        after = heads(path)
        if before == after or attempt == ATTEMPTS - 1:
            break
        os.unlink(target)
    if not holds_memory(path):
        return facts
    moved = [agent for agent in after if before.get(agent) != after[agent]]
    return dict(facts, memory={"moved": len(moved), "agents": _judged(path, known, before)})


def _judged(top, known, commits):
    found = repositories(top)
    with Git.found() as git:
        judged = {agent: judge(git, found.get(agent), known[agent], commits.get(agent)) for agent in sorted(known)}
    return {agent: {key: one[key] for key in ("head", "verdict", "rows_at")} for agent, one in judged.items()}


def take_over(source, target, known, scratch_dir):
    """Copy an archive that was made on another host, reading all of it; repositories in it are looked at in a private copy.

    :param scratch_dir: folder for that copy.
    :returns: as :func:`archive`, ``moved`` being 0. :raises ValueError: and others, as :func:`.unpack.read_volume`.
    """
    holding = []
    shutil.copyfile(source, target)
    os.chmod(target, 0o600)
    facts = unpack.read_volume(target, lambda name: holding.append(name) if _IN_MEMORY.match(name) and not holding else None)
    if not holding:
        return facts
    with workplace.private_folder(scratch_dir, facts["bytes"], "looking at git-backed memory") as folder:
        top = os.path.join(folder, "memory")
        unpack.extract_volume(target, top, facts)
        return dict(facts, memory={"moved": 0, "agents": _judged(top, known, {})})
