"""One simulated member: the shell around the core, in the order `neuro.raft` prescribes.

Owns disk queue, state machine, timers, pauses and crashes of one member. Never decides
anything about consensus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from neuro.raft import (
    EMPTY_BASE,
    Entry,
    MemoryLogStore,
    Message,
    Node,
    Options,
    Ready,
    Role,
    SnapshotMeta,
)
from neuro.raft.messages import InstallSnapshot
from tests.sim.clock import Clock
from tests.sim.desk import Desk, Reply
from tests.sim.disk import (
    CompactLog,
    Disk,
    Image,
    Record,
    ResetLog,
    SnapshotFile,
    TakeSnapshot,
    gather,
)
from tests.sim.ledger import Violation
from tests.sim.machine import Command, Machine

if TYPE_CHECKING:
    from tests.sim.simulation import Simulation

READY_COUNT_MAX = 2_000
"""More Readies than that after one event would be a member that never comes to rest."""


class Process:
    """A member's process; `node` is None while it is down."""

    def __init__(self, simulation: Simulation, node_id: int, base: SnapshotMeta) -> None:
        self.simulation = simulation
        self.world = simulation.world
        self.id = node_id
        self.options: Options = simulation.swarm.options
        self.random: Random = self.world.random(f"process {node_id}")
        founding: SnapshotFile | None = None
        if base is not EMPTY_BASE:
            founding = SnapshotFile(base, Machine(base.index).to_bytes())
        self.disk = Disk(Image(base, snapshot=founding))
        self.clock = Clock(0, 0)
        self.node: Node | None = None
        self.machine = Machine()
        self.epoch = 0
        self.is_paused = False
        self.is_wiped = False
        self._inbox: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._queue: list[Ready | TakeSnapshot | CompactLog] = []
        self._writing: list[Ready | TakeSnapshot | CompactLog] = []
        self._timer_at: int | None = None
        self._incoming: dict[tuple[int, int], bytes] = {}
        self._unsynced_since: dict[int, int] = {}
        self._write_id = 0
        self.handled: Message | None = None
        self.desk = Desk(self, simulation.monitor)

    # -- life

    def start(self) -> None:
        """Boots from the disk."""
        if self.node is not None or self.is_wiped:
            return
        self.epoch += 1
        self.is_paused = False
        if self.simulation.swarm.is_pre_vote_mixed:
            pre_vote = bool(self.random.randrange(2))
            self.options = replace(self.options, pre_vote=pre_vote)
        rate = self.clock.rate or 1_000
        self.clock = Clock(self.world.now, self.random.randrange(1 << 20), rate)
        image = self.disk.image
        snapshot = image.snapshot
        self.machine = Machine()
        if snapshot is not None:
            self.machine = Machine.from_bytes(snapshot.data)
        self.node = Node(
            self.id,
            image.base,
            Random(self.random.getrandbits(64)),
            self.local_now,
            options=self.options,
            store=MemoryLogStore(image.entries, image.base.index, image.base.term),
            hard_state=image.hard_state,
            snapshot=snapshot.meta if snapshot else None,
        )
        image.finish_install()
        self.world.note(f"{self.id} starts, term {self.node.term}")
        self.simulation.monitor.on_start(self)
        self._pump()

    def crash(self) -> None:
        """Loses everything that is not durable."""
        if self.node is None:
            return
        lost = self.disk.lose_power(self.random)
        if lost:
            self.world.counters["disk_lost_records"] += lost
        self.world.note(f"{self.id} crashes, loses {lost} records")
        self.epoch += 1
        self.node = None
        self._timer_at = None
        self.disk.fails_next_sync = False
        for holder in (self._inbox, self._queue, self._writing):
            holder.clear()
        self._incoming, self._unsynced_since = {}, {}
        self.desk = Desk(self, self.simulation.monitor)
        self.simulation.monitor.on_stop(self)

    def wipe(self) -> None:
        """The disk is gone, and the identity with it."""
        self.crash()
        self.is_wiped = True

    def pause(self) -> None:
        """Stops running, keeps everything (SIGSTOP)."""
        self.is_paused = True

    def resume(self) -> None:
        """Runs on; what arrived meanwhile is handled first."""
        if not self.is_paused:
            return
        self.is_paused = False
        inbox, self._inbox = self._inbox, []
        for action, args in inbox:
            self.run(action, *args)
        self.run(self._tick)

    @property
    def local_now(self) -> int:
        """What this process's clock shows."""
        return self.clock.read(self.world.now)

    @property
    def is_leader(self) -> bool:
        """True when it runs and believes to lead."""
        return self.node is not None and self.node.role is Role.LEADER

    def stalled_ms(self) -> int:
        """For how long the oldest Ready that must be durable has waited."""
        return self.local_now - next(iter(self._unsynced_since.values()), self.local_now)

    # -- events

    def run(self, action: Callable[..., None], *args: Any) -> None:
        """Handles an event now, after a pause, or never."""
        if self.node is None:
            return
        if self.is_paused:
            self._inbox.append((action, args))
            return
        action(*args)
        if self.node is not None:
            self._pump()

    def receive(self, message: Message, payload: bytes) -> None:
        """A message from the network."""
        if self.node is not None:
            self.run(self._receive, message, payload)

    def _receive(self, message: Message, payload: bytes) -> None:
        assert self.node is not None
        self.world.note(_describe(message))
        self.simulation.monitor.on_receive(self, message)
        if isinstance(message, InstallSnapshot):
            self._incoming[message.snapshot.index, message.snapshot.term] = payload
        self.handled = message
        self.node.step(message, self.local_now)

    def retime(self) -> None:
        """The clock changed: plan the next tick anew."""
        self._timer_at = None
        self._plan_timer()

    def _plan_timer(self) -> None:
        if self.node is None or self.is_paused:
            return
        due = self.clock.true_time_of(self.node.next_deadline_ms(), self.world.now)
        if due is None:
            return
        if self._timer_at is None or due < self._timer_at:
            self._timer_at = due
            self.world.at(due, self._on_timer, self.epoch, due)

    def _on_timer(self, epoch: int, planned: int) -> None:
        if self.node is None or epoch != self.epoch or planned != self._timer_at:
            return
        self._timer_at = None
        if self.node.next_deadline_ms() <= self.local_now:
            self.run(self._tick)
        else:
            self._plan_timer()

    def _tick(self) -> None:
        if self.node is not None:
            self.node.tick(self.local_now)
            self._pump()
            self.simulation.monitor.on_tick(self)

    # -- effects

    def _pump(self) -> None:
        node = self.node
        for _ in range(READY_COUNT_MAX):
            ready = node.ready() if node is not None and node is self.node else None
            if ready is None:
                break
            self._perform(ready)
        else:
            raise Violation("bounded_work", f"{self.id} is never done")
        if self.node is not None:
            self.simulation.monitor.after_event(self)
            self.handled = None
            self._plan_timer()

    def _perform(self, ready: Ready) -> None:
        self.simulation.monitor.on_ready(self, ready)
        for message in ready.messages:
            self._send(message)
        if ready.leadership is not None and not ready.leadership.is_leader:
            self.desk.on_leadership_lost()
        elif ready.leadership is not None:
            self.simulation.on_new_leader(self)
        for proposal in ready.proposals:
            self.desk.on_proposal(proposal, self.machine)
        for entry in ready.committed:
            self._apply(entry)
        for read in ready.reads:
            self.desk.on_read(read)
        self.desk.serve_reads(self.machine)
        if ready.must_sync:
            self._unsynced_since[ready.number] = self.local_now
        self._queue.append(ready)
        self._write()

    def _send(self, message: Message) -> None:
        self.simulation.monitor.on_send(self, message)
        payload = b""
        if isinstance(message, InstallSnapshot):
            file = self.disk.image.snapshot
            if file is None or file.meta != message.snapshot:
                self.world.counters["snapshot_unreadable"] += 1
                self.run(self._report_snapshot_failed, message.to)
                return
            self.world.counters["snapshot_sent"] += 1
            payload = b"" if message.witness else file.data
        self.simulation.network.send(message, payload)

    def _report_snapshot_failed(self, peer: int) -> None:
        if self.node is not None:
            self.node.report_snapshot_failed(peer, self.local_now)

    def _write(self) -> None:
        """Starts the next group commit when the disk is idle: one sync for the whole queue."""
        while self._queue and not self._writing and self.node is not None:
            self._writing, self._queue = self._queue, []
            records, must_sync = gather(self._writing, self._incoming)
            self.disk.batch = records
            if must_sync:
                self._start_sync(records)
            else:
                self._finish_writes()

    def _start_sync(self, records: list[Record]) -> None:
        self._write_id += 1
        if any(isinstance(record, ResetLog) for record in records):
            self.simulation.nemesis.on_install(self, self.epoch)
        self.world.after(self._latency_ms(), self._end_sync, self.epoch, self._write_id)

    def _latency_ms(self) -> int:
        latency = 1 + self.random.randrange(3)
        if self.disk.slow_until > self.world.now:
            latency += self.random.randrange(150)
        if self.disk.hung_until > self.world.now:
            latency += self.disk.hung_until - self.world.now
        return latency

    def heal_disk(self) -> None:
        """The disk is fast and whole again; what it was busy with ends now."""
        self.disk.hung_until = self.disk.slow_until = 0
        self.disk.fails_next_sync = False
        if self._writing:
            self.world.after(1, self._end_sync, self.epoch, self._write_id)

    def _end_sync(self, epoch: int, write_id: int) -> None:
        if epoch != self.epoch or write_id != self._write_id or not self._writing:
            return
        if self.disk.fails_next_sync:
            self.world.counters["disk_eio_fsync"] += 1
            self.crash()
            return
        self.run(self._on_synced, epoch)

    def _on_synced(self, epoch: int) -> None:
        if epoch == self.epoch and self.node is not None:
            self._finish_writes()
            self._write()
            self._pump()

    def _finish_writes(self) -> None:
        """Everything that was being written is durable: say so, in order."""
        assert self.node is not None
        self.disk.sync()
        items, self._writing = self._writing, []
        number = 0
        for item in items:
            if isinstance(item, Ready):
                number = item.number
                self._unsynced_since.pop(number, None)
                if item.snapshot is not None:
                    self._restore(item.snapshot)
                for message in item.messages_after_persist:
                    self._send(message)
            elif isinstance(item, TakeSnapshot):
                self._compact(item.file.meta)
        if number:
            self.node.advance(number, self.local_now)

    # -- state machine

    def _restore(self, meta: SnapshotMeta) -> None:
        data = self._incoming.pop((meta.index, meta.term))
        self.machine = Machine.from_bytes(data) if data else Machine.blind_at(meta.index)
        self.world.counters["snapshot_installed"] += 1
        self.world.note(f"{self.id} restores snapshot {meta.index}")
        self.simulation.monitor.on_restore(self, meta)
        self.desk.on_restored(meta.index)
        self.desk.serve_reads(self.machine)

    def _apply(self, entry: Entry) -> None:
        result = self.machine.apply(entry)
        self.simulation.monitor.on_apply(self, entry)
        self.desk.on_applied(entry, result)
        every = self.simulation.swarm.snapshot_every
        snapshot = self.disk.image.snapshot
        since = entry.index - (snapshot.meta.index if snapshot else 0)
        if since >= every and not self.is_busy_with_snapshot():
            self.take_snapshot()

    def is_busy_with_snapshot(self) -> bool:
        """True while a snapshot is on its way to the disk."""
        return any(isinstance(item, TakeSnapshot) for item in (*self._writing, *self._queue))

    def take_snapshot(self) -> None:
        """Begins to store the state machine as it is now."""
        assert self.node is not None
        if self.machine.applied_index == 0 or self.node.is_installing:
            return
        meta = self.node.note_snapshot(self.machine.applied_index)
        self.world.counters["snapshot_taken"] += 1
        self._queue.append(TakeSnapshot(SnapshotFile(meta, self.machine.to_bytes())))
        self._write()

    def _compact(self, meta: SnapshotMeta) -> None:
        assert self.node is not None
        self.node.keep_snapshot(meta)
        index = self.node.suggest_compaction(self.simulation.swarm.entry_count_kept)
        base = self.node.compact(index)
        self.world.counters["log_compacted"] += 1
        self._queue.append(CompactLog(base))

    # -- clients

    def write(self, command: Command, reply: Reply) -> None:
        """A client's command."""
        self.run(self._write_command, command, reply)

    def _write_command(self, command: Command, reply: Reply) -> None:
        if self.node is not None:
            self.desk.write(self.node, command, reply)

    def read(self, key: str, reply: Reply) -> None:
        """A client's linearizable read."""
        self.run(self._read_key, key, reply)

    def _read_key(self, key: str, reply: Reply) -> None:
        if self.node is not None:
            self.desk.read(self.node, key, reply)


def _describe(message: Message) -> str:
    return f"{message.sender}>{message.to} {type(message).__name__} t{message.term}"
