"""A throw-away Letta system in containers: what it is called, and where this checkout keeps what belongs to it."""
from __future__ import annotations

import os
from pathlib import Path

from .. import ROOT

SERVERS = ("letta-staging-app1", "letta-staging-app2")
DATABASE = "letta-staging-db"
REDIS = "letta-staging-redis"
STORE = "letta-staging-store"
MODEL = "letta-staging-model"
IMAGES_OF = {**dict.fromkeys(SERVERS, "app"), DATABASE: "db", REDIS: "redis", STORE: "store", MODEL: "model"}
# Everything that is made in a Docker engine carries it: this is how leftovers are found.
LABEL = "letta_ops.staging"
NETWORK = "letta-staging"
API_PORT = 8283
MODEL_PORT = 8090
# The account on every host that Ansible logs in with; it may use sudo.
USER = "ops"
# An overlay of layers cannot lie on an overlay: name another disk where the checkout itself is in a container.
FOLDER = Path(os.environ.get("LETTA_REHEARSAL_CACHE") or ROOT / ".cache" / "rehearsal")
FACTS = FOLDER / "fleet.json"


class Missing(RuntimeError):
    """Something this needs is not there; the message is one sentence that says what and how to get it."""
