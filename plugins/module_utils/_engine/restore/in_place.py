# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restoring in place, for hosts without room for two copies: a safety set first, then the live database is dropped.

From then on the way is the same as on an empty server: side database, proof, rename.
"""
from __future__ import annotations

import os
import time

from ..backup import manifest as manifests
from ..backup import sealed
from ..backup.trust import ANYBODY
from ..errors import RecoveryError
from ..postgres import sidedb, swap
from . import cutover, stage
from .journal import NoJournal


def remove_live(server, journal, names, safety_set, guests=cutover.NOBODY):
    """Close and drop the live database, after its content is safe in a set.

    :param safety_set: id of the set; it goes into the journal before anything is dropped. :param guests: :class:`cutover.Guests`.
    :returns: {"removed": oid or None, "safety_set"}
    :raises RecoveryError: ``swap_rolled_back`` when somebody stays in it; then it is open and untouched.
    """
    oid = cutover.oid_of(server, names["live"])
    journal.save(safety_set=safety_set)
    if oid is None:
        return {"removed": None, "safety_set": safety_set}
    cutover.see_out(server, {"live": names["live"]}, oid, guests)
    with cutover.fenced(server, journal, names["live"], oid, guests):
        journal.save(removed={"name": names["live"], "oid": oid})
        with journal.step("in_place.drop", oid=oid):
            sidedb.drop_database(server, names["live"], oid)
    journal.forget("cutover.fence")
    return {"removed": oid, "safety_set": safety_set}


def bring_back(server, root, journal, bin_dir="", jobs=2, trust=ANYBODY):
    """Restore the safety set of a failed in-place run under the live name, if live is gone.

    :param trust: what opens the safety set when it is encrypted. Its signature is not asked for: this run made it.
    :returns: (what is true now, failure class).
    """
    names, safety = journal.data["names"], journal.data["safety_set"]
    if cutover.oid_of(server, names["live"]) is not None:
        return "live database untouched", "swap_rolled_back"
    set_dir = os.path.join(root, safety)
    try:
        manifest = manifests.load(set_dir)
        sidedb.drop_database(server, names["undone"])
        with sealed.opened(set_dir, manifest, trust) as plain:
            plain.fetch()
            options = stage.StageOptions(plain.folder, names["undone"], journal.data["facts"]["owner"], jobs, bin_dir)
            stage.stage_set(server, manifest, options, NoJournal())
        swap.exchange(server, names["live"], names["undone"], names["previous"])
    except RecoveryError as exc:
        text = "the live database was dropped and its safety set %s could not be loaded: %s"
        return text % (safety, exc.message), "manual_help_needed"
    moment = time.strftime("%H:%M:%S", time.gmtime())
    return "the old content is back as %s, loaded from safety set %s at %s UTC" % (names["live"], safety, moment), "swap_rolled_back"
