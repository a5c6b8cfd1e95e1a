"""Bounds and faults that both halves of the pure codec share.

Owns the twin's own statement of them: importing the native ones would make the oracle agree by
construction. Never used to serve.
"""

from __future__ import annotations

from neuro.errors import FrameMalformed, FrameTooLarge

HEADER_BYTES = 4


class Limits:
    """Bounds of both directions; the native codec gives the reasons of the defaults."""

    def __init__(
        self,
        *,
        frame_bytes_max: int = 16 * 1024 * 1024,
        depth_max: int = 32,
        item_count_max: int = 262_144,
        string_bytes_max: int = 16 * 1024 * 1024,
    ) -> None:
        self.frame_bytes_max = frame_bytes_max
        self.depth_max = depth_max
        self.item_count_max = item_count_max
        self.string_bytes_max = string_bytes_max


def malformed(reason: str, offset: int) -> FrameMalformed:
    """The typed fault for a stable reason at a byte."""
    text = f"{reason.replace('_', ' ')} at byte {offset}"
    return FrameMalformed(text, reason=reason, offset=offset)


def too_large(size_bytes: int, bytes_max: int, offset: int) -> FrameTooLarge:
    """The typed fault for a frame over the limit; sizes without the header."""
    return FrameTooLarge(
        f"a frame of {size_bytes} bytes passes the limit of {bytes_max}",
        reason="frame_too_large",
        offset=offset,
        size_bytes=size_bytes,
        bytes_max=bytes_max,
    )
