"""Makes a failing seed small: fewer faults, fewer clients, a shorter run.

Owns the search. Never changes what a seed means: it narrows the run's shape, step by step,
and keeps a step when the run still breaks the same invariant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.sim.simulation import FAULT_MS, Report, Simulation
from tests.sim.swarm import Swarm, draw_swarm
from tests.sim.world import World

RUN_COUNT_MAX = 200
CHART_LINE_COUNT = 40


@dataclass(frozen=True)
class Shape:
    """A run that can be made smaller."""

    swarm: Swarm
    fault_ms: int


def run_shape(seed: int, shape: Shape) -> Report:
    """One run of that shape, with its history."""
    return Simulation(seed, keep_trace=True, swarm=shape.swarm, fault_ms=shape.fault_ms).run()


def shrink(
    seed: int, violation: str, run: Callable[[int, Shape], Report] = run_shape
) -> tuple[Shape, Report]:
    """The smallest shape found that still breaks `violation`, and its report."""
    shape = Shape(draw_swarm(World(seed).random("swarm")), FAULT_MS)
    best = run(seed, shape)
    left = RUN_COUNT_MAX
    progress = True
    while progress and left > 0:
        progress = False
        for smaller in _smaller(shape):
            left -= 1
            report = run(seed, smaller)
            if report.violation == violation:
                shape, best, progress = smaller, report, True
                break
            if left <= 0:
                break
    return shape, best


def _smaller(shape: Shape) -> Iterator[Shape]:
    swarm = shape.swarm
    for fault_ms in (shape.fault_ms // 2, shape.fault_ms * 3 // 4):
        if fault_ms >= 500:
            yield replace(shape, fault_ms=fault_ms)
    half = len(swarm.faults) // 2
    if half:
        yield replace(shape, swarm=replace(swarm, faults=swarm.faults[:half]))
        yield replace(shape, swarm=replace(swarm, faults=swarm.faults[half:]))
    for name in swarm.faults:
        fewer = tuple(other for other in swarm.faults if other != name)
        yield replace(shape, swarm=replace(swarm, faults=fewer))
    if swarm.client_count > 1:
        yield replace(shape, swarm=replace(swarm, client_count=1))
    if swarm.voter_count > 3:
        yield replace(shape, swarm=replace(swarm, voter_count=3))
    if swarm.is_pre_vote_mixed:
        yield replace(shape, swarm=replace(swarm, is_pre_vote_mixed=False))


def describe(shape: Shape, report: Report) -> str:
    """What is left, and its last events as a chart: one column a member."""
    swarm = shape.swarm
    head = (
        f"smallest: {swarm.voter_count} voters, {swarm.client_count} clients,"
        f" {shape.fault_ms} ms of {', '.join(swarm.faults) or 'no faults'}"
    )
    return "\n".join([head, *chart(report.trace[-CHART_LINE_COUNT:]), report.detail])


def chart(lines: list[str]) -> list[str]:
    """A sequence chart: messages point from column to column, other events stand below theirs."""
    members = sorted({int(word) for line in lines for word in _members(line)})
    column = {member: 10 + 6 * place for place, member in enumerate(members)}
    width = 10 + 6 * len(members) + 2
    rows = ["".join([" " * 10, *(f"{member:<6}" for member in members)])]
    for line in lines:
        time, _, text = line.strip().partition(" ")
        row = list(f"{time:>8}".ljust(width))
        for place in column.values():
            row[place] = "|"
        named = [int(word) for word in _members(line)]
        if len(named) == 2:
            start, end = column[named[0]], column[named[1]]
            low, high = min(start, end), max(start, end)
            for place in range(low + 1, high):
                row[place] = "-"
            row[end - 1 if start < end else end + 1] = ">" if start < end else "<"
        elif named:
            row[column[named[0]]] = "*"
        rows.append("".join(row) + text)
    return rows


def _members(line: str) -> list[str]:
    """The member, or sender and receiver, that a line of the history begins with."""
    words = line.split()
    if len(words) < 2:
        return []
    sender, _, receiver = words[1].partition(">")
    return [word for word in (sender, receiver) if word.isdigit()]
