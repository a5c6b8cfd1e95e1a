"""The collapse table against a naive twin, under arbitrary sequences of events."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from neuro.cache import CollapseTable, Role, Verdict, Wake

KEYS = st.sampled_from([b"a", b"b", b"c"])
PER_KEY = 3
TOTAL = 5
REMEMBERED = 2
TTL_MS = 40
WAIT_MS = 25


class CollapseMachine(RuleBasedStateMachine):
    """Twin: plain lists of (key, request, deadline) and (key, until), searched from end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.table = CollapseTable(
            waiters_per_key_max=PER_KEY,
            waiters_total_max=TOTAL,
            uncacheable_keys_max=REMEMBERED,
            uncacheable_ttl_ms=TTL_MS,
            wait_timeout_ms=WAIT_MS,
        )
        self.now_ms = 0
        self.next_request = 0
        self.leaders: list[tuple[bytes, int]] = []
        self.waiters: list[tuple[bytes, int, int]] = []
        self.remembered: list[tuple[bytes, int]] = []
        self.finished: set[int] = set()

    def _leader(self, key: bytes) -> int | None:
        return next((leader for known, leader in self.leaders if known == key), None)

    def _is_remembered(self, key: bytes) -> bool:
        until = next((until for known, until in self.remembered if known == key), None)
        if until is None:
            return False
        self.remembered = [entry for entry in self.remembered if entry[0] != key]
        if until <= self.now_ms:
            return False
        self.remembered.append((key, until))
        return True

    def _finish(self, wakes: list[Wake], expected: list[int], verdict: Verdict) -> None:
        assert wakes == [Wake(waiter, verdict) for waiter in expected]
        for waiter in expected:
            assert waiter not in self.finished
        if verdict is not Verdict.LEAD:
            self.finished.update(expected)

    def _land(self, key: bytes) -> list[int]:
        woken = [waiter for known, waiter, _ in self.waiters if known == key]
        self.waiters = [entry for entry in self.waiters if entry[0] != key]
        self.leaders = [entry for entry in self.leaders if entry[0] != key]
        return woken

    @rule(key=KEYS)
    def join(self, key: bytes) -> None:
        request = self.next_request
        self.next_request += 1
        if self._is_remembered(key):
            expected = Role.ALONE
        elif self._leader(key) is None:
            expected = Role.LEADER
            self.leaders.append((key, request))
        elif (
            len([1 for known, _, _ in self.waiters if known == key]) >= PER_KEY
            or len(self.waiters) >= TOTAL
        ):
            expected = Role.ALONE
        else:
            expected = Role.FOLLOWER
            self.waiters.append((key, request, self.now_ms + WAIT_MS))
        assert self.table.join(key, request, self.now_ms) is expected

    @rule(key=KEYS)
    def share(self, key: bytes) -> None:
        leader = self._leader(key)
        wakes = self.table.share(key, -1 if leader is None else leader)
        self._finish(wakes, self._land(key) if leader is not None else [], Verdict.USE)

    @rule(key=KEYS, is_uncacheable=st.booleans())
    def release(self, key: bytes, is_uncacheable: bool) -> None:
        leader = self._leader(key)
        number = -1 if leader is None else leader
        wakes = self.table.release(key, number, self.now_ms, is_uncacheable=is_uncacheable)
        if is_uncacheable:
            self.remembered = [entry for entry in self.remembered if entry[0] != key]
            self.remembered.append((key, self.now_ms + TTL_MS))
            self.remembered = self.remembered[-REMEMBERED:]
        self._finish(wakes, self._land(key) if leader is not None else [], Verdict.FETCH)

    @rule(key=KEYS)
    def abandon(self, key: bytes) -> None:
        leader = self._leader(key)
        wakes = self.table.abandon(key, -1 if leader is None else leader)
        if leader is None:
            assert wakes == []
            return
        heirs = [waiter for known, waiter, _ in self.waiters if known == key]
        self.leaders.remove((key, leader))
        if heirs:
            self.leaders.append((key, heirs[0]))
            self.waiters = [entry for entry in self.waiters if entry[1] != heirs[0]]
        self._finish(wakes, heirs[:1], Verdict.LEAD)

    @rule(key=KEYS, request=st.integers(0, 30))
    def leave(self, key: bytes, request: int) -> None:
        waits = any(known == key and waiter == request for known, waiter, _ in self.waiters)
        self.waiters = [entry for entry in self.waiters if (entry[0], entry[1]) != (key, request)]
        assert self.table.leave(key, request) is waits
        self.finished.update([request] if waits else [])

    @rule(elapsed_ms=st.integers(0, 30))
    def let_time_pass(self, elapsed_ms: int) -> None:
        self.now_ms += elapsed_ms
        late = [waiter for _, waiter, deadline in self.waiters if deadline <= self.now_ms]
        self.waiters = [entry for entry in self.waiters if entry[2] > self.now_ms]
        wakes = self.table.expire(self.now_ms)
        assert sorted(wake.waiter for wake in wakes) == sorted(late)
        assert all(wake.verdict is Verdict.FETCH for wake in wakes)

    @invariant()
    def counts_agree_and_stay_bounded(self) -> None:
        assert self.table.waiter_count == len(self.waiters) <= TOTAL
        assert self.table.flight_count == len(self.leaders)
        assert self.table.uncacheable_count <= REMEMBERED
        deadline = min((entry[2] for entry in self.waiters), default=None)
        assert self.table.next_deadline_ms() == deadline


CollapseMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCollapseTable = CollapseMachine.TestCase
