# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choosing a set: over several stores, newest first, each rejection with its reason, never past the age limit by itself."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone

from ..errors import RecoveryError
from ..progress import Progress
from . import fetch, offers, stores
from .catalogue import SetInfo, parse_age
from .trust import ANYBODY

SILENT = Progress(None)

LATEST, ALWAYS, NEVER = "latest", "always", "never"
FALLBACKS = (LATEST, ALWAYS, NEVER)


@dataclass(frozen=True)
class Against:
    """A reason against one copy of a set. ``damaged`` False: it could not be read, which says nothing about what is in it."""

    reason: str
    damaged: bool = True


@dataclass
class Request:
    """What is wanted, and what the caller knows how to find out.

    :ivar wanted: a set id, or ``latest``: the newest good set that is no safety copy.
    :ivar max_age: seconds, or text such as ``36h``; only a set asked for by id may be older.
    :ivar fallback: ``latest``, ``always`` or ``never``: whether the next good set is taken by itself.
    :ivar check: function of a :class:`SetInfo` at hand: None, or an :class:`Against` (text counts as damage).
    :ivar enough: function of a SetInfo that is not at hand: True when its manifest is all that is needed.
    :ivar loss: function (SetInfo passed over or None for live, SetInfo taken) -> a loss of :mod:`backup.loss`, or None.
    :ivar cluster: identity of the live cluster; while there are sets of it, those of other clusters are not taken unasked.
    :ivar database: name of the live database; the same goes for sets of other databases, since systems may share a store.
    """

    wanted: str = LATEST
    max_age: object = None
    fallback: str = LATEST
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    check: Callable | None = None
    enough: Callable | None = None
    loss: Callable | None = None
    cluster: str | None = None
    database: str | None = None
    progress: Progress = SILENT


@dataclass(frozen=True)
class Choice:
    """The set to restore, ``rejected`` [{id, reason, loss?}] of those passed over (newest first), warnings about the stores."""

    info: SetInfo
    rejected: list
    warnings: list


def choose(root, wanted=LATEST, max_age=None, now=None, check=None, trust=ANYBODY):
    """Choose a set of one folder by the rules of :func:`search`. Returns ``(SetInfo, rejected)``."""
    request = Request(wanted, max_age, check=check, now=now or datetime.now(timezone.utc))
    choice = search([stores.FolderStore(root, trust=trust)], request)
    return choice.info, choice.rejected


def search(places, request):
    """Choose a set.

    Copies of one set are tried in the order of the stores before an older set is. A store that does not answer is left out.

    :param places: stores of :mod:`backup.stores`. :param request: a :class:`Request`.
    :returns: a :class:`Choice`; its set is at hand unless ``enough`` was satisfied with the manifest.
    :raises RecoveryError: ``no_usable_backup``; ``backup_corrupt`` when the only set allowed is damaged; ``preflight`` when no store
        answers, or nothing but that stands against a set. ``details.rejected`` has the table.
    """
    if request.fallback not in FALLBACKS:
        text = "letta_backup_fallback is one of %s" % ", ".join(FALLBACKS)
        raise RecoveryError("usage", "%r is no way to fall back" % (request.fallback,), next_step=text)
    return _Search(places, request).run()


def speaker(copies):
    """Return the SetInfo that speaks for all copies of a set: the first with a sound manifest."""
    return next((info for _place, info in copies if info.usable), copies[0][1])


