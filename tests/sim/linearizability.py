"""Is a client history linearizable? Decided key by key, by search with memory.

Owns the search. Never repairs a history. An operation whose outcome is unknown may take
effect at any time after its invocation, or never.

Source: Wing and Gong, "Testing and verifying concurrent objects" (1993), with the memory
of visited (set of operations, state) pairs of Lowe, "Testing for linearizability" (2017).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

UNKNOWN_END = 1 << 62


@dataclass
class Operation:
    """One client call on one register; `end` is UNKNOWN_END while the outcome is unknown."""

    key: str
    kind: str
    start: int
    end: int = UNKNOWN_END
    value: str = ""
    expected: str = ""
    result: str = ""

    def take_effect(self, state: str) -> str | None:
        """The state afterwards; None when the result does not fit that state."""
        if self.kind == "read":
            return state if self.result == state else None
        if self.kind == "put":
            return self.value
        matched = state == self.expected
        if self.end != UNKNOWN_END and (self.result == "ok") != matched:
            return None
        return self.value if matched else state


def find_violation(history: Iterable[Operation]) -> str | None:
    """The first key whose history no order explains, else None."""
    by_key: dict[str, list[Operation]] = {}
    for operation in history:
        by_key.setdefault(operation.key, []).append(operation)
    for key in sorted(by_key):
        if not is_linearizable(by_key[key]):
            return key
    return None


def is_linearizable(history: list[Operation]) -> bool:
    """True when some order, within the calls' intervals, explains every result."""
    operations = sorted(
        (op for op in history if op.kind != "read" or op.end != UNKNOWN_END),
        key=lambda op: op.start,
    )
    count = len(operations)
    required = sum(1 << i for i, op in enumerate(operations) if op.end != UNKNOWN_END)
    seen: set[tuple[int, str]] = set()
    stack: list[tuple[int, str]] = [(0, "")]
    while stack:
        done, state = stack.pop()
        if done & required == required:
            return True
        horizon = UNKNOWN_END + 1
        first = (~done & (done + 1)).bit_length() - 1
        candidates = []
        for i in range(first, count):
            if done >> i & 1:
                continue
            operation = operations[i]
            if operation.start > horizon:
                break
            candidates.append(i)
            horizon = min(horizon, operation.end)
        for i in reversed(candidates):
            operation = operations[i]
            if operation.start > horizon:
                continue
            after = operation.take_effect(state)
            if after is None:
                continue
            step = (done | 1 << i, after)
            if step not in seen:
                seen.add(step)
                stack.append(step)
    return False
