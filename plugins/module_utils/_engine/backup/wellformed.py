# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a manifest has the form that everybody who reads it relies on: what is missing or of another type is named here, once.

A checksum only says that nothing was changed since the manifest was sealed; whoever may write into a store can seal anything.
"""
from __future__ import annotations

from datetime import datetime

STAMP = "%Y-%m-%dT%H:%M:%SZ"
LARGEST = 1 << 63


class Wrong(ValueError):
    """A part is missing or is something else; the message names its place."""


def text(value, place):
    """A text that can be written in UTF-8."""
    if not isinstance(value, str):
        raise Wrong("%s is no text" % place)


def is_whole(value):
    """Tell whether a value out of JSON is a whole number; to Python, true and false are numbers too."""
    return isinstance(value, int) and not isinstance(value, bool)


def number(value, place):
    """A whole number as PostgreSQL has them."""
    if not is_whole(value) or not -LARGEST <= value < LARGEST:
        raise Wrong("%s is no whole number" % place)


def count(value, place):
    """A number of things."""
    number(value, place)
    if value < 0:
        raise Wrong("%s is less than nothing" % place)


def truth(value, place):
    """Yes or no."""
    if not isinstance(value, bool):
        raise Wrong("%s is neither true nor false" % place)


def moment(value, place):
    """A moment as manifests write them."""
    try:
        datetime.strptime(value, STAMP)
    except (TypeError, ValueError):
        raise Wrong("%s is no moment" % place) from None


class Maybe:
    """What may be missing, or null."""

    def __init__(self, form):
        self._form = form

    def __call__(self, value, place):
        if value is not None:
            self._form(value, place)


def parts(**forms):
    """An object with parts of these forms; further ones are no concern of ours."""

    def check(value, place):
        if not isinstance(value, dict):
            raise Wrong("%s is no object" % place)
        for name, form in forms.items():
            inner = "%s.%s" % (place, name) if place else name
            if name in value or isinstance(form, Maybe):
                form(value.get(name), inner)
            else:
                raise Wrong("%s is missing" % inner)

    return check


def each(form):
    """A list of one form."""

    def check(value, place):
        if not isinstance(value, list):
            raise Wrong("%s is no list" % place)
        for index, item in enumerate(value):
            form(item, "%s[%d]" % (place, index))

    return check


def named(form):
    """An object whose parts all have one form, under whatever names."""

    def check(value, place):
        if not isinstance(value, dict):
            raise Wrong("%s is no object" % place)
        for name, item in value.items():
            form(item, "%s[%.60r]" % (place, name))

    return check


_FILES = each(parts(path=text, size=count, sha256=text, crc32=Maybe(each(text))))
_MANIFEST = parts(
    id=text, kind=text, taken_at=moment, valid_until=Maybe(moment), warnings=Maybe(each(text)),
    letta=parts(version=Maybe(text), release_range=Maybe(text), alembic_revisions=each(text)),
    postgresql=parts(
        server_version=Maybe(text), server_version_num=Maybe(count), dump_version=Maybe(text), pgvector=Maybe(text),
        system_identifier=Maybe(text),
    ),
    database=parts(
        name=text, owner=Maybe(text), encoding=Maybe(text), schema=Maybe(text), size_bytes=Maybe(count), comment=Maybe(text),
        connection_limit=Maybe(number), acl=Maybe(each(text)), settings=Maybe(each(parts(role=Maybe(text), name=text, value=text))),
        extensions=Maybe(each(parts(name=text, version=Maybe(text), schema=Maybe(text)))),
        archive=Maybe(parts(path=text, format=Maybe(text), compression=Maybe(text))), segments=Maybe(parts(probe=Maybe(text))),
    ),
    tables=named(parts(rows=count, digest=text)),
    sequences=named(parts(last_value=Maybe(number), is_called=truth, column=Maybe(text))),
    agents=Maybe(named(parts(name=Maybe(text)))),
    redis=Maybe(parts(path=text)),
    volumes=Maybe(each(parts(name=text, archive=text, files=count, bytes=count, tree_digest=Maybe(text)))),
    encryption=Maybe(parts(files=_FILES)),
    files=_FILES,
)  # fmt: skip


def problem(manifest):
    """Return what is wrong with the form of a manifest, naming its place (``files[3].size is no whole number``); None when nothing is.

    :param manifest: as JSON gave it. Parts that this does not name are not looked at.
    """
    try:
        _MANIFEST(manifest, "")
        listed = {entry["path"] for entry in (manifest.get("encryption") or manifest)["files"]}
        held = [volume["archive"] for volume in manifest.get("volumes") or []] + [item["path"] for item in [manifest.get("redis")] if item]
        for path in held:
            if path not in listed:
                raise Wrong("%.200r is not listed among its files" % path)
    except Wrong as exc:
        return str(exc)
    return None
