"""Client sessions: a repeated command gives its first result again, and is not executed again.

Owns the table of results. It is part of the state and of snapshots, and it forgets by entries of
the log only, so that all members agree on what is a repetition.

Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014), section 6.3.
"""

from __future__ import annotations

from typing import Any

from neuro.cluster.machine import outcome as codes
from neuro.cluster.machine.limits import (
    SESSION_COUNT_MAX,
    SESSION_RESULT_COUNT_MAX,
    SESSION_TTL_MS,
)
from neuro.cluster.machine.outcome import Outcome, Refusal


class Session:
    """`floor`: results of sequences below it were received and are gone."""

    __slots__ = ("floor", "results", "used_ms")

    def __init__(self, used_ms: int) -> None:
        self.floor = 1
        self.results: dict[int, Outcome] = {}
        self.used_ms = used_ms


class Sessions:
    """All sessions, least recently used first; the order is part of the state."""

    __slots__ = ("_by_id",)

    def __init__(self) -> None:
        self._by_id: dict[int, Session] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def open(self, session: int, time_ms: int) -> None:
        """Adds a session; the least recently used gives way when there are too many."""
        if len(self._by_id) >= SESSION_COUNT_MAX:
            del self._by_id[next(iter(self._by_id))]
        self._by_id[session] = Session(time_ms)

    def close(self, session: object) -> bool:
        """Forgets a session; whether there was one."""
        return type(session) is int and self._by_id.pop(session, None) is not None

    def recall(
        self, session: int, sequence: int, acknowledged: int, time_ms: int
    ) -> Outcome | None:
        """The result if the command was executed before; None when it is new.

        Raises:
            Refusal: the session is gone, or the command can not be judged any more.
        """
        found = self._by_id.pop(session, None)
        if found is None:
            raise Refusal(codes.SESSION_EXPIRED, session=session)
        self._by_id[session] = found
        found.used_ms = time_ms
        if acknowledged > found.floor:
            found.floor = acknowledged
            for done in [number for number in found.results if number < acknowledged]:
                del found.results[done]
        if sequence < found.floor:
            raise Refusal(codes.SESSION_STALE, sequence=sequence, floor=found.floor)
        known = found.results.get(sequence)
        if known is None and len(found.results) >= SESSION_RESULT_COUNT_MAX:
            raise Refusal(codes.SESSION_FULL, maximum=SESSION_RESULT_COUNT_MAX)
        return known

    def remember(self, session: int, sequence: int, result: Outcome) -> None:
        """Keeps a result until the client says that it has it."""
        found = self._by_id.get(session)
        if found is not None:
            found.results[sequence] = result

    def expire(self, time_ms: int) -> int:
        """Forgets what was not used for SESSION_TTL_MS; how many."""
        expired = []
        for session, found in self._by_id.items():
            if found.used_ms + SESSION_TTL_MS > time_ms:
                break
            expired.append(session)
        for session in expired:
            del self._by_id[session]
        return len(expired)

    def freeze(self) -> list[list[Any]]:
        """Rows of `[id, floor, used_ms, [[sequence, outcome], ...]]` in their order."""
        return [
            [session, found.floor, found.used_ms, list(found.results.items())]
            for session, found in self._by_id.items()
        ]

    def thaw(self, row: list[Any]) -> None:
        """Adds a session from a row of `freeze`."""
        session, floor, used_ms, results = row
        added = self._by_id[session] = Session(used_ms)
        added.floor = floor
        added.results = {sequence: Outcome(*result) for sequence, result in results}
