# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  api_token:
    description: Server password or API key, sent as a bearer token.
    type: str
  validate_certs:
    description: Whether to check the TLS certificate at O(api_url).
    type: bool
    default: true
"""
