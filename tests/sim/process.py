"""One simulated member: the shell around the core, in the order `neuro.raft` prescribes.

Owns disk queue, state machine, timers, pauses and crashes of one member. Never decides
anything about consensus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

from neuro.raft import (
    Code,
    Entry,
    MemoryLogStore,
    Message,
    Node,
    Options,
    ProposalState,
    RaftError,
    ReadState,
    Ready,
    Role,
    SnapshotMeta,
)
from neuro.raft.messages import InstallSnapshot
from tests.sim.clock import Clock
from tests.sim.disk import CompactLog, Disk, Image, Record, ResetLog, SnapshotFile
from tests.sim.machine import Command, Machine

if TYPE_CHECKING:
    from tests.sim.simulation import Simulation

Reply: TypeAlias = Callable[[str, str], None]
"""Called with an outcome ("ok", "failed", "unknown") and a value."""
RECENT_COUNT_MAX = 256


@dataclass(frozen=True)
class TakeSnapshot:
    """A snapshot of the state machine on its way to the disk."""

    file: SnapshotFile


class Process:
    """A member's process; `node` is None while it is down."""

    def __init__(self, simulation: Simulation, node_id: int, base: SnapshotMeta) -> None:
        self.simulation = simulation
        self.world = simulation.world
        self.id = node_id
        self.options: Options = simulation.swarm.options
        self.random: Random = self.world.random(f"process {node_id}")
        founding: SnapshotFile | None = None
        if base.index:
            machine = Machine()
            machine.applied_index = base.index
            founding = SnapshotFile(base, machine.to_bytes())
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
        self._asked: dict[int, Reply] = {}
        self._waiting: dict[int, list[tuple[int, Reply]]] = {}
        self._reads: dict[int, tuple[str, int, Reply]] = {}
        self._ripe: list[tuple[int, str, Reply]] = []
        self._recent: dict[int, tuple[int, str]] = {}

    # -- life

    def start(self) -> None:
        """Boots from the disk."""
        if self.node is not None or self.is_wiped:
            return
        self.epoch += 1
        self.is_paused = False
        rate = self.clock.rate or 1_000
        self.clock = Clock(self.world.now, self.random.randrange(1 << 20), rate)
        image = self.disk.image
        image.finish_install()
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
        for holder in (self._inbox, self._queue, self._writing, self._ripe):
            holder.clear()
        for mapping in (self._incoming, self._asked, self._waiting, self._reads, self._recent):
            mapping.clear()
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

    def simulation_processes(self) -> dict[int, Process]:
        """Every process of the run, for checks that need the disks of all."""
        return self.simulation.processes

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
        if isinstance(message, InstallSnapshot):
            self._incoming[message.snapshot.index, message.snapshot.term] = payload
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
        if epoch != self.epoch or planned != self._timer_at:
            return
        self._timer_at = None
        if self.node is None:
            return
        if self.node.next_deadline_ms() <= self.local_now:
            self.run(self._tick)
        else:
            self._plan_timer()

    def _tick(self) -> None:
        if self.node is not None:
            self.node.tick(self.local_now)
            self._pump()

    # -- effects

    def _pump(self) -> None:
        node = self.node
        while node is not None and node is self.node:
            ready = node.ready()
            if ready is None:
                break
            self._perform(ready)
        if self.node is not None:
            self.simulation.monitor.after_event(self)
            self._plan_timer()

    def _perform(self, ready: Ready) -> None:
        self.simulation.monitor.on_ready(self, ready)
        for message in ready.messages:
            self._send(message)
        if ready.leadership is not None and not ready.leadership.is_leader:
            self._fail_waiting()
        for proposal in ready.proposals:
            self._on_proposal(proposal)
        for entry in ready.committed:
            self._apply(entry)
        for read in ready.reads:
            self._on_read(read)
        self._serve_reads()
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
        if self._writing or not self._queue or self.node is None:
            return
        self._writing, self._queue = self._queue, []
        records: list[Record] = []
        must_sync = False
        for item in self._writing:
            if isinstance(item, Ready):
                records.extend(self._records(item))
                must_sync = must_sync or item.must_sync
            elif isinstance(item, TakeSnapshot):
                records.append(item.file)
                must_sync = True
            else:
                records.append(item)
        self.disk.batch = records
        if not must_sync:
            self._on_synced(self.epoch)
            return
        self.world.at(self.world.now + self._latency_ms(), self._end_sync, self.epoch)

    def _latency_ms(self) -> int:
        latency = 1 + self.random.randrange(3)
        if self.disk.slow_until > self.world.now:
            latency += self.random.randrange(150)
        if self.disk.hung_until > self.world.now:
            latency += self.disk.hung_until - self.world.now
        return latency

    def _records(self, ready: Ready) -> list[Record]:
        records: list[Record] = []
        if ready.snapshot is not None:
            meta = ready.snapshot
            data = self._incoming[meta.index, meta.term]
            data = data or Machine.blind_at(meta.index).to_bytes()
            records += [SnapshotFile(meta, data), ResetLog(meta)]
        records.extend(ready.entries)
        if ready.hard_state is not None:
            records.append(ready.hard_state)
        return records

    def _end_sync(self, epoch: int) -> None:
        if epoch != self.epoch:
            return
        if self.disk.fails_next_sync:
            self.world.counters["disk_eio_fsync"] += 1
            self.crash()
            return
        self.run(self._on_synced, epoch)

    def _on_synced(self, epoch: int) -> None:
        if epoch != self.epoch or self.node is None:
            return
        self.disk.sync()
        items, self._writing = self._writing, []
        number = 0
        for item in items:
            if isinstance(item, Ready):
                number = item.number
                if item.snapshot is not None:
                    self._restore(item.snapshot)
                for message in item.messages_after_persist:
                    self._send(message)
            elif isinstance(item, TakeSnapshot):
                self._compact(item.file.meta)
        if self.node is not None and number:
            self.node.advance(number, self.local_now)
        self._pump_after_sync()

    def _pump_after_sync(self) -> None:
        if self._queue:
            self._write()
        if self.node is not None:
            self._pump()

    # -- state machine

    def _restore(self, meta: SnapshotMeta) -> None:
        data = self._incoming.pop((meta.index, meta.term))
        self.machine = Machine.from_bytes(data) if data else Machine.blind_at(meta.index)
        self.world.counters["snapshot_installed"] += 1
        self.world.note(f"{self.id} restores snapshot {meta.index}")
        self.simulation.monitor.on_restore(self, meta)
        for index in [index for index in self._waiting if index <= meta.index]:
            for _, reply in self._waiting.pop(index):
                reply("unknown", "")
        self._serve_reads()

    def _apply(self, entry: Entry) -> None:
        result = self.machine.apply(entry)
        self.simulation.monitor.on_apply(self, entry)
        self._recent[entry.index] = (entry.term, result)
        self._recent.pop(entry.index - RECENT_COUNT_MAX, None)
        for term, reply in self._waiting.pop(entry.index, ()):
            self._settle(entry.index, entry.term == term, result, reply)
        every = self.simulation.swarm.snapshot_every
        snapshot = self.disk.image.snapshot
        since = entry.index - (snapshot.meta.index if snapshot else 0)
        if since >= every and not self.is_busy_with_snapshot():
            self.take_snapshot()

    def _settle(self, index: int, is_mine: bool, result: str, reply: Reply) -> None:
        if not is_mine:
            reply("failed", "")
        elif self.machine.is_blind:
            reply("unknown", "")
        else:
            self.simulation.monitor.on_acknowledged(index)
            reply("ok", result)

    def is_busy_with_snapshot(self) -> bool:
        """True while a snapshot is on its way to the disk."""
        return any(isinstance(item, TakeSnapshot) for item in (*self._writing, *self._queue))

    def take_snapshot(self) -> None:
        """Begins to store the state machine as it is now."""
        assert self.node is not None
        if self.machine.applied_index == 0:
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
        assert self.node is not None
        try:
            request = self.node.propose((command.to_bytes(),), self.local_now)
        except RaftError as error:
            reply("failed", str(error.code))
            return
        self._asked[request] = reply

    def read(self, key: str, reply: Reply) -> None:
        """A client's linearizable read."""
        self.run(self._read_key, key, reply)

    def _read_key(self, key: str, reply: Reply) -> None:
        assert self.node is not None
        try:
            request = self.node.read_index(self.local_now)
        except RaftError as error:
            reply("failed", str(error.code))
            return
        self._reads[request] = (key, self.simulation.monitor.acknowledged_index, reply)

    def _on_proposal(self, state: ProposalState) -> None:
        reply = self._asked.pop(state.request)
        if state.code is not Code.OK:
            reply("unknown" if state.code is Code.UNKNOWN_OUTCOME else "failed", "")
            return
        if state.first_index > self.machine.applied_index:
            self._waiting.setdefault(state.first_index, []).append((state.term, reply))
        elif state.first_index in self._recent:
            term, result = self._recent[state.first_index]
            self._settle(state.first_index, term == state.term, result, reply)
        else:
            reply("unknown", "")

    def _on_read(self, state: ReadState) -> None:
        key, watermark, reply = self._reads.pop(state.request)
        if state.code is not Code.OK:
            reply("failed", "")
            return
        self.simulation.monitor.on_read(self, state.index, watermark)
        self._ripe.append((state.index, key, reply))

    def _serve_reads(self) -> None:
        waiting = []
        for index, key, reply in self._ripe:
            if self.machine.is_blind:
                reply("failed", "witness")
            elif self.machine.applied_index >= index:
                reply("ok", self.machine.data.get(key, ""))
            else:
                waiting.append((index, key, reply))
        self._ripe = waiting

    def _fail_waiting(self) -> None:
        for index in sorted(self._waiting):
            for _, reply in self._waiting[index]:
                reply("unknown", "")
        self._waiting.clear()

    def has_silent_clients(self) -> bool:
        """True when some client still waits for an answer of this process."""
        return bool(self._asked or self._waiting or self._reads or self._ripe)

def _describe(message: Message) -> str:
    return f"{message.sender}>{message.to} {type(message).__name__} t{message.term}"
