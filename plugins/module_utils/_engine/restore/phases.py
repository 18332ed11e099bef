# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases of a full restore, and which selections of them by tags make sense."""
from __future__ import annotations

from ..errors import RecoveryError

PHASES = ("assess", "stage", "migrate", "validate", "reconcile", "cutover", "verify")
COMPONENTS = ("postgres", "redis", "volumes", "services")
NEXT = "leave --tags out for the whole restore, or use --tags stage,migrate,validate,reconcile and later --tags cutover,verify"


def selected_phases(run_tags, skip_tags=()):
    """Return the phases that a tag selection asks for.

    :param run_tags: ``ansible_run_tags`` (``["all"]`` without --tags); :param skip_tags: ``ansible_skip_tags``.
    :returns: a tuple of phases in their order, ``assess`` always among them (it only reads).
    :raises RecoveryError: ``usage`` with the reason, when a needed phase or component would be left out.
    """
    run, skip = set(run_tags or ["all"]), set(skip_tags or ())
    unknown = (run | skip) - set(PHASES) - set(COMPONENTS) - {"all", "always", "tagged", "never", "untagged"}
    if unknown:
        raise _refused("there is no tag %s here" % ", ".join(sorted(unknown)))
    skipped = skip & (set(PHASES) | {"postgres", "services"})
    if skipped:
        raise _refused("--skip-tags %s would leave out a part that the restore cannot be proven without" % ",".join(sorted(skipped)))
    if "all" in run or "tagged" in run:
        return PHASES
    if run == {"redis"}:
        raise RecoveryError(
            "usage",
            "Redis alone is aligned without a restore, by the module redis_align",
            next_step="ansible letta_redis -m letta_ops.recovery.redis_align -a 'redis_host={{ letta_redis_host }}' (docs/redis.md)",
        )
    if run & set(COMPONENTS):
        raise _refused("components (%s) are restored together: one alone would not fit the others" % ", ".join(COMPONENTS))
    wanted = [phase for phase in PHASES if phase in run]
    chosen = [phase for phase in wanted if phase != "assess"]
    if not _fits(chosen):
        raise _refused("--tags %s would skip a phase that a later one needs" % ",".join(wanted))
    return tuple(["assess"] + chosen)


def _fits(chosen):
    """A selection fits when it prepares (from stage on, without gaps) or cuts over what was prepared, or both."""
    if not chosen:
        return True
    first = PHASES.index(chosen[0])
    contiguous = chosen == list(PHASES[first : first + len(chosen)])
    if "cutover" in chosen:
        return contiguous and chosen[-1] == "verify" and chosen[0] in ("stage", "cutover")
    return contiguous and chosen[0] == "stage"


def _refused(reason):
    return RecoveryError("usage", reason, next_step=NEXT)
