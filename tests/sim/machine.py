"""The simulated state machine: keys, values and client sessions.

Owns what commands do. Never sees indices of anything but what it applied. A command is
executed once per client and sequence number, however often it is in the log.

Source: dissertation section 6.3 (sessions, exactly once).
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

from neuro.raft import Entry, EntryKind


@dataclass(frozen=True)
class Command:
    """A write: `expected` None sets, otherwise compares first."""

    client: int
    sequence: int
    key: str
    value: str
    expected: str | None = None

    def to_bytes(self) -> bytes:
        """The payload of the log entry."""
        return json.dumps(
            [self.client, self.sequence, self.key, self.value, self.expected]
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Command:
        """The command of a log entry."""
        return cls(*json.loads(data))


class Machine:
    """Deterministic: the same entries give the same bytes of state."""

    def __init__(self, applied_index: int = 0) -> None:
        self.data: dict[str, str] = {}
        self.sessions: dict[int, tuple[int, str]] = {}
        self.applied_index = applied_index
        self.chain = 0
        self.executed: tuple[int, int] | None = None
        self.is_blind = False

    @classmethod
    def blind_at(cls, index: int) -> Machine:
        """What a witness has instead of a state."""
        machine = cls(index)
        machine.is_blind = True
        return machine

    def apply(self, entry: Entry) -> str:
        """Applies the next entry; returns the command's result."""
        self.executed = None
        if entry.index != self.applied_index + 1:
            raise AssertionError(f"applied {entry.index} after {self.applied_index}")
        self.applied_index = entry.index
        self.chain = zlib.crc32(b"%d %d " % (entry.index, entry.term) + entry.data, self.chain)
        if entry.kind is EntryKind.WITHHELD:
            self.is_blind = True
        if entry.kind is not EntryKind.COMMAND:
            return ""
        command = Command.from_bytes(entry.data)
        sequence, result = self.sessions.get(command.client, (0, ""))
        if command.sequence <= sequence:
            return result if command.sequence == sequence else "stale"
        result = self._execute(command)
        self.sessions[command.client] = (command.sequence, result)
        self.executed = (command.client, command.sequence)
        return result

    def _execute(self, command: Command) -> str:
        if command.expected is not None and self.data.get(command.key, "") != command.expected:
            return "differs"
        self.data[command.key] = command.value
        return "ok"

    def to_bytes(self) -> bytes:
        """The whole state; equal states give equal bytes."""
        return json.dumps(
            [
                self.applied_index,
                self.chain,
                self.is_blind,
                sorted(self.data.items()),
                sorted(self.sessions.items()),
            ]
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Machine:
        """The state in a snapshot."""
        machine = cls()
        (
            machine.applied_index,
            machine.chain,
            machine.is_blind,
            items,
            sessions,
        ) = json.loads(data)
        machine.data = dict(items)
        machine.sessions = {client: (seq, result) for client, (seq, result) in sessions}
        return machine
