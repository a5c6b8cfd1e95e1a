"""What operators and clients do to a group on purpose, at the worst of times.

Owns transfers, changes of members, snapshots, bursts. Never a fault of a machine: those
are the nemesis's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from neuro.raft import EMPTY_BASE, Change, ChangeKind, RaftError
from tests.sim.machine import Command

if TYPE_CHECKING:
    from tests.sim.process import Process
    from tests.sim.simulation import Simulation

PROCESS_COUNT_MAX = 12
BURST_CLIENT = 0
UNBORN_ID = 1_000
"""From here on ids have no process: a change that names them must be refused."""


class Operators:
    """Commands to members, drawn by chance; the base of the nemesis."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.world = simulation.world
        self.random = self.world.random("nemesis")
        self.is_on = True
        self._burst_sequence = 0

    def _restart(self, process: Process) -> None:
        process.start()

    # -- whom

    def _running(self) -> list[Process]:
        return [p for p in self.simulation.processes.values() if p.node is not None]

    def _victim(self) -> Process | None:
        running = self._running()
        leaders = [p for p in running if p.is_leader]
        if leaders and self.random.randrange(2):
            return self.random.choice(leaders)
        return self.random.choice(running) if running else None

    def _leader(self) -> Process | None:
        leaders = [p for p in self._running() if p.is_leader and not p.is_paused]
        if not leaders:
            return None
        if self.random.randrange(5) == 0:
            return self.random.choice(leaders)
        return max(leaders, key=lambda p: p.node.term if p.node else 0)

    def _duration(self) -> int:
        return self.random.choice((100, 400, 900, 1_800, 3_500)) + self.random.randrange(200)

    def _ids(self) -> list[int]:
        return list(self.simulation.processes)

    # -- operators

    def _do_transfer(self) -> bool:
        leader = self._leader()
        if leader is None or leader.node is None:
            return False
        target = self.random.choice(leader.node.configuration.members() or (0,))
        try:
            leader.node.transfer_leadership(target, leader.local_now)
        except RaftError:
            return False
        leader.run(lambda: None)
        return True

    def _do_snapshot(self) -> bool:
        victim = self._victim()
        if victim is None or victim.is_paused or victim.is_busy_with_snapshot():
            return False
        victim.run(victim.take_snapshot)
        return True

    def _do_campaign(self) -> bool:
        victim = self._victim()
        if victim is None or victim.node is None or self.random.randrange(3):
            return False
        victim.run(victim.node.campaign, victim.local_now)
        return True

    def _do_burst(self) -> bool:
        """Many commands at once, at anybody who believes to lead: logs diverge."""
        leaders = [p for p in self._running() if p.is_leader and not p.is_paused]
        if not leaders:
            return False
        self.propose_burst(self.random.choice(leaders), 2 + self.random.randrange(20))
        return True

    def propose_burst(self, leader: Process, count: int) -> None:
        """Commands of a client that waits for no answer."""
        for _ in range(count):
            self._burst_sequence += 1
            value = str(self._burst_sequence)
            command = Command(BURST_CLIENT, self._burst_sequence, "burst", value)
            leader.write(command, lambda outcome, value: None)

    def _do_usurp(self) -> bool:
        """A cut-off leader comes back with a long tail just as its successor dies."""
        leader = self._leader()
        if leader is None or leader.is_paused:
            return False
        links = self._links_of(leader)
        self.simulation.network.cut.update(links)
        self.propose_burst(leader, 2 + self.random.randrange(20))
        self.world.after(1_200 + self.random.randrange(1_500), self._end_usurp, leader.id, links)
        return True

    def _links_of(self, process: Process) -> list[tuple[int, int]]:
        others = [node for node in self._ids() if node != process.id]
        return [link for node in others for link in ((process.id, node), (node, process.id))]

    def _do_stall_leader(self) -> bool:
        """A leader is cut off and stopped; when it runs on, only clients are in its inbox."""
        leader = self._leader()
        if leader is None or leader.is_paused:
            return False
        links = self._links_of(leader)
        self.simulation.network.cut.update(links)
        leader.pause()
        stall_ms = 700 + self.random.randrange(1_200)
        self.world.after(stall_ms, leader.resume)
        self.world.after(stall_ms + 200, self._uncut, links)
        return True

    def _do_transfer_cut(self) -> bool:
        """A leader hands over, and is cut off before it sees its successor campaign."""
        leader = self._leader()
        if leader is None or leader.is_paused or not self._do_transfer():
            return False
        links = self._links_of(leader)
        delay_ms = 1 + self.random.randrange(8)
        self.world.after(delay_ms, self.simulation.network.cut.update, links)
        self.world.after(delay_ms + 400, self._uncut, links)
        return True

    def _uncut(self, links: list[tuple[int, int]]) -> None:
        self.simulation.network.cut.difference_update(links)

    def _end_usurp(self, usurper: int, links: list[tuple[int, int]]) -> None:
        if not self.is_on:
            return
        self.simulation.network.cut.difference_update(links)
        successor = self._leader()
        if successor is not None and successor.id != usurper:
            successor.crash()
            self.world.after(self._duration() + 1_000, self._restart, successor)

    def _do_member_add(self) -> bool:
        """Sometimes under an id that was removed, which must be refused."""
        removed = sorted(self.simulation.monitor.ledger.removed)
        if removed and self.random.randrange(3) == 0:
            node = self.random.choice(removed)
            return self._change(lambda: [Change(ChangeKind.ADD_VOTER, node)])
        return self._change(lambda: [Change(ChangeKind.ADD_VOTER, self._new_process())])

    def _do_member_learner(self) -> bool:
        promote = bool(self.random.randrange(3))
        return self._change(
            lambda: [Change(ChangeKind.ADD_LEARNER, self._new_process(), promote=promote)]
        )

    def _do_member_witness(self) -> bool:
        self._ask_for_witness_majority()
        return self._change(lambda: [Change(ChangeKind.ADD_WITNESS, self._new_process())])

    def _ask_for_witness_majority(self) -> None:
        """Must be refused: what witnesses alone hold, nobody can read."""
        for leader in self._running():
            if leader.is_leader and not leader.is_paused and leader.node is not None:
                count = len(leader.node.configuration.voters) + 1
                unborn = range(UNBORN_ID, UNBORN_ID + count)
                self._propose(leader, [Change(ChangeKind.ADD_WITNESS, node) for node in unborn])

    def _do_member_remove(self) -> bool:
        return self._change(lambda: [Change(ChangeKind.REMOVE, self._some_member())])

    def _do_member_demote(self) -> bool:
        return self._change(
            lambda: [
                Change(
                    ChangeKind.DEMOTE, self._some_member(), promote=bool(self.random.randrange(2))
                )
            ]
        )

    def _do_member_replace(self) -> bool:
        return self._change(
            lambda: [
                Change(ChangeKind.REMOVE, self._some_member()),
                Change(ChangeKind.ADD_VOTER, self._new_process()),
            ]
        )

    def _some_member(self) -> int:
        leader = self._leader()
        members = leader.node.configuration.members() if leader and leader.node else ()
        return self.random.choice(members or (1,))

    def _new_process(self) -> int:
        return self.simulation.add_process(EMPTY_BASE)

    def _change(self, changes: Callable[[], list[Change]]) -> bool:
        leader = self._leader()
        simulation = self.simulation
        if leader is None or leader.node is None or simulation.wiped_members():
            return False
        if len(simulation.processes) >= PROCESS_COUNT_MAX:
            return False
        return self._propose(leader, changes())

    def _propose(self, leader: Process, changes: list[Change]) -> bool:
        assert leader.node is not None
        try:
            leader.node.propose_change(changes, leader.local_now)
        except RaftError:
            return False
        leader.run(lambda: None)
        return True
