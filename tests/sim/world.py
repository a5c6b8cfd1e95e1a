"""The event queue, the seed and the counters: everything else in the simulator hangs here.

Owns true time (milliseconds), the order of events and the digest that two runs of one
seed must share. Never uses wall clock, hashing order or an unseeded generator.
"""

from __future__ import annotations

import heapq
import zlib
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any


class World:
    """One run of one seed."""

    def __init__(self, seed: int, keep_trace: bool = False) -> None:
        self.seed = seed
        self.now = 0
        self.step_count = 0
        self.digest = 0
        self.counters: Counter[str] = Counter()
        self.trace: list[str] | None = [] if keep_trace else None
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0

    def random(self, name: str) -> Random:
        """A stream of chance of its own, so that one consumer does not disturb another."""
        return Random(f"{self.seed}/{name}")

    def at(self, time: int, action: Callable[..., None], *args: Any) -> None:
        """Runs the action at that true time, after whatever was planned for it before."""
        self._sequence += 1
        heapq.heappush(self._queue, (max(time, self.now), self._sequence, action, args))

    def after(self, delay_ms: int, action: Callable[..., None], *args: Any) -> None:
        """Runs the action that much later."""
        self.at(self.now + delay_ms, action, *args)

    def run_one(self) -> bool:
        """Runs the next event; False when there is none."""
        if not self._queue:
            return False
        self.now, _, action, args = heapq.heappop(self._queue)
        self.step_count += 1
        action(*args)
        return True

    @property
    def next_time(self) -> int:
        """When the next event is due."""
        return self._queue[0][0] if self._queue else self.now

    def note(self, text: str) -> None:
        """Adds a line to the run's history: always to the digest, to the trace on demand."""
        line = f"{self.now:>7} {text}"
        self.digest = zlib.crc32(line.encode(), self.digest)
        if self.trace is not None:
            self.trace.append(line)
