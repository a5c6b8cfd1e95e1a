"""Sessions, leases, history, bounds and snapshots of the replicated key-value store."""

from __future__ import annotations

from typing import Any

import pytest

from neuro.cluster.machine import (
    KeyValueMachine,
    Op,
    Outcome,
    Ticker,
    explain_key,
    limits,
    make_payload,
)
from neuro.cluster.machine import history as history_module


class Log:
    """Gives a machine one command after the other."""

    def __init__(self) -> None:
        self.machine = KeyValueMachine()
        self.index = 1

    def run(self, op: Op, *arguments: Any, **session: int) -> Outcome:
        self.index += 1
        return self.machine.apply(self.index, 1, make_payload(op, *arguments, **session))

    def tick(self, elapsed_ms: int) -> Outcome:
        return self.run(Op.TICK, self.machine.time_ms, elapsed_ms)


@pytest.fixture
def log() -> Log:
    return Log()


def test_a_repeated_command_gives_its_first_result_and_changes_nothing(log: Log) -> None:
    session = log.run(Op.SESSION_OPEN).facts["session"]
    first = log.run(Op.PUT, "k", b"1", 0, session=session, sequence=1)
    log.run(Op.PUT, "k", b"other", 0)
    assert log.run(Op.PUT, "k", b"1", 0, session=session, sequence=1) == first
    record = log.machine.get("k")
    assert record is not None
    assert record.value == b"other"


def test_a_repeated_refusal_is_the_same_refusal_although_it_would_succeed_now(log: Log) -> None:
    session = log.run(Op.SESSION_OPEN).facts["session"]
    refused = log.run(Op.CAS, "k", 1, None, b"x", 0, session=session, sequence=4)
    assert refused.code == "compare_failed"
    log.run(Op.PUT, "k", b"1", 0)
    assert log.run(Op.CAS, "k", 1, None, b"x", 0, session=session, sequence=4) == refused


def test_commands_of_a_session_may_arrive_in_any_order(log: Log) -> None:
    session = log.run(Op.SESSION_OPEN).facts["session"]
    later = log.run(Op.PUT, "b", b"2", 0, session=session, sequence=2)
    earlier = log.run(Op.PUT, "a", b"1", 0, session=session, sequence=1)
    assert later.is_ok
    assert earlier.is_ok
    assert log.machine.revision == 2


def test_an_acknowledged_sequence_is_never_executed_again(log: Log) -> None:
    session = log.run(Op.SESSION_OPEN).facts["session"]
    log.run(Op.PUT, "k", b"1", 0, session=session, sequence=1)
    log.run(Op.PUT, "k", b"2", 0, session=session, sequence=2, acknowledged=2)
    late = log.run(Op.PUT, "k", b"1", 0, session=session, sequence=1)
    assert (late.code, late.facts["floor"]) == ("session_stale", 2)
    assert log.machine.revision == 2


def test_a_session_that_is_gone_executes_nothing(log: Log) -> None:
    assert log.run(Op.PUT, "k", b"1", 0, session=77, sequence=1).code == "session_expired"
    assert log.machine.get("k") is None


def test_a_session_holds_a_bounded_number_of_results(log: Log) -> None:
    session = log.run(Op.SESSION_OPEN).facts["session"]
    for sequence in range(1, limits.SESSION_RESULT_COUNT_MAX + 1):
        assert log.run(Op.PUT, "k", b"", 0, session=session, sequence=sequence).is_ok
    full = log.run(Op.PUT, "k", b"", 0, session=session, sequence=999)
    assert full.code == "session_full"
    again = log.run(Op.PUT, "k", b"", 0, session=session, sequence=999, acknowledged=50)
    assert again.is_ok


