"""What goes wrong, when: draws faults and applies them, each counted.

Owns the faults' schedule. Never breaks what no protocol survives: a quorum's disks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from neuro.raft import Change, ChangeKind
from tests.sim.network import Weather
from tests.sim.operators import PROCESS_COUNT_MAX, Operators

if TYPE_CHECKING:
    from tests.sim.process import Process
    from tests.sim.simulation import Simulation


class Nemesis(Operators):
    """The faults of one run."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation)
        self._faults: dict[str, Callable[[], bool]] = {
            name: getattr(self, f"_do_{name}") for name in simulation.swarm.faults
        }

    def start(self) -> None:
        """Plans the first fault."""
        if self._faults:
            self.world.after(self.random.randrange(2_000), self._strike)

    def heal(self) -> None:
        """Ends every fault; wiped and removed members stay away."""
        self.is_on = False
        simulation = self.simulation
        simulation.network.heal()
        for process in simulation.processes.values():
            process.heal_disk()
            process.clock.set_rate(1_000, self.world.now)
            process.retime()
            process.resume()
            process.start()
        self._clean_up()

    def _strike(self) -> None:
        if not self.is_on:
            return
        name = self.random.choice(tuple(self._faults))
        if self._faults[name]():
            self.world.counters[name] += 1
            self.world.note(f"fault {name}")
        self.world.after(
            1 + self.random.randrange(2 * self.simulation.swarm.fault_gap_ms), self._strike
        )

    # -- processes

    def _do_crash(self) -> bool:
        victim = self._victim()
        if victim is None:
            return False
        victim.crash()
        self.world.after(self._duration(), self._restart, victim)
        return True

    def on_install(self, process: Process, epoch: int) -> None:
        """A snapshot is being installed: a bad moment for the power to go."""
        if self.is_on and "crash" in self._faults and self.random.randrange(4) == 0:
            self.world.after(0, self._crash_installing, process, epoch)

    def _crash_installing(self, process: Process, epoch: int) -> None:
        if process.epoch == epoch and process.node is not None:
            self.world.counters["crash_installing"] += 1
            process.crash()
            self.world.after(self._duration(), self._restart, process)

    def _do_crash_all(self) -> bool:
        """The power goes: everything that is not durable is lost, everywhere at once."""
        if self.random.randrange(3):
            return False
        back = self._duration()
        for process in self._running():
            process.crash()
            self.world.after(back + self.random.randrange(300), self._restart, process)
        return True

    def _do_pause(self) -> bool:
        victim = self._victim()
        if victim is None or victim.is_paused:
            return False
        victim.pause()
        self.world.after(self._duration(), victim.resume)
        return True

    def _do_wipe(self) -> bool:
        """A disk is exchanged; only while the others hold all, and one at a time."""
        victim = self._victim()
        simulation = self.simulation
        if victim is None or simulation.wiped_members() or self.random.randrange(2):
            return False
        if not simulation.may_lose(victim.id):
            return False
        victim.wipe()
        self.world.after(200, self._replace_wiped, victim.id)
        return True

    def _replace_wiped(self, lost: int) -> None:
        if not self.is_on:
            return
        leader = self._leader()
        if leader is not None and leader.node is not None:
            configuration = leader.node.configuration
            if lost in configuration.members():
                changes = [Change(ChangeKind.REMOVE, lost)]
                if len(self.simulation.processes) < PROCESS_COUNT_MAX:
                    new = self._new_process()
                    changes.append(Change(ChangeKind.ADD_LEARNER, new, promote=True))
                self._propose(leader, changes)
        if lost in self.simulation.wiped_members():
            self.world.after(400, self._replace_wiped, lost)

    # -- network

    def _do_partition(self) -> bool:
        ids = self._ids()
        self.random.shuffle(ids)
        size = self.random.randrange(len(ids) + 1)
        self._cut_for(ids[:size], ids[size:])
        return True

    def _do_isolate_leader(self) -> bool:
        leader = self._leader()
        if leader is None:
            return False
        self._cut_for([leader.id], [i for i in self._ids() if i != leader.id])
        return True

    def _do_one_way(self) -> bool:
        victim = self._victim()
        if victim is None:
            return False
        others = [i for i in self._ids() if i != victim.id]
        outward = self.random.randrange(2)
        links = [(victim.id, o) if outward else (o, victim.id) for o in others]
        self._cut_links_for(links)
        return True

    def _do_bridge(self) -> bool:
        """Two halves that only meet in one node."""
        ids = self._ids()
        if len(ids) < 3:
            return False
        self.random.shuffle(ids)
        half = len(ids) // 2
        self._cut_for(ids[1 : half + 1], ids[half + 1 :])
        return True

    def _cut_for(self, left: Sequence[int], right: Sequence[int]) -> None:
        self._cut_links_for([link for a in left for b in right for link in ((a, b), (b, a))])

    def _cut_links_for(self, links: list[tuple[int, int]]) -> None:
        network = self.simulation.network
        network.cut.update(links)
        self.world.after(self._duration(), network.cut.difference_update, links)

    def _do_clog(self) -> bool:
        ids = self._ids()
        if len(ids) < 2:
            return False
        link = tuple(self.random.sample(ids, 2))
        until = self.world.now + self._duration()
        self.simulation.network.clogged[link[0], link[1]] = until
        return True

    def _do_weather(self) -> bool:
        draw = self.random.randrange
        self.simulation.network.weather = Weather(
            drop=draw(25) * draw(2),
            duplicate=draw(25) * draw(2),
            delay=draw(25) * draw(2),
            corrupt=draw(5) * draw(2),
            delay_ms_max=self.random.choice((50, 400, 1_500)),
            latency_ms_max=self.random.choice((1, 4, 30)),
        )
        self.world.after(2 * self._duration(), self._clear_weather)
        return True

    def _clear_weather(self) -> None:
        self.simulation.network.weather = Weather()

    def _do_unreachable(self) -> bool:
        leader = self._leader()
        if leader is None or leader.node is None:
            return False
        peer = self.random.choice(self._ids())
        leader.run(leader.node.report_unreachable, peer, leader.local_now)
        return True

    # -- disks and clocks

    def _do_disk_slow(self) -> bool:
        victim = self._victim()
        if victim is not None:
            victim.disk.slow_until = self.world.now + self._duration()
        return victim is not None

    def _do_disk_hang(self) -> bool:
        victim = self._victim()
        if victim is not None:
            victim.disk.hung_until = self.world.now + self._duration()
        return victim is not None

    def _do_disk_eio(self) -> bool:
        victim = self._victim()
        if victim is None:
            return False
        victim.disk.fails_next_sync = True
        self.world.after(self._duration() + 500, self._restart, victim)
        return True

    def _do_clock_jump(self) -> bool:
        victim = self._victim()
        if victim is None:
            return False
        victim.clock.jump(self.random.choice((50, 400, 2_000, 60_000)), self.world.now)
        victim.retime()
        return True

    def _do_clock_freeze(self) -> bool:
        victim = self._victim()
        if victim is None:
            return False
        victim.clock.set_rate(0, self.world.now)
        self.world.after(self._duration(), self._set_rate, victim, 1_000)
        return True

    def _do_clock_drift(self) -> bool:
        victim = self._victim()
        if victim is None or victim.clock.rate == 0:
            return False
        self._set_rate(victim, 950 + self.random.randrange(101))
        return True

    def _set_rate(self, process: Process, rate: int) -> None:
        process.clock.set_rate(rate, self.world.now)
        process.retime()

    def _clean_up(self) -> None:
        """After healing, the operator removes members that are gone for good."""
        simulation = self.simulation
        leader = self._leader()
        if leader is not None and leader.node is not None:
            for lost in simulation.wiped_members():
                if lost in leader.node.configuration.members():
                    self._propose(leader, [Change(ChangeKind.REMOVE, lost)])
        if not simulation.is_done:
            self.world.after(200, self._clean_up)
