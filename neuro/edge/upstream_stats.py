"""What was measured on the way to an origin.

Owns: plain counters of one origin, for the metrics page. Never: formatting, rates, resets.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DURATION_BUCKET_COUNT = 27
"""Bucket i counts durations below 2^i microseconds, as the engine's do; the last one all above."""


@dataclass(slots=True)
class UpstreamStats:
    """Counters since the start."""

    requests: int = 0
    retries: int = 0
    connects: int = 0
    reused: int = 0
    connections_open: int = 0
    connections_idle: int = 0
    unsolicited: int = 0  # idle connections dropped because the origin spoke unasked
    bytes_sent: int = 0
    bytes_received: int = 0
    errors: dict[str, int] = field(default_factory=dict)  # by code of neuro.errors
    status_class: list[int] = field(default_factory=lambda: [0] * 6)
    first_byte: list[int] = field(default_factory=lambda: [0] * DURATION_BUCKET_COUNT)
    first_byte_sum_us: int = 0

    def count_error(self, code: str) -> None:
        """One more failure of this kind."""
        self.errors[code] = self.errors.get(code, 0) + 1

    def record_first_byte(self, duration_us: int) -> None:
        """Time from the request's start to the response's head."""
        self.first_byte[min(duration_us.bit_length(), DURATION_BUCKET_COUNT - 1)] += 1
        self.first_byte_sum_us += duration_us

    def snapshot(self) -> dict[str, object]:
        """A copy for the metrics page."""
        return {
            "requests": self.requests,
            "retries": self.retries,
            "connects": self.connects,
            "reused": self.reused,
            "connections_open": self.connections_open,
            "connections_idle": self.connections_idle,
            "unsolicited": self.unsolicited,
            "bytes_sent": self.bytes_sent,
            "bytes_received": self.bytes_received,
            "errors": dict(self.errors),
            "status_class": list(self.status_class),
            "first_byte": list(self.first_byte),
            "first_byte_sum_us": self.first_byte_sum_us,
        }