def test_sessions_expire_by_the_log_when_unused(log: Log) -> None:
    old, used = (log.run(Op.SESSION_OPEN).facts["session"] for _ in range(2))
    for sequence in range(1, limits.SESSION_TTL_MS // 60_000 + 2):
        log.tick(60_000)
        log.run(Op.PUT, "k", b"", 0, session=used, sequence=sequence, acknowledged=sequence)
    assert log.machine.session_count == 1
    assert log.run(Op.PUT, "k", b"", 0, session=old, sequence=1).code == "session_expired"


def test_too_many_sessions_push_out_the_least_recently_used(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuro.cluster.machine.sessions.SESSION_COUNT_MAX", 2)
    first, second = (log.run(Op.SESSION_OPEN).facts["session"] for _ in range(2))
    log.run(Op.PUT, "k", b"", 0, session=first, sequence=1)
    log.run(Op.SESSION_OPEN)
    assert log.run(Op.PUT, "k", b"", 0, session=second, sequence=1).code == "session_expired"
    assert log.run(Op.PUT, "k", b"", 0, session=first, sequence=2).is_ok


def test_a_lease_takes_its_keys_along_in_one_revision(log: Log) -> None:
    lease = log.run(Op.LEASE_GRANT, 1_000).facts["lease"]
    for key in ("b", "a", "c"):
        log.run(Op.PUT, key, b"", lease)
    log.run(Op.PUT, "c", b"", 0)
    log.tick(10)
    log.tick(1_000)
    assert log.machine.lease_count == 0
    assert log.machine.revision == 5
    assert [change.key for change in log.machine.changes_at(5)] == ["a", "b"]


@pytest.mark.parametrize("granted_at_ms", [0, 1, 400, 999])
def test_a_lease_never_expires_early_whenever_it_was_granted(log: Log, granted_at_ms: int) -> None:
    """The tick that follows a grant measures time from before it."""
    now_ms = 0
    lease = granted_ms = 0
    while True:
        if now_ms >= granted_at_ms and not lease:
            lease, granted_ms = log.run(Op.LEASE_GRANT, 3_000).facts["lease"], now_ms + 499
        now_ms += 500
        log.tick(500)
        if lease and not log.machine.lease_count:
            break
    assert 3_000 <= now_ms - granted_ms <= 4_000


def test_a_tick_measured_from_another_time_is_void(log: Log) -> None:
    log.tick(300)
    log.run(Op.TICK, 0, 300)
    assert log.machine.time_ms == 300


def test_a_tick_is_believed_up_to_a_bound(log: Log) -> None:
    log.tick(10**9)
    assert log.machine.time_ms == limits.TICK_ELAPSED_MS_MAX


def test_a_kept_lease_lives_and_a_revoked_one_is_gone(log: Log) -> None:
    lease = log.run(Op.LEASE_GRANT, 1_000).facts["lease"]
    for _ in range(5):
        log.tick(1_000)
        assert log.run(Op.LEASE_KEEPALIVE, lease).is_ok
    assert log.run(Op.LEASE_REVOKE, lease).is_ok
    assert log.run(Op.LEASE_KEEPALIVE, lease).code == "lease_not_found"
    assert log.run(Op.PUT, "k", b"", lease).code == "lease_not_found"


def test_two_members_that_believe_to_lead_do_not_make_time_run_faster(log: Log) -> None:
    tickers = [Ticker(), Ticker()]
    log.run(Op.LEASE_GRANT, 60_000)
    for now_ms in range(0, 20_000, 100):
        machine = log.machine
        payloads = [
            ticker.poll(machine.time_ms, machine.lease_count, 0, now_ms + 7 * number)
            for number, ticker in enumerate(tickers)
        ]
        for payload in payloads:
            if payload is not None:
                log.index += 1
                log.machine.apply(log.index, 1, payload)
        for number, ticker in enumerate(tickers):
            ticker.poll(machine.time_ms, machine.lease_count, 0, now_ms + 7 * number)
    assert 19_000 <= log.machine.time_ms <= 20_100


def test_no_ticks_while_there_is_nothing_to_expire() -> None:
    ticker = Ticker()
    assert [ticker.poll(0, 0, 0, now) for now in range(0, 100_000, 500)] == [None] * 200


def test_a_new_leader_does_not_count_the_time_before_it_led() -> None:
    ticker = Ticker()
    ticker.poll(5, 1, 0, 0)
    ticker.stop()
    assert ticker.poll(5, 1, 0, 50_000) is None
    assert ticker.poll(5, 1, 0, 50_500) == make_payload(Op.TICK, 5, 500)


def test_a_transaction_is_one_revision_and_reads_its_own_writes(log: Log) -> None:
    log.run(Op.PUT, "a", b"1", 0)
    done = log.run(
        Op.TXN,
        [["a", "value", "=", b"1"], ["b", "version", "=", 0]],
        [["put", "b", b"2", 0], ["delete", "a"], ["get", "b"], ["get", "a"]],
        [],
    )
    assert done.revision == 2
    assert done.facts["succeeded"] is True
    assert done.facts["results"][2]["value"] == b"2"
    assert done.facts["results"][3] == {"exists": False}
    assert {change.key for change in log.machine.changes_at(2)} == {"a", "b"}


def test_a_transaction_with_a_bad_operation_has_no_effect_at_all(log: Log) -> None:
    done = log.run(Op.TXN, [], [["put", "a", b"", 0], ["put", "b", b"", 99]], [])
    assert done.code == "lease_not_found"
    assert log.machine.key_count == 0


def test_a_transaction_that_moves_too_many_bytes_is_refused_before_it_begins(log: Log) -> None:
    value = bytes(limits.VALUE_BYTES_MAX)
    for key in "abcde":
        log.run(Op.PUT, key, value, 0)
    reads = [["get", key] for key in "abcde"]
    done = log.run(Op.TXN, [], [["put", "z", b"", 0], *reads], [])
    assert done.code == "limit_reached"
    assert log.machine.get("z") is None


def test_the_state_has_a_bound_in_bytes(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuro.cluster.machine.execution.STATE_BYTES_MAX", 1_000)
    codes = [log.run(Op.PUT, f"key{n}", bytes(300), 0).code for n in range(3)]
    assert codes == ["ok", "ok", "limit_reached"]
    log.run(Op.DELETE, "key0", False)
    assert log.run(Op.PUT, "key2", bytes(300), 0).is_ok


def test_a_prefix_is_deleted_in_bounded_steps(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuro.cluster.machine.execution.DELETE_COUNT_MAX", 3)
    for n in range(7):
        log.run(Op.PUT, f"k{n}", b"", 0)
    done = [log.run(Op.DELETE, "k", True).facts for _ in range(3)]
    assert [item["deleted"] for item in done] == [3, 3, 1]
    assert [item["more"] for item in done] == [True, True, False]


def test_a_watch_that_comes_too_late_is_told_and_never_skips(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "HISTORY_CHANGE_COUNT_MAX", 10)
    early = log.machine.watch("k", is_prefix=True, next_revision=1)
    for n in range(5):
        log.run(Op.PUT, f"k{n}", b"", 0)
    batch = early.take(3)
    assert batch is not None
    assert [revision for revision, _ in batch.changes] == [1, 2, 3]
    for n in range(20):
        log.run(Op.PUT, f"k{n}", b"", 0)
    assert early.take(3) is None
    assert early.find_compacted() == log.machine.compacted_revision == 15
    ready = log.machine.watch("k", is_prefix=True, next_revision=16).take(1_000)
    assert ready is not None
    assert [revision for revision, _ in ready.changes] == list(range(16, 26))


def test_a_watch_of_one_key_sees_its_deletion_and_reports_progress(log: Log) -> None:
    watch = log.machine.watch("k", is_prefix=False, next_revision=1)
    log.run(Op.PUT, "k", b"1", 0)
    log.run(Op.PUT, "kk", b"1", 0)
    log.run(Op.DELETE, "k", False)
    batch = watch.take(10)
    assert batch is not None
    assert [(revision, change.record is None) for revision, change in batch.changes] == [
        (1, False),
        (3, True),
    ]
    log.run(Op.PUT, "other", b"", 0)
    progress = watch.take(10)
    assert progress is not None
    assert (progress.changes, progress.revision) == ((), 4)


def test_a_watch_goes_on_after_the_state_was_replaced_by_a_snapshot(log: Log) -> None:
    follower = KeyValueMachine()
    watch = follower.watch("k", is_prefix=True, next_revision=1)
    for n in range(3):
        log.run(Op.PUT, f"k{n}", b"", 0)
    follower.restore(log.machine.snapshot())
    batch = watch.take(2)
    assert batch is not None
    assert [revision for revision, _ in batch.changes] == [1, 2]
    log.run(Op.PUT, "k9", b"", 0)
    follower.restore(log.machine.snapshot())
    batch = watch.take(5)
    assert batch is not None
    assert [revision for revision, _ in batch.changes] == [3, 4]


def test_history_is_compacted_by_command(log: Log) -> None:
    for n in range(5):
        log.run(Op.PUT, f"k{n}", b"", 0)
    assert log.run(Op.COMPACT, 3).facts == {"compacted": 3}
    assert log.run(Op.COMPACT, 2).code == "compacted"
    assert log.run(Op.COMPACT, 6).code == "invalid_request"
    assert log.machine.scan("", revision=2) is None
    late, in_time = (log.machine.watch("k", is_prefix=True, next_revision=n) for n in (3, 4))
    assert (late.find_compacted(), in_time.find_compacted()) == (3, None)
    assert log.machine.scan("", revision=3) is not None


def test_pages_of_one_scan_belong_together_while_others_write(log: Log) -> None:
    for n in range(6):
        log.run(Op.PUT, f"k{n}", b"old", 0)
    first = log.machine.scan("k", count_max=3)
    assert first is not None
    log.run(Op.DELETE, "k4", False)
    log.run(Op.PUT, "k5", b"new", 0)
    log.run(Op.PUT, "k45", b"new", 0)
    second = log.machine.scan("k", after="k2", revision=first.revision)
    assert second is not None
    assert [(key, record.value) for key, record in second.items] == [
        ("k3", b"old"), ("k4", b"old"), ("k5", b"old"),
    ]  # fmt: skip


def test_a_snapshot_is_of_the_moment_it_was_taken(log: Log) -> None:
    lease = log.run(Op.LEASE_GRANT, 9_000).facts["lease"]
    log.run(Op.PUT, "a", b"1", lease)
    frozen = log.machine.snapshot()
    before = b"".join(log.machine.snapshot())
    log.run(Op.PUT, "a", b"2", 0)
    log.run(Op.LEASE_REVOKE, lease)
    assert b"".join(frozen) == before


def test_a_damaged_or_cut_snapshot_is_refused_and_the_state_stays(log: Log) -> None:
    lease = log.run(Op.LEASE_GRANT, 9_000).facts["lease"]
    session = log.run(Op.SESSION_OPEN).facts["session"]
    log.run(Op.PUT, "a", b"1", lease, session=session, sequence=1)
    data = b"".join(log.machine.snapshot())
    other = KeyValueMachine()
    other.apply(9, 1, make_payload(Op.PUT, "mine", b"", 0))
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x20
        for wrong in (bytes(changed), data[:at] if at else b"\0", data + b"x"):
            with pytest.raises(ValueError, match="state"):
                other.restore([wrong])
    assert other.get("mine") is not None
    other.restore([])
    assert other.key_count == 0
    assert other.state_hash == KeyValueMachine().state_hash


def test_the_hash_depends_on_order_term_and_results(log: Log) -> None:
    hashes = set()
    payloads = [make_payload(Op.PUT, key, b"", 0) for key in "ab"]
    for order in (payloads, payloads[::-1]):
        for term in (1, 2):
            machine = KeyValueMachine()
            for index, payload in enumerate(order, 1):
                machine.apply(index, term, payload)
            hashes.add(machine.state_hash)
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("", "empty"), ("a\nb", "control"), ("\x7f", "control"), ("\x00", "control"),
        ("x" * 1_025, "1024 bytes"), ("é" * 513, "1024 bytes"), (b"k", "text"), ("\ud800", "Unicode"),
    ],
)  # fmt: skip
def test_what_is_no_key_is_explained(key: object, part: str, log: Log) -> None:
    assert part in (explain_key(key) or "")
    if key != "\ud800":
        expected = "invalid_key"
        assert log.run(Op.PUT, key, b"", 0).code == expected


@pytest.mark.parametrize("key", ["a", "é" * 512, "a b", "\u00a0", "\u200b", "/x/y?z=1"])
def test_ordinary_text_is_a_key(key: str) -> None:
    assert explain_key(key) is None
