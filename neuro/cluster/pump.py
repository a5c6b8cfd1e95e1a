"""One member's effects, performed in the order written at the head of `neuro.raft`.

Owns the core and everything a Ready touches: peers, disk queue, state machine, waiting
clients, timer. Never decides anything about consensus and never waits for a disk. What
clients and peers call by name is in `driver`. Everything runs on one event loop.

A failure that leaves the disk's content or the state in doubt ends the member: every client
is told, `ended` resolves with the reason, and whoever runs the process stops it.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from neuro.clock import Clock
from neuro.cluster.applier import Applier
from neuro.cluster.ballot import Ballot
from neuro.cluster.conditions import Conditions
from neuro.cluster.control import HashCheck, encode_hash
from neuro.cluster.driver_settings import DriverSettings
from neuro.cluster.peers import PeerTransport, SnapshotOffer
from neuro.cluster.replica import (
    Applied,
    LeaderHint,
    OutcomeUnknown,
    ReplicaListener,
    ReplicaStopped,
    StateMachine,
)
from neuro.cluster.storage import Founding, Opened, Storage
from neuro.cluster.waiting import Waiting
from neuro.cluster.writer import Writer
from neuro.errors import NeuroCacheError
from neuro.raft import (
    Configuration,
    Leadership,
    LogIndex,
    MemoryLogStore,
    Message,
    Node,
    NodeId,
    Options,
    RaftError,
    Ready,
    Role,
    SnapshotMeta,
)
from neuro.raft.messages import InstallSnapshot, PreVote

ResultT = TypeVar("ResultT")
FutureT = TypeVar("FutureT")
BATCH_BYTES_MAX = 1 << 20
"""Commands handed to the core in one batch, and forwarded in one message."""


class Pump(Generic[ResultT]):
    """The pump: everything of a member but what clients and peers call by name."""

    def __init__(
        self,
        storage: Storage,
        opened: Opened,
        founding: Founding,
        machine: StateMachine[ResultT],
        transport: PeerTransport,
        *,
        options: Options,
        settings: DriverSettings,
        seeds: Mapping[NodeId, str],
        clock: Clock,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.storage = storage
        self.transport = transport
        self.options = options
        self.settings = settings
        self.clock = clock
        self.applier = Applier(machine)
        self.waiting: Waiting[ResultT] = Waiting()
        self.ballot = Ballot(storage.identity, founding.founders)
        self.listeners: list[ReplicaListener] = []
        self.ended: asyncio.Future[str] = self.loop.create_future()
        self.incoming: dict[SnapshotMeta, SnapshotOffer] = {}
        self._seeds = dict(seeds)
        self._restore_latest()
        latest = storage.snapshots.latest
        self.node = Node(
            storage.identity.node,
            opened.base,
            random.Random(secrets.randbits(128)),
            self.now_ms,
            options=self.options,
            store=MemoryLogStore(opened.entries, opened.base.index, opened.base.term),
            hard_state=opened.hard_state,
            snapshot=latest.meta if latest else None,
        )
        self.writer = Writer(
            storage,
            self._on_durable,
            self.fail,
            self.incoming.pop,
            self.settings.space_reserve_bytes,
        )
        self.commands: list[tuple[bytes, asyncio.Future[Applied[ResultT]]]] = []
        self.readers: list[asyncio.Future[LogIndex]] = []
        self._pump_handle: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_ms = 0
        self._configuration: Configuration | None = None
        self._is_voting_soon = False
        self.conditions = Conditions()
        self.sending: set[NodeId] = set()

    @property
    def now_ms(self) -> int:
        """Monotonic milliseconds."""
        return self.clock.monotonic_ms()

    @property
    def is_over(self) -> bool:
        """True once the member has ended."""
        return self.ended.done()

    def begin(self) -> None:
        """The first pump; a founder makes itself heard at once."""
        if self.ballot.is_voteless and self.node.configuration.is_voter(self.node.id):
            self.node.campaign(self.now_ms)
        self.wake()

    def wake(self) -> None:
        """Has the pump run in this turn of the loop."""
        if self._pump_handle is None and not self.is_over:
            self._pump_handle = self.loop.call_soon(self._run_pump)

    def address_of(self, node: NodeId) -> str:
        """The address that the configuration, or the command line, gives a node."""
        return dict(self.node.configuration.addresses).get(node) or self._seeds.get(node, "")

    def leader_hint(self) -> LeaderHint:
        """Who leads, and where."""
        leader = self.node.leader
        return LeaderHint(leader, self.address_of(leader) if leader else "")

    def fail(self, error: BaseException) -> None:
        """Ends the member."""
        if self.is_over:
            return
        reason = f"{type(error).__name__}: {error}"
        self.ended.set_result(reason)
        stopped = ReplicaStopped(f"the member ended ({reason})", reason=reason)
        unknown = OutcomeUnknown(f"the member ended ({reason})")
        self.waiting.fail_all(unknown, stopped)
        _fail_futures([future for _, future in self.commands], stopped)
        _fail_futures(self.readers, stopped)
        self.conditions.fail_all(unknown)
        self.commands.clear()
        self.readers.clear()
        if self._timer:
            self._timer.cancel()

    # -- the pump

    def _run_pump(self) -> None:
        self._pump_handle = None
        if self.is_over:
            return
        try:
            self._take_clients()
            while (ready := self.node.ready()) is not None:
                self._perform(ready)
            self._after_pump()
        except Exception as error:  # noqa: BLE001  (a broken invariant ends the member, loudly)
            self.fail(error)

    def _perform(self, ready: Ready) -> None:
        self.send(ready.messages)
        if ready.leadership is not None:
            self._note_leadership(ready.leadership)
        for proposal in ready.proposals:
            self.waiting.place(proposal, self.applier.applied_index)
        if ready.committed:
            self._apply(ready)
        for read in ready.reads:
            self.waiting.note_read(read, self.node.leader)
        if ready.committed or ready.reads:
            self.waiting.serve_reads(self.applier.applied_index)
        self.writer.add(ready)

    def _take_clients(self) -> None:
        if self.readers:
            futures, self.readers = self.readers, []
            try:
                self.waiting.ask_read(self.node.read_index(self.now_ms), futures)
            except RaftError as error:
                _fail_futures(futures, error)
        commands, self.commands = self.commands, []
        start = 0
        while start < len(commands):
            stop, size_bytes = start, 0
            while stop < len(commands) and (stop == start or size_bytes < BATCH_BYTES_MAX):
                size_bytes += len(commands[stop][0])
                stop += 1
            self._propose(commands[start:stop])
            start = stop

    def _propose(self, batch: list[tuple[bytes, asyncio.Future[Applied[ResultT]]]]) -> None:
        live = [(payload, future) for payload, future in batch if not future.done()]
        futures = [future for _, future in live]
        is_local = self.node.role is Role.LEADER
        try:
            request = self.node.propose([payload for payload, _ in live], self.now_ms)
        except RaftError as error:
            _fail_futures(futures, error)
            return
        self.waiting.ask(request, is_local, futures)

    def _apply(self, ready: Ready) -> None:
        due: HashCheck | None = None
        for entry in ready.committed:
            result, check = self.applier.apply(entry)
            due = check or due
            self.waiting.note_applied(entry.index, entry.term, result)
            self.ballot.note_applied(entry.term, self.node.term)
        for listener in self.listeners:
            listener.on_applied(self.applier.applied_index)
        if due is not None and self.node.role is Role.LEADER:
            self.propose_control(encode_hash(due))
        self.after_apply()

    def after_apply(self) -> None:
        """Called after entries were applied; for the driver."""

    def propose_control(self, payload: bytes) -> None:
        """Proposes an entry of the driver's own; lost ones are proposed again by their reason."""
        try:
            self.node.propose([payload], self.now_ms)
        except RaftError:
            return
        self.wake()

    def _note_leadership(self, leadership: Leadership) -> None:
        if not leadership.is_leader:
            self.conditions.check()
            self.waiting.lose_leadership()
            self.conditions.lose_leadership(
                OutcomeUnknown("leadership was lost with the change under way")
            )
        for listener in self.listeners:
            listener.on_leadership(leadership.term, leadership.leader, leadership.is_leader)

    def _on_durable(self, readies: list[Ready]) -> None:
        if self.is_over:
            return
        try:
            for ready in readies:
                if ready.snapshot is not None:
                    self._restore_latest()
                    for listener in self.listeners:
                        listener.on_restored(ready.snapshot.index)
                self.send(ready.messages_after_persist)
            self.node.advance(readies[-1].number, self.now_ms)
        except Exception as error:  # noqa: BLE001  (see _run_pump)
            self.fail(error)
            return
        self._run_pump()

    def _after_pump(self) -> None:
        self.conditions.check()
        configuration = self.node.configuration
        if configuration is not self._configuration:
            self._configuration = configuration
            self._tell_peers(configuration)
        if self.ballot.is_voteless and self.ballot.is_decided and not self._is_voting_soon:
            self._is_voting_soon = True
            task = self.loop.create_task(self._open_ballot())
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._plan_timer()

    def _tell_peers(self, configuration: Configuration) -> None:
        addresses = {**self._seeds, **dict(configuration.addresses)}
        removed = set(configuration.removed)
        self.transport.set_peers(
            {
                peer: address
                for peer, address in addresses.items()
                if peer != self.node.id and peer not in removed
            }
        )

    async def _open_ballot(self) -> None:
        floor = self.ballot.vote_floor
        try:
            await self.writer.run(lambda: self.storage.allow_votes(floor))
        except (OSError, NeuroCacheError) as error:
            self.fail(error)
            return
        self.ballot.open()
        if not self.is_over and self.node.id == min(self.node.configuration.voters, default=0):
            self.node.campaign(self.now_ms)
        self.wake()

    # -- time

    def _plan_timer(self) -> None:
        due_ms = self.node.next_deadline_ms()
        if self._timer is not None:
            if self._timer_due_ms <= due_ms:
                return
            self._timer.cancel()
        self._timer_due_ms = due_ms
        delay_s = max(0, due_ms - self.now_ms) / 1_000
        self._timer = self.loop.call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self.is_over:
            return
        if self.node.next_deadline_ms() <= self.now_ms:
            self.node.tick(self.now_ms)
            self._run_pump()
        else:
            self._plan_timer()

    # -- peers

    def step_snapshot(self, message: InstallSnapshot) -> None:
        """The message of a snapshot whose bytes are all here."""
        try:
            self.node.step(message, self.now_ms)
        except Exception as error:  # noqa: BLE001  (see _run_pump)
            self.fail(error)
        self.wake()

    def receive(self, messages: Iterable[Message]) -> None:
        """Messages from peers; see `PeerReceiver`."""
        if self.is_over:
            return
        node = self.node
        try:
            for message in messages:
                if message.to != node.id or message.sender == node.id:
                    continue
                if not self.ballot.admits(message, node):
                    self._answer_founder(message)
                    continue
                node.step(message, self.now_ms)
        except Exception as error:  # noqa: BLE001  (see _run_pump)
            self.fail(error)
            return
        self.wake()

    def _answer_founder(self, message: Message) -> None:
        """A founder that came up late hears of this one at once, not at its next timeout."""
        if isinstance(message, PreVote) and self.ballot.is_new_voice:
            self.ballot.is_new_voice = False
            self.node.campaign(self.now_ms)

    def send(self, messages: Sequence[Message]) -> None:
        """Hands messages to the transport, snapshots with their bytes."""
        if not messages:
            return
        for message in messages:
            if isinstance(message, InstallSnapshot):
                self._send_snapshot(message)
        self.transport.send([m for m in messages if not isinstance(m, InstallSnapshot)])

    def _send_snapshot(self, message: InstallSnapshot) -> None:
        source = self.storage.snapshots.open_source(message)
        if source is None:
            self.loop.call_soon(self.report_snapshot, message.to, False)
        else:
            self.sending.add(message.to)
            self.transport.send_snapshot(source)

    def report_snapshot(self, peer: NodeId, is_delivered: bool) -> None:
        """What became of an outgoing transfer."""
        self.sending.discard(peer)
        if not is_delivered and not self.is_over:
            self.node.report_snapshot_failed(peer, self.now_ms)
            self.wake()

    # -- state

    def _restore_latest(self) -> None:
        snapshots = self.storage.snapshots
        if (latest := snapshots.latest) is None:
            return
        self.applier.restore(latest.meta.index, latest.head.control, snapshots.read(latest))
        self.waiting.note_restored(latest.meta.index)
        self.waiting.serve_reads(latest.meta.index)


def _fail_futures(futures: Iterable[asyncio.Future[FutureT]], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
