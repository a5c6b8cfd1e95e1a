"""Steps that the Raft paper tests share.

Owns helpers only; the claims lie in the tests.
"""

from __future__ import annotations

from neuro.raft import Entry, EntryKind
from neuro.raft import messages as m
from tests.raft_group import Group


def sent(group: Group, kind: type[m.Message]) -> list[m.Message]:
    return [message for message in group.sent if type(message) is kind]


def append(
    group: Group,
    to: int,
    term: int,
    prev: tuple[int, int],
    entries: tuple[Entry, ...] = (),
    commit: int = 0,
    sender: int = 1,
) -> m.AppendReply:
    """Steps an append from an imagined leader; returns the answer."""
    group.sent.clear()
    group.deliver(m.Append(sender, to, term, prev[0], prev[1], entries, commit, 0))
    (reply,) = sent(group, m.AppendReply)
    assert isinstance(reply, m.AppendReply)
    return reply


def command(index: int, term: int, data: bytes = b"x") -> Entry:
    return Entry(index, term, EntryKind.COMMAND, data)
