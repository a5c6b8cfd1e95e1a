"""What is known of a run by looking at everything at once.

Owns the god's view that the invariants are judged by: who led when, what was appended,
committed, applied, promised. Never judges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuro.raft import Configuration, Entry, Role, SnapshotMeta

if TYPE_CHECKING:
    from tests.sim.world import World


class Violation(AssertionError):
    """An invariant is broken: `name` says which."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name


def require(condition: object, name: str, detail: str) -> None:
    """Raises Violation unless the condition is true."""
    if not condition:
        raise Violation(name, detail)


class MemberView:
    """What was last seen of one member in this life."""

    def __init__(self, configuration: Configuration) -> None:
        self.commit = 0
        self.term = 0
        self.role = Role.FOLLOWER
        self.last_index = 0
        self.led_term = 0
        self.led_since = 0
        self.tail_index = 0
        self.transfer_since: int | None = None
        self.match: dict[int, int] = {}
        self.configuration = configuration


class Ledger:
    """Everything that happened, as far as an invariant needs it."""

    def __init__(self, world: World, founding: SnapshotMeta) -> None:
        self.world = world
        self.check_count = 0
        self.leaders: dict[int, int] = {}
        self.entries: dict[tuple[int, int], tuple[int, Entry]] = {}
        self.configurations = {(founding.index, founding.term): founding.configuration}
        self.applied: dict[int, Entry] = {}
        self.state_chain: dict[int, int] = {}
        self.executed: dict[tuple[int, int], int] = {}
        self.refused: set[tuple[int, int]] = set()
        self.votes: dict[tuple[int, int], int] = {}
        self.candidates: dict[tuple[int, int], tuple[int, int]] = {}
        self.pre_votes: dict[tuple[int, int], set[int]] = {}
        self.promised_term: dict[int, int] = {}
        self.committed: dict[int, tuple[int, int]] = {founding.index: (founding.term, 0)}
        self.commit_of_term: dict[int, tuple[int, int]] = {}
        self.acknowledged_index = 0
        self.healed_loss_count = 0
        self.removed: set[int] = set()
        self.heard_leader: dict[int, int] = {}
        self.asked_while_fresh: dict[tuple[int, int, int, type], bool] = {}
        self.heard: dict[tuple[int, int], int] = {}
        self.views: dict[int, MemberView] = {}

    def configuration_at(self, index: int) -> Configuration | None:
        """The configuration that was committed at or before that index."""
        for at, term in sorted(self.configurations, reverse=True):
            if at <= index and self.committed.get(at, (0, 0))[0] == term:
                return self.configurations[at, term]
        return None


def has_quorum(configuration: Configuration, nodes: set[int]) -> bool:
    """True when the nodes are a majority of each half."""
    return all(
        len(nodes.intersection(half)) > len(half) // 2
        for half in (configuration.voters, configuration.outgoing)
        if half
    )
