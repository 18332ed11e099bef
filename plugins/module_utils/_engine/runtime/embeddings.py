# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turning texts into vectors through an endpoint that speaks as OpenAI's does, batch by batch."""
from __future__ import annotations

import math

from ..errors import LIVE_UNTOUCHED, RecoveryError
from .rest import Rest

PATH = "/embeddings"


class Embeddings:
    """The endpoint.

    :param url: its base, ``https://host/v1``. :param token: sent as bearer token; empty for none.
    :param batch: texts sent at a time. :param timeout: seconds for one batch.
    :raises RecoveryError: ``usage`` when the URL is not a plain http(s) URL.
    """

    def __init__(self, url, token="", batch=32, timeout=60, validate_certs=True):
        self._rest, self._batch = Rest(url, token, validate_certs, timeout), max(1, batch)

    def __call__(self, texts, model, dimensions):
        """Return a vector (list of floats) for each text, in order.

        :raises RecoveryError: ``preflight`` when the endpoint does not answer, or with something else than that.
        """
        vectors = []
        for start in range(0, len(texts), self._batch):
            vectors += self._ask(texts[start : start + self._batch], model, dimensions)
        return vectors

    def _ask(self, texts, model, dimensions):
        try:
            answer = self._rest.json("POST", PATH, {"model": model, "input": texts, "encoding_format": "float"})
        except RecoveryError as exc:
            raise RecoveryError(
                exc.failure_class, exc.message, now=LIVE_UNTOUCHED, next_step="check embedding_url and embedding_token; without"
                " embedding_url files that have no passages are only told", details=exc.details,
            ) from None  # fmt: skip
        try:
            found = [item["embedding"] for item in sorted(answer["data"], key=lambda item: item["index"])]
            sound = len(found) == len(texts) and all(len(vector) == dimensions and all(map(math.isfinite, vector)) for vector in found)
        except (KeyError, TypeError):
            found, sound = [], False
        if not sound:
            raise RecoveryError(
                "preflight",
                "%s%s did not answer with %d vectors of %d numbers for model %s (it gave %s)"
                % (self._rest.url, PATH, len(texts), dimensions, model, ", ".join(sorted({str(len(item)) for item in found})) or "none"),
                now=LIVE_UNTOUCHED, next_step="give embedding_url an endpoint that serves the very model that the source is embedded with",
            )  # fmt: skip
        return found