class _Search:
    def __init__(self, places, request):
        self.places, self.request = places, request
        self.limit = parse_age(request.max_age)
        self.troubles = {}  # store name -> why it is left out
        self.doubts = []
        self.rejected, self.passed = [], []
        self.spared = []  # ids of sets that nothing stands against but a rule: whoever asks for one gets it
        self.sound = True  # nothing but silence of stores stands against the sets passed over
        self.candidates = []

    def run(self):
        self.candidates = self._look()
        wanted = self.request.wanted
        if wanted == LATEST:
            ranked = [copies for copies in self.candidates if speaker(copies).kind != "safety"]
            return self._walk(ranked[:1] if self.request.fallback == NEVER else ranked, ranked)
        at = [number for number, copies in enumerate(self.candidates) if speaker(copies).id == wanted]
        if not at:
            raise offers.unknown_id(wanted, self.places, [speaker(copies) for copies in self.candidates], self.troubles)
        asked, older = self.candidates[at[0]], self.candidates[at[0] + 1:]
        ranked = [asked] + [copies for copies in older if speaker(copies).kind != "safety"]
        return self._walk(ranked if self.request.fallback == ALWAYS else ranked[:1], ranked)

    def _look(self):
        """Return [[(store, SetInfo)]]: the copies of each set in the order of the stores, the newest set first."""
        found: dict[str, list] = {}
        for place in self.places:
            try:
                for info in place.list(self.request.now):
                    found.setdefault(info.id, []).append((place, info))
            except RecoveryError as exc:
                if len(self.places) == 1 or exc.failure_class != "preflight":
                    raise
                self._trouble(place, exc)
        if len(self.troubles) == len(self.places):
            raise offers.no_store_answers(self.troubles)
        return sorted(found.values(), key=lambda copies: speaker(copies).order, reverse=True)

    def _trouble(self, place, error):
        self.troubles[place.name] = error.message

    def _walk(self, allowed, ranked):
        for number, copies in enumerate(allowed):
            info = self._try(copies, asked=number == 0 and self.request.wanted != LATEST)
            if info is not None:
                return Choice(info, self._with_losses(info), self._warnings(info))
        raise self._refusal(allowed, ranked)

    def _try(self, copies, asked):
        """Return the SetInfo of the first good copy at hand, or None with the reasons noted."""
        first = speaker(copies)
        reason = None if asked or not first.usable else self._unfit(first)
        if reason is not None:
            self._reject(first, reason)
            return None
        against = []
        for place, info in copies:
            verdict = self._judge(place, info)
            if isinstance(verdict, SetInfo):
                self._note_passed_copies(verdict, against)
                return verdict
            against.append((place.name, verdict))
        self.sound = self.sound and not any(verdict.damaged for _name, verdict in against)
        single = len(against) == 1
        self._reject(first, "; ".join(verdict.reason if single else "%s: %s" % (name, verdict.reason) for name, verdict in against))
        return None

    def _unfit(self, info):
        """Return why a sound set is not taken unasked: its age, or the cluster or database it comes from."""
        if self.limit is not None and info.age_seconds > self.limit:
            self.spared.append(info.id)
            return "older than letta_backup_max_age (%s)" % self.request.max_age
        origin = self._foreign_origin(info)
        if origin:
            self.spared.append(info.id)
            return "taken %s; ask for it by id if it is meant" % origin
        return None

    def _foreign_origin(self, info):
        """Return where a set comes from when that is not the target's own system while there are sets of that; else an empty text."""
        for what, words in (("cluster", "from another PostgreSQL cluster (%s)"), ("database", "from another database (%s)")):
            mine, its = getattr(self.request, what), getattr(info, what)
            own = (speaker(copies) for copies in self.candidates)
            # The safety copy of a restore in place is no set to choose, so it speaks for nobody.
            if mine and its and its != mine and any(getattr(item, what) == mine and item.kind != "safety" for item in own):
                return words % its
        return ""

    def _reject(self, info, reason):
        self.rejected.append({"id": info.id, "reason": reason})
        self.passed.append(info)

    def _judge(self, place, info):
        """Return the SetInfo of a good copy at hand, or an :class:`Against`."""
        if place.name in self.troubles:
            return Against("not reached: %s" % self.troubles[place.name], damaged=False)
        if not info.usable:
            return Against(info.reason, damaged=info.problem not in ("unreadable", "unreachable"))
        if not info.good:
            return Against("failed verification at %s" % info.verified_at)
        if not info.at_hand and self.request.enough and self.request.enough(info):
            return info
        try:
            return self._bring(place, info)
        except RecoveryError as exc:
            if not exc.details.get("store"):
                raise
            self._trouble(place, exc)
            return Against(exc.message, damaged=False)

    def _bring(self, place, info):
        verdict: Against | str | None = None
        for _attempt in range(1 if info.at_hand else 2):  # what was damaged on the way is brought a second time
            here = place.bring(info, self.request.progress)
            verdict = self.request.check(here) if self.request.check else None
            if verdict is None:
                return here
        if not info.at_hand:
            fetch.discard(here.path)
        return verdict if isinstance(verdict, Against) else Against(str(verdict))

    def _note_passed_copies(self, info, against):
        for name, verdict in against:
            self.doubts.append("%s comes from %s: its copy in %s cannot be used: %s" % (info.id, info.store, name, verdict.reason))

    def _with_losses(self, info):
        if self.request.loss is None:
            return self.rejected
        losses = [self.request.loss(passed, info) for passed in self.passed]
        return [dict(entry, loss=loss) if loss else entry for entry, loss in zip(self.rejected, losses)]

    def _warnings(self, info):
        silent = ["store %s is left out, a newer set may lie there: %s" % pair for pair in sorted(self.troubles.items())]
        clock = [text for text in info.warnings if "in the future" in text] if info.age_seconds < 0 else []
        return self.doubts + silent + clock

    def _refusal(self, allowed, ranked):
        """Return the failure, with the set to take instead, what that one costs, and the line to type."""
        left = [copies for copies in ranked if speaker(copies).id in self.spared] + ranked[len(allowed):]
        known = {speaker(copies).id for copies in ranked}
        if self.request.wanted != LATEST:  # nothing older: a newer one will do
            left += [copies for copies in self.candidates if speaker(copies).id not in known and speaker(copies).kind != "safety"]
        # Own sets first, be they ever so old; those of other systems are better than none for whoever knows what they are.
        offered = self._next_good(sorted(left, key=lambda copies: self._foreign_origin(speaker(copies)) != ""))
        passed = next((info for info in self.passed if offered is None or info.id != offered.id), None)
        loss = self.request.loss(passed, offered) if offered is not None and self.request.loss else None
        step = offers.offer(offered, loss, self._foreign_origin(offered) if offered else "")
        return offers.refusal(self.request, self.places, self.rejected, self.troubles, self.sound, (offered, loss, step))

    def _next_good(self, candidates):
        """Return the first set of ``candidates`` that could be taken; what lies here is checked, a remote one is not fetched for that."""
        for copies in candidates:
            for place, info in copies:
                if place.name in self.troubles or not info.good:
                    continue
                if not info.at_hand or self.request.check is None or self.request.check(info) is None:
                    return info
        return None
