"""One run: members, network, clients and faults, then healing, then the verdict.

Owns the phases and the end conditions. Never decides anything for the members.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from traceback import format_exception

from neuro.checks import InvariantError
from neuro.raft import Configuration, SnapshotMeta, found_group
from neuro.raft.messages import Message
from tests.sim.client import Client
from tests.sim.ledger import Violation, require
from tests.sim.linearizability import Operation, find_violation
from tests.sim.monitor import Monitor
from tests.sim.nemesis import Nemesis
from tests.sim.network import Network
from tests.sim.process import Process
from tests.sim.swarm import Swarm, draw_swarm
from tests.sim.world import World

FAULT_MS = 15_000
LOAD_AFTER_HEAL_MS = 3_000
HEAL_MS_MAX = 20_000
"""Twenty of the longest election timeouts: a healed group that needs more is stuck."""
STEP_COUNT_MAX = 400_000


@dataclass
class Report:
    """How a run ended."""

    seed: int
    violation: str = ""
    detail: str = ""
    digest: int = 0
    simulated_ms: int = 0
    heal_ms: int = 0
    step_count: int = 0
    check_count: int = 0
    operation_count: int = 0
    counters: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)


class Simulation:
    """One seed's run."""

    def __init__(
        self,
        seed: int,
        *,
        keep_trace: bool = False,
        swarm: Swarm | None = None,
        fault_ms: int = FAULT_MS,
    ) -> None:
        self.world = World(seed, keep_trace)
        self.swarm = swarm or draw_swarm(self.world.random("swarm"))
        self.fault_ms = fault_ms
        voters = tuple(range(1, self.swarm.voter_count + 1))
        founding = found_group(Configuration(voters=voters))
        self.monitor = Monitor(self.world, founding)
        self.network = Network(self.world, self._deliver)
        self.processes: dict[int, Process] = {}
        self.history: list[Operation] = []
        self.acknowledged: dict[int, int] = {}
        self.is_load_on = True
        self.is_healed = False
        self.is_exercising = False
        self.is_done = False
        self.healed_at = 0
        self._history_tick = 0
        self._next_id = 0
        for _ in voters:
            self.add_process(founding)
        self.clients = [Client(self, n + 1) for n in range(self.swarm.client_count)]
        self.nemesis = Nemesis(self)

    def run(self) -> Report:
        """Runs to the verdict."""
        report = Report(self.world.seed)
        try:
            self._run_phases()
            self._judge()
        except Violation as error:
            report.violation, report.detail = error.name, str(error)
        except InvariantError as error:
            report.violation, report.detail = "internal_check", str(error)
        except Exception as error:  # a crash of the core is a finding like any other
            report.violation, report.detail = "crash", "".join(format_exception(error))
        world = self.world
        report.digest = world.digest
        report.simulated_ms = world.now
        report.heal_ms = max(0, world.now - self.healed_at) if self.is_healed else 0
        report.step_count = world.step_count
        report.check_count = self.monitor.ledger.check_count
        report.operation_count = len(self.history)
        report.counters = world.counters
        report.trace = world.trace or []
        return report

    def _run_phases(self) -> None:
        world = self.world
        for client in self.clients:
            client.start()
        self.nemesis.start()
        while world.next_time < self.fault_ms and world.run_one():
            require(world.step_count < STEP_COUNT_MAX, "bounded_work", "too many events")
        world.now = max(world.now, self.fault_ms)
        self.is_healed = True
        self.healed_at = world.now
        world.note("heal")
        self.nemesis.heal()
        world.after(LOAD_AFTER_HEAL_MS, self._stop_load)
        world.after(LOAD_AFTER_HEAL_MS + 100, self._look_for_end)
        while not self.is_done and world.run_one():
            require(world.step_count < STEP_COUNT_MAX, "bounded_work", "too many events")

    def _stop_load(self) -> None:
        self.is_load_on = False

    def _look_for_end(self) -> None:
        missing = self._what_is_missing()
        if not missing and self.is_exercising:
            self.is_done = True
            return
        if not missing:
            self._exercise_transfer()
            return
        waited = self.world.now - self.healed_at
        require(waited < HEAL_MS_MAX, "liveness", f"{waited} ms after healing: {missing}")
        self.world.after(100, self._look_for_end)

    def _exercise_transfer(self) -> None:
        """The group is at rest: leadership must move when it is asked to."""
        self.is_exercising = True
        leader = next(p for p in self.processes.values() if p.is_leader)
        assert leader.node is not None
        configuration = leader.node.configuration
        targets = [
            node
            for node in configuration.voters
            if node != leader.id and configuration.may_lead(node)
        ]
        if not targets:
            self.is_done = True
            return
        target = self.world.random("exercise").choice(targets)
        leader.node.transfer_leadership(target, leader.local_now)
        leader.run(lambda: None)
        self.world.after(self.swarm.options.election_timeout_ms_min, self._judge_transfer, target)

    def _judge_transfer(self, target: int) -> None:
        require(
            self.processes[target].is_leader,
            "transfer_completes",
            f"{target} was offered leadership and does not lead",
        )
        self._look_for_end()

    def _what_is_missing(self) -> str:
        """Why the healed group is not at rest yet, empty when it is."""
        leaders = [p for p in self.processes.values() if p.is_leader]
        if not leaders:
            return "no leader"
        leader = max(leaders, key=lambda p: p.node.term if p.node else 0)
        assert leader.node is not None
        configuration = leader.node.configuration
        if configuration.is_joint:
            return "joint configuration"
        if any(self.processes[node].node is not None for node in configuration.promotable):
            return f"learners {configuration.promotable} are not promoted"
        busy = [client.number for client in self.clients if not client.is_idle]
        if busy:
            return f"clients {busy} wait"
        for node_id in configuration.members():
            process = self.processes[node_id]
            if process.node is None:
                return f"member {node_id} is down"
            if process.machine.applied_index != leader.node.last_index:
                return f"member {node_id} applied {process.machine.applied_index}"
            if process.desk.owes_answers:
                return f"member {node_id} owes answers"
        return ""

    def _judge(self) -> None:
        """What only the end can show."""
        machines = [
            self.processes[node].machine
            for process in self.processes.values()
            if process.is_leader and process.node is not None
            for node in process.node.configuration.members()
            if node not in process.node.configuration.witnesses
        ]
        states = {machine.to_bytes() for machine in machines}
        require(len(states) == 1, "state_equality", "members differ at rest")
        for client, sequence in sorted(self.acknowledged.items()):
            held, _ = machines[0].sessions.get(client, (0, ""))
            require(
                held >= sequence,
                "durable_writes",
                f"client {client}: {sequence} was acknowledged, {held} is held",
            )
        key = find_violation(self.history)
        require(key is None, "linearizability", f"no order explains what happened to {key}")

    # -- services for the parts

    def add_process(self, base: SnapshotMeta) -> int:
        """A new member's process, started; returns its id."""
        self._next_id += 1
        process = Process(self, self._next_id, base)
        self.processes[self._next_id] = process
        process.start()
        return self._next_id

    def on_new_leader(self, leader: Process) -> None:
        """Clients write to it, and read also from whoever has not noticed its election."""
        if self.is_healed:
            return
        self.world.after(1, self.nemesis.propose_burst, leader, 1)
        for delay_ms in (1, 6, 12, 20, 35, 60, 250, 800):
            self.world.after(delay_ms, self._probe_leaders)

    def _probe_leaders(self) -> None:
        for process in list(self.processes.values()):
            if process.is_leader:
                process.read("probe", lambda outcome, value: None)

    def tick_history(self) -> int:
        """A point in the clients' history; every one is different."""
        self._history_tick += 1
        return self._history_tick

    def running_ids(self) -> list[int]:
        """Members a client may ask."""
        return [p.id for p in self.processes.values() if p.node is not None]

    def on_acknowledged(self, client: int, sequence: int) -> None:
        """A client has an answer to its command."""
        self.acknowledged[client] = max(self.acknowledged.get(client, 0), sequence)

    def wiped_members(self) -> list[int]:
        """Wiped ids that some running member still counts as a member."""
        return [
            lost.id
            for lost in self.processes.values()
            if lost.is_wiped
            and any(
                lost.id in p.node.configuration.members()
                for p in self.processes.values()
                if p.node is not None
            )
        ]

    def may_lose(self, victim: int) -> bool:
        """True when the others' disks keep a quorum of everything committed."""
        alive = [p for p in self.processes.values() if not p.is_wiped]
        configurations = {
            p.node.configuration for p in alive if p.node is not None and p.node.last_index
        }
        if len(configurations) != 1 or any(
            p.node is None or p.node._core.log.configuration_index > p.node.commit_index
            for p in alive
        ):
            return False
        configuration = configurations.pop()
        if configuration.is_joint or configuration.witnesses or not self.monitor.ledger.committed:
            return False
        last = max(self.monitor.ledger.committed)
        term, _ = self.monitor.ledger.committed[last]
        holders = [
            node
            for node in configuration.voters
            if node != victim and self.processes[node].disk.image.holds(last, term)
        ]
        has_data = any(node not in configuration.witnesses for node in holders)
        return has_data and len(holders) > len(configuration.voters) // 2

    def _deliver(self, message: Message, payload: bytes) -> None:
        process = self.processes.get(message.to)
        if process is not None:
            process.receive(message, payload)
