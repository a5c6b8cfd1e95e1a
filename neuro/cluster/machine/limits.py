"""Every bound of the state machine, with its reason.

Owns the numbers and the rule for keys. They are part of the replicated behaviour: a member with
other numbers would give other results for the same log, so they are constants and not options.
"""

from __future__ import annotations

from typing import Final

KEY_BYTES_MAX: Final = 1_024
"""Long enough for a URL path; short enough that a page of keys stays small."""
VALUE_BYTES_MAX: Final = 1 << 20
"""One value fits a Raft append; larger things belong into the cache's slab."""
STATE_BYTES_MAX: Final = 1 << 30
"""Keys, values and RECORD_OVERHEAD_BYTES each: the state lives in memory on every member."""
RECORD_OVERHEAD_BYTES: Final = 128
TXN_ITEM_COUNT_MAX: Final = 128
"""Comparisons, and operations of each branch: one entry may not hold up the others for long."""
TXN_BYTES_MAX: Final = 4 << 20
"""Values written and read by one transaction: its result is kept for its session."""
DELETE_COUNT_MAX: Final = 10_000
"""Keys that one command removes; a longer range takes more commands."""
HISTORY_CHANGE_COUNT_MAX: Final = 20_000
HISTORY_BYTES_MAX: Final = 32 << 20
"""What a watch may lag behind, and a page may be old, before it has to start anew."""
LEASE_COUNT_MAX: Final = 100_000
LEASE_TTL_MS_MIN: Final = 1_000
"""Shorter leases would expire through an ordinary election."""
LEASE_TTL_MS_MAX: Final = 10 * 365 * 86_400_000
SESSION_COUNT_MAX: Final = 10_000
"""The least recently used session goes first, decided by the log and so alike everywhere."""
SESSION_TTL_MS: Final = 30 * 60_000
"""Far longer than any client keeps trying one command."""
SESSION_RESULT_COUNT_MAX: Final = 128
"""Results a client may leave unacknowledged: its bound on commands in flight."""
TICK_ELAPSED_MS_MAX: Final = 60_000
"""A member that slept says how long; more than this is not believed."""
INTEGER_MAX: Final = (1 << 63) - 1


def explain_key(key: object) -> str | None:
    """Why this is no key, or None: 1 to KEY_BYTES_MAX bytes of UTF-8 without control characters."""
    if not isinstance(key, str):
        return "a key is text"
    if not key:
        return "a key is not empty"
    try:
        size_bytes = len(key.encode())
    except UnicodeEncodeError:
        return "a key is valid Unicode"
    if size_bytes > KEY_BYTES_MAX:
        return f"a key has at most {KEY_BYTES_MAX} bytes, this one {size_bytes}"
    # isprintable() is one C call and true for nearly all keys; it also refuses what we accept.
    if not key.isprintable() and any(letter < " " or letter == "\x7f" for letter in key):
        return "a key has no control characters"
    return None
