# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run that modules are asked for, whose options :func:`module.choice_argument_spec` and its neighbours declare."""
from __future__ import annotations

from .._engine.restore.runs import RunOptions
from .._engine.runtime.alembic import Alembic
from .module import trust_from_params


def run_options(module, **more):
    """Return :class:`RunOptions` of a module that chooses a set for a target.

    :param more: further fields, of options that this module has besides.
    """
    p = module.params
    return RunOptions(
        root=p["backup_root"],
        host=p["host"],
        database=p["database"],
        owner=p["owner"] or "",
        backup_id=p["backup_id"] or "latest",
        max_age=p["backup_max_age"] or "",
        fallback=p["backup_fallback"],
        stores=tuple(p["stores"]),
        rclone_config=p["rclone_config"] or "",
        store_timeout=p["store_timeout"],
        encryption_key=p["encryption_key"] or "",
        keep_previous_seconds=p["keep_previous"],
        bin_dir=p["bin_dir"] or "",
        controller=p["controller"],
        proven_dead=p["proven_dead"],
        check=module.check_mode,
        trust=trust_from_params(p),
        check_heads=Alembic(p["alembic_command"], p["alembic_directory"] or "").check_heads if p["alembic_command"] else None,
        **more,
    )
