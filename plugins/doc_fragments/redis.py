# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  redis_host:
    description: Host of Redis (or Valkey), as seen from the host this module runs on.
    type: str
    required: true
  redis_port:
    description: Port of Redis.
    type: int
    default: 6379
  redis_user:
    description: User of Redis, where it has users besides the default one.
    type: str
  redis_password:
    description: Password of Redis.
    type: str
  redis_tls:
    description: Use TLS towards Redis. Its certificate and the name in it are checked.
    type: bool
    default: false
  redis_ca_cert:
    description: File with the certificate authority of Redis. Without it those of the system count.
    type: path
  redis_database:
    description: Number of the database. Letta up to 0.16.8 uses 0.
    type: int
    default: 0
  redis_timeout:
    description: Seconds for connecting and for each answer.
    type: float
    default: 5
requirements:
  - redis (Python package)
"""
