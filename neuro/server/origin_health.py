"""Whether an origin works, judged from real exchanges.

Owns one window of samples for each origin. Sends nothing by itself: an idle origin is `idle`, not
healthy.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SAMPLE_INTERVAL_S = 5.0
WINDOW_SAMPLES = 6  # half a minute: long enough to smooth one lost packet, short enough to act on


class OriginHealth:
    """`ok`, `failing` (errors only), `degraded` (both) or `idle`, over half a minute."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[tuple[int, int]]] = {}

    def sample(self, origins: Mapping[str, Mapping[str, Any]]) -> None:
        """Notes the counters; called every SAMPLE_INTERVAL_S."""
        for origin, stats in origins.items():
            window = self._samples.setdefault(origin, deque(maxlen=WINDOW_SAMPLES))
            window.append(_count(stats))

    def judge(self, origin: str, stats: Mapping[str, Any]) -> str:
        """The word for what happened since the oldest sample."""
        answers, errors = _count(stats)
        window = self._samples.get(origin)
        if window:
            answers -= window[0][0]
            errors -= window[0][1]
        if errors:
            return "degraded" if answers else "failing"
        return "ok" if answers else "idle"


def _count(stats: Mapping[str, Any]) -> tuple[int, int]:
    """Answers, and exchanges that failed or answered 5xx."""
    server_errors = stats["status_class"][5]
    return sum(stats["status_class"]) - server_errors, sum(stats["errors"].values()) + server_errors
