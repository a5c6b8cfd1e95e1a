"""The driver's own replicated state: members' alarms, and the comparison of state hashes.

Owns the entries that begin with `CONTROL_MARK`. Deterministic like the state machine beside
it: every member that applied the same log holds the same alarms. The comparison itself is
local: each member holds its own hash against the leader's.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from neuro.cluster.replica import CONTROL_MARK, Alarm, AlarmKind
from neuro.raft import Configuration, LogIndex, NodeId

HASH_INTERVAL: Final = 1_024
"""Entries between two recorded hashes; the leader puts one of every interval into the log."""
HASH_COUNT_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class HashCheck:
    """The leader's state hash as of `index`."""

    index: LogIndex
    state_hash: str


def encode_alarm(alarm: Alarm, *, is_on: bool) -> bytes:
    """The payload that raises or clears an alarm."""
    return _encode({"alarm": alarm.kind.value, "node": alarm.node, "on": is_on})


def encode_hash(check: HashCheck) -> bytes:
    """The payload that has every member compare its state."""
    return _encode({"hash": check.state_hash, "index": check.index})


class Control:
    """Alarms as the log says, and the hashes this member has seen."""

    def __init__(self) -> None:
        self.alarms: set[Alarm] = set()
        self.is_corrupt = False
        """This member's state differed from the leader's when last compared."""
        self._hashes: OrderedDict[LogIndex, str] = OrderedDict()

    def apply(self, payload: bytes) -> None:
        """Takes a committed control entry; what it does not know changes nothing."""
        fields = json.loads(payload[1:])
        if "alarm" in fields:
            alarm = Alarm(int(fields["node"]), AlarmKind(fields["alarm"]))
            if fields["on"]:
                self.alarms.add(alarm)
            else:
                self.alarms.discard(alarm)
        elif "hash" in fields:
            held = self._hashes.get(int(fields["index"]))
            if held is not None:
                self.is_corrupt = held != fields["hash"]

    def record_hash(self, index: LogIndex, state_hash: bytes) -> HashCheck:
        """Notes this member's hash; returns the comparison a leader should propose."""
        check = HashCheck(index, state_hash.hex())
        self._hashes[index] = check.state_hash
        while len(self._hashes) > HASH_COUNT_MAX:
            self._hashes.popitem(last=False)
        return check

    def forget_hashes(self) -> None:
        """The state was replaced: earlier hashes say nothing about it."""
        self._hashes.clear()

    def keep_members(self, configuration: Configuration) -> None:
        """Drops the alarms of nodes that are gone for good."""
        gone = set(configuration.removed)
        if gone:
            self.alarms = {alarm for alarm in self.alarms if alarm.node not in gone}

    def nodes_without_space(self) -> tuple[NodeId, ...]:
        """Members whose disks are full, sorted."""
        return tuple(sorted(a.node for a in self.alarms if a.kind is AlarmKind.NO_SPACE))

    def to_fields(self) -> dict[str, object]:
        """What a snapshot keeps of it; equal states give equal fields."""
        return {"alarms": [[alarm.node, alarm.kind.value] for alarm in sorted(self.alarms)]}

    def restore(self, fields: dict[str, object]) -> None:
        """Replaces everything by what a snapshot kept."""
        alarms = fields.get("alarms", [])
        if not isinstance(alarms, list):
            raise ValueError("a snapshot's alarms are a list")
        self.alarms = {Alarm(int(node), AlarmKind(kind)) for node, kind in alarms}
        self.forget_hashes()


def _encode(fields: dict[str, object]) -> bytes:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return bytes([CONTROL_MARK]) + text.encode()
