"""Carries packets between two TUN devices, with the delay, the loss and the rate it is told; a program of its own, see :mod:`.wire`."""
from __future__ import annotations

import contextlib
import heapq
import json
import os
import random
import select
import sys
import time

_LARGEST = 65535
_WAITING = 500  # packets of one direction; what is more is lost, as in a router


class Direction:
    """Packets on their way from one device to another."""

    def __init__(self, source, target, seed):
        self.source, self._target, self._dice = source, target, random.Random(seed)
        self._queue, self._free_at, self._number = [], 0.0, 0

    def take(self, shape, loss):
        """Read a packet and send it on its way, or lose it."""
        packet, now = os.read(self.source, _LARGEST), time.monotonic()
        if self._dice.random() < loss or len(self._queue) >= _WAITING:
            return
        self._free_at = max(now, self._free_at) + (len(packet) / shape["rate"] if shape["rate"] else 0)
        self._number += 1
        heapq.heappush(self._queue, (self._free_at + shape["delay"], self._number, packet))

    def give(self):
        """Hand over what has arrived; returns the seconds until the next does, None with none on its way."""
        while self._queue:
            left = self._queue[0][0] - time.monotonic()
            if left > 0:
                return left
            with contextlib.suppress(OSError):  # the other end is down: lost
                os.write(self._target, heapq.heappop(self._queue)[2])
        return None


def relay(near, far):
    """Carry packets until standard input ends; each of its lines is a new shape."""
    directions = [Direction(near, far, 1), Direction(far, near, 2)]
    shape = {"delay": 0.0, "loss": [0.0, 0.0], "rate": 0}
    while True:
        waits = [left for left in (direction.give() for direction in directions) if left is not None]
        ready = select.select([near, far, 0], [], [], min(waits) if waits else None)[0]
        if 0 in ready:  # first: what is sent after the line was cut is lost
            lines = os.read(0, _LARGEST).splitlines()  # whole ones: a pipe does not part what is as short
            if not lines:
                return
            shape = json.loads(lines[-1])
        for direction, loss in zip(directions, shape["loss"]):
            if direction.source in ready:
                direction.take(shape, loss)


if __name__ == "__main__":
    relay(*map(int, sys.argv[1:]))
