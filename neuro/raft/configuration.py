"""Who is a member, and the algebra that turns one configuration into the next.

Owns the configuration value, its byte form and the change rules. Never decides when a
change may be proposed (that is `membership`). A change that touches at most one voter is
done in one step; anything else goes through a joint configuration, in which both voter
sets must agree on elections and on commitment.

Source: dissertation sections 4.1 to 4.3; learners 4.2.1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from enum import IntEnum

from neuro.raft.errors import InvalidChange

IdSet = tuple[int, ...]
MEMBER_COUNT_MAX = 64
"""More members than this cost more than they bring: every one is sent every entry."""


class ChangeKind(IntEnum):
    """What happens to one node in a change."""

    ADD_VOTER = 0
    ADD_LEARNER = 1
    ADD_WITNESS = 2
    REMOVE = 3
    DEMOTE = 4


@dataclass(frozen=True, slots=True)
class Change:
    """One node's part of a configuration change.

    `promote` makes a learner a voter by itself once it has caught up.
    """

    kind: ChangeKind
    node: int
    promote: bool = False
    address: str = ""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The members of the cluster, each set sorted.

    `outgoing` is empty unless the configuration is joint. `witnesses` is a subset of the
    voters that keeps no data and never leads; every quorum has a voter that is not one.
    `promotable` is a subset of the learners.
    `learners_next` are outgoing voters that become learners when the joint state ends.
    `removed` are ids that never come back.
    """

    voters: IdSet = ()
    outgoing: IdSet = ()
    learners: IdSet = ()
    learners_next: IdSet = ()
    promotable: IdSet = ()
    witnesses: IdSet = ()
    removed: IdSet = ()
    addresses: tuple[tuple[int, str], ...] = ()

    @property
    def is_joint(self) -> bool:
        """True between the two steps of a joint change."""
        return bool(self.outgoing)

    def is_voter(self, node: int) -> bool:
        """True when the node's vote counts, in either half."""
        return node in self.voters or node in self.outgoing

    def may_lead(self, node: int) -> bool:
        """True when the node may be a candidate."""
        return self.is_voter(node) and node not in self.witnesses

    def members(self) -> IdSet:
        """Every node that is sent entries, sorted."""
        return tuple(sorted({*self.voters, *self.outgoing, *self.learners}))

    def to_bytes(self) -> bytes:
        """The entry data of this configuration; equal values give equal bytes."""
        names = (f.name for f in fields(self))
        return json.dumps(
            {name: getattr(self, name) for name in names if getattr(self, name)},
            sort_keys=True,
            separators=(",", ":"),
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Configuration:
        """The configuration in an entry's data.

        Raises:
            ValueError: the bytes are not a configuration.
        """
        raw = json.loads(data)
        if not isinstance(raw, dict):
            raise ValueError("a configuration is a JSON object")
        addresses = tuple((int(node), str(text)) for node, text in raw.pop("addresses", ()))
        sets = {name: tuple(int(node) for node in ids) for name, ids in raw.items()}
        return cls(**sets, addresses=addresses)


def change_configuration(base: Configuration, changes: Iterable[Change]) -> Configuration:
    """The configuration after the changes; joint when more than one voter differs.

    Raises:
        InvalidChange: already joint, unknown or reused node, or no voter would be left.
    Source: dissertation section 4.3.
    """
    if base.is_joint:
        raise InvalidChange("the configuration is joint already")
    draft = _Draft(base)
    for change in changes:
        draft.apply(change)
    return draft.finish()


def leave_joint(base: Configuration) -> Configuration:
    """The configuration that ends a joint one.

    Source: dissertation section 4.3.
    """
    if not base.is_joint:
        raise InvalidChange("the configuration is not joint")
    return replace(
        base,
        outgoing=(),
        learners=_sorted({*base.learners, *base.learners_next}),
        learners_next=(),
    )


class _Draft:
    """Mutable sets of a change in the making."""

    def __init__(self, base: Configuration) -> None:
        self.base = base
        self.voters = set(base.voters)
        self.learners = set(base.learners)
        self.promotable = set(base.promotable)
        self.witnesses = set(base.witnesses)
        self.removed = set(base.removed)
        self.addresses = dict(base.addresses)

    def apply(self, change: Change) -> None:
        node = change.node
        if node <= 0:
            raise InvalidChange(f"node id {node} is not positive")
        if node in self.removed:
            raise InvalidChange(f"node id {node} was removed and never comes back")
        known = node in self.voters or node in self.learners
        if change.kind in (ChangeKind.REMOVE, ChangeKind.DEMOTE) and not known:
            raise InvalidChange(f"node {node} is not a member")
        is_witness = change.kind is ChangeKind.ADD_WITNESS
        if (
            known
            and change.kind is not ChangeKind.REMOVE
            and is_witness != (node in self.witnesses)
        ):
            raise InvalidChange(f"node {node} can not turn into a witness, or back: remove it")
        self.voters.discard(node)
        self.learners.discard(node)
        self.promotable.discard(node)
        self.witnesses.discard(node)
        self._place(change)

    def _place(self, change: Change) -> None:
        node = change.node
        if change.kind is ChangeKind.REMOVE:
            self.removed.add(node)
            self.addresses.pop(node, None)
            return
        if change.address:
            self.addresses[node] = change.address
        if change.kind is ChangeKind.ADD_VOTER:
            self.voters.add(node)
        elif change.kind is ChangeKind.ADD_WITNESS:
            self.voters.add(node)
            self.witnesses.add(node)
        else:
            self.learners.add(node)
            if change.promote:
                self.promotable.add(node)

    def finish(self) -> Configuration:
        if not self.voters - self.witnesses:
            raise InvalidChange("no voter that could lead would be left")
        if len(self.witnesses) > len(self.voters) // 2:
            raise InvalidChange("witnesses alone would be a majority, and keep no data")
        if len(self.voters | self.learners) > MEMBER_COUNT_MAX:
            raise InvalidChange(f"more than {MEMBER_COUNT_MAX} members")
        before = set(self.base.voters)
        simple = len(before ^ self.voters) <= 1
        demoted = set() if simple else self.learners & before
        return Configuration(
            voters=_sorted(self.voters),
            outgoing=() if simple else _sorted(before),
            learners=_sorted(self.learners - demoted),
            learners_next=_sorted(demoted),
            promotable=_sorted(self.promotable),
            witnesses=_sorted(self.witnesses),
            removed=_sorted(self.removed),
            addresses=tuple(sorted(self.addresses.items())),
        )


def _sorted(nodes: Iterable[int]) -> IdSet:
    return tuple(sorted(nodes))
