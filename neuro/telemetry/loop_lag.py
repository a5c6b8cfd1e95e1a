"""How late the event loop runs what is due: the first sign that Python is the bottleneck.

Owns one timer and its counts. Never acts on the figure.
"""

from __future__ import annotations

import asyncio

INTERVAL_MS = 250
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LoopLag:
    """Wakes four times a second and notes how late each wake-up was."""

    def __init__(self) -> None:
        self.bucket_counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0
        self.last_s = 0.0
        self._due_s = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins on the running loop."""
        loop = asyncio.get_running_loop()
        self._due_s = loop.time() + INTERVAL_MS / 1_000
        self._handle = loop.call_at(self._due_s, self._on_due)

    def stop(self) -> None:
        """Idempotent."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def record(self, lag_s: float) -> None:
        """One measurement, in seconds."""
        self.last_s = lag_s
        self.sum_s += lag_s
        index = next((i for i, bound in enumerate(BUCKETS_S) if lag_s <= bound), len(BUCKETS_S))
        self.bucket_counts[index] += 1

    def _on_due(self) -> None:
        self.record(max(0.0, asyncio.get_running_loop().time() - self._due_s))
        self.start()
