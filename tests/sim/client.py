"""Simulated clients: sessions that retry, and the history they leave.

Owns one call at a time per client. Never gives up a command early: it repeats it under
the same sequence number, at any member, until it has an answer; after many attempts the
outcome stays unknown for good and a new client takes its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.linearizability import Operation
from tests.sim.machine import Command

if TYPE_CHECKING:
    from tests.sim.simulation import Simulation

ATTEMPT_COUNT_MAX = 30
ATTEMPT_MS = 900


class Client:
    """One client process; calls are sequential."""

    def __init__(self, simulation: Simulation, number: int) -> None:
        self.simulation = simulation
        self.world = simulation.world
        self.number = number
        self.random = self.world.random(f"client {number}")
        self.identity = number
        self.sequence = 0
        self.operation: Operation | None = None
        self.command: Command | None = None
        self.attempt = 0
        self.token = 0
        self.target = 0
        self.seen: dict[str, str] = {}
        self.is_surely_refused = True

    def start(self) -> None:
        """Plans the first call."""
        self.world.after(self.random.randrange(500), self._invoke)

    @property
    def is_idle(self) -> bool:
        """True between two calls."""
        return self.operation is None

    def _invoke(self) -> None:
        if not self.simulation.is_load_on or self.operation is not None:
            return
        key = f"k{self.random.randrange(self.simulation.swarm.key_count)}"
        kind = self.random.choice(("put", "put", "cas", "read", "read"))
        operation = Operation(key, kind, self.simulation.tick_history())
        self.command = None
        if kind != "read":
            self.sequence += 1
            operation.value = f"{self.identity}.{self.sequence}" + "x" * self.random.randrange(40)
            expected = None
            if kind == "cas":
                expected = operation.expected = self.seen.get(key, "")
            self.command = Command(self.identity, self.sequence, key, operation.value, expected)
            self.simulation.history.append(operation)
        self.operation = operation
        self.attempt = 0
        self.is_surely_refused = True
        self._try()

    def _try(self) -> None:
        operation = self.operation
        if operation is None:
            return
        self.attempt += 1
        self.token += 1
        token = self.token
        if self.attempt > ATTEMPT_COUNT_MAX and not self.simulation.is_healed:
            self._give_up()
            return
        ids = self.simulation.running_ids()
        if ids and (self.target not in ids or self.random.randrange(4) == 0):
            self.target = self.random.choice(ids)
        process = self.simulation.processes.get(self.target)
        delay = 1 + self.random.randrange(3)
        if process is not None and self.command is not None:
            command = self.command
            self.world.after(
                delay, process.write, command, lambda o, v: self._answered(token, o, v)
            )
        elif process is not None:
            self.world.after(
                delay, process.read, operation.key, lambda o, v: self._answered(token, o, v)
            )
        self.world.after(ATTEMPT_MS, self._expire, token)

    def _answered(self, token: int, outcome: str, value: str) -> None:
        self.world.after(1 + self.random.randrange(3), self._take, token, outcome, value)

    def _take(self, token: int, outcome: str, value: str) -> None:
        operation = self.operation
        if token != self.token or operation is None:
            return
        if outcome != "ok":
            self.is_surely_refused = self.is_surely_refused and outcome == "refused"
            if self.is_surely_refused and self.random.randrange(3) == 0:
                self._forget()
                return
            self.target = 0
            self.token += 1
            self.world.after(20 + self.random.randrange(150), self._try)
            return
        operation.end = self.simulation.tick_history()
        operation.result = value
        if operation.kind == "read":
            self.simulation.history.append(operation)
            self.seen[operation.key] = value
        else:
            self.simulation.on_acknowledged(self.identity, self.sequence)
            self.world.counters["write_acknowledged"] += 1
        self._finish()

    def _expire(self, token: int) -> None:
        if token == self.token and self.operation is not None:
            self.world.counters["client_timeout"] += 1
            self.is_surely_refused = False
            self.target = 0
            self._try()

    def _forget(self) -> None:
        """Every attempt was refused: the call never happened."""
        operation = self.operation
        if operation is not None and operation.kind != "read":
            self.simulation.history.remove(operation)
            self.simulation.monitor.on_refused(self.identity, self.sequence)
            self.world.counters["write_refused"] += 1
        self._finish()

    def _give_up(self) -> None:
        self.world.counters["client_gave_up"] += 1
        self.identity += 1_000
        self.sequence = 0
        self._finish()

    def _finish(self) -> None:
        self.operation = None
        self.token += 1
        think = self.simulation.swarm.think_ms_max
        self.world.after(1 + self.random.randrange(think), self._invoke)
