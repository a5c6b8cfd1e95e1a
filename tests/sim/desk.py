"""Where one process answers its clients.

Owns the calls that wait: for a place in the log, for an entry to be applied, for a read
index. Never decides an outcome it does not know: "refused" means that the command can
never take effect, "unknown" that it may have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from neuro.raft import Code, Entry, Node, ProposalState, RaftError, ReadState, Role
from tests.sim.machine import Command, Machine

if TYPE_CHECKING:
    from tests.sim.monitor import Monitor
    from tests.sim.process import Process

Reply: TypeAlias = Callable[[str, str], None]
"""Called with an outcome ("ok", "refused", "unknown") and a value."""
RECENT_COUNT_MAX = 256


class Desk:
    """The waiting clients of one process, in one life."""

    def __init__(self, process: Process, monitor: Monitor) -> None:
        self._process = process
        self._monitor = monitor
        self._asked: dict[int, tuple[bool, Reply]] = {}
        self._waiting: dict[int, list[tuple[int, bool, Reply]]] = {}
        self._reads: dict[int, tuple[str, int, Reply]] = {}
        self._ripe: list[tuple[int, str, Reply]] = []
        self._recent: dict[int, tuple[int, str]] = {}

    @property
    def owes_answers(self) -> bool:
        """True when some client still waits for an answer."""
        return bool(self._asked or self._waiting or self._reads or self._ripe)

    def write(self, node: Node, command: Command, reply: Reply) -> None:
        """A client's command."""
        is_local = node.role is Role.LEADER
        try:
            request = node.propose((command.to_bytes(),), self._process.local_now)
        except RaftError:
            reply("refused", "")
            return
        self._asked[request] = (is_local, reply)

    def read(self, node: Node, key: str, reply: Reply) -> None:
        """A client's linearizable read."""
        try:
            request = node.read_index(self._process.local_now)
        except RaftError:
            reply("refused", "")
            return
        self._reads[request] = (key, self._monitor.ledger.acknowledged_index, reply)

    def on_proposal(self, state: ProposalState, machine: Machine) -> None:
        """A command has a place in the log, or none."""
        is_local, reply = self._asked.pop(state.request)
        if state.code is not Code.OK:
            # The network may have delivered the forwarded command twice: nobody knows.
            reply("unknown", "")
        elif state.first_index > machine.applied_index:
            waiting = self._waiting.setdefault(state.first_index, [])
            waiting.append((state.term, is_local, reply))
        elif state.first_index in self._recent:
            term, result = self._recent[state.first_index]
            self._settle(state.first_index, term == state.term, is_local, result, reply)
        else:
            reply("unknown", "")

    def on_applied(self, entry: Entry, result: str) -> None:
        """An entry took effect."""
        self._recent[entry.index] = (entry.term, result)
        self._recent.pop(entry.index - RECENT_COUNT_MAX, None)
        for term, is_local, reply in self._waiting.pop(entry.index, ()):
            self._settle(entry.index, entry.term == term, is_local, result, reply)

    def on_restored(self, index: int) -> None:
        """A snapshot skipped entries: what became of those commands is not known here."""
        for skipped in [waiting for waiting in self._waiting if waiting <= index]:
            for _, _, reply in self._waiting.pop(skipped):
                reply("unknown", "")

    def on_leadership_lost(self) -> None:
        """Nobody may be left waiting in silence; the commands may still take effect."""
        for index in sorted(self._waiting):
            for _, _, reply in self._waiting[index]:
                reply("unknown", "")
        self._waiting.clear()

    def on_read(self, state: ReadState) -> None:
        """A read has its index, or none."""
        key, watermark, reply = self._reads.pop(state.request)
        if state.code is not Code.OK:
            reply("refused", "")
            return
        self._monitor.on_read(self._process, state.index, watermark)
        self._ripe.append((state.index, key, reply))

    def serve_reads(self, machine: Machine) -> None:
        """Answers the reads that the state machine has reached."""
        waiting = []
        for index, key, reply in self._ripe:
            if machine.is_blind:
                reply("refused", "")
            elif machine.applied_index >= index:
                reply("ok", machine.data.get(key, ""))
            else:
                waiting.append((index, key, reply))
        self._ripe = waiting

    def _settle(self, index: int, is_mine: bool, is_local: bool, result: str, reply: Reply) -> None:
        if not is_mine:
            reply("refused" if is_local else "unknown", "")
        elif self._process.machine.is_blind:
            reply("unknown", "")
        else:
            self._monitor.on_acknowledged(index)
            reply("ok", result)
