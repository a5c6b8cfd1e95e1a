"""A sample of seeds, and proof that the simulator itself can be trusted.

`make sim` runs many more. A failing seed prints the command that repeats it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from neuro.raft import Configuration, Entry, EntryKind, HardState, SnapshotMeta
from tests.sim.clock import Clock
from tests.sim.disk import Disk, Image
from tests.sim.linearizability import UNKNOWN_END, Operation, find_violation, is_linearizable
from tests.sim.machine import Command, Machine
from tests.sim.shrink import Shape, chart, shrink
from tests.sim.simulation import Report, Simulation
from tests.sim.swarm import FAULTS, draw_swarm
from tests.sim.world import World

SEED_COUNT = 10
REGRESSIONS = (42, 105, 166, 1197, 1332, 2065, 20646, 20772, 20904, 30750)
"""Seeds that failed once, while the core or the simulator was wrong."""


def run_seed(seed: int) -> Counter[str]:
    report = Simulation(seed).run()
    repeat = f"repeat: python -m tests.sim --seed {seed} --trace"
    assert not report.violation, f"{report.detail}\n{repeat}"
    return report.counters


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_seed_that_failed_once_passes(seed: int) -> None:
    run_seed(seed)


def test_fresh_seeds_pass_and_the_faults_fire() -> None:
    counters: Counter[str] = Counter()
    for seed in range(1, SEED_COUNT + 1):
        counters += run_seed(seed)
    silent = [name for name in FAULTS if not counters[name]]
    assert len(silent) <= 4, f"a run of any length says which never fired: {silent}"
    for effect in ("message_drop", "message_duplicate", "message_cut", "disk_lost_records"):
        assert counters[effect], effect
    assert counters["snapshot_installed"]
    assert counters["leader_elected"] > SEED_COUNT
    assert counters["write_acknowledged"] > 100 * SEED_COUNT


def test_a_seed_replays_to_the_byte_whatever_the_hash_seed() -> None:
    endings = []
    for hash_seed in ("0", "4711"):
        process = subprocess.run(
            [sys.executable, "-m", "tests.sim", "--seed", "9", "--trace"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
            check=True,
        )
        endings.append(re.sub(r"in [\d.]+ CPU s \(\d+x\)", "", process.stdout))
    assert len(endings[0].splitlines()) > 100
    assert len(set(endings)) == 1


def op(kind: str, start: int, end: int, value: str = "", **facts: str) -> Operation:
    return Operation("k", kind, start, end, value, **facts)


def test_checker_accepts_overlapping_calls_in_either_order() -> None:
    write = op("put", 1, 10, "a")
    for seen in ("", "a"):
        assert is_linearizable([write, op("read", 2, 3, result=seen)])


def test_checker_refuses_a_stale_read() -> None:
    history = [op("put", 1, 2, "a"), op("put", 3, 4, "b"), op("read", 5, 6, result="a")]
    assert find_violation(history) == "k"


def test_checker_refuses_a_value_that_vanishes() -> None:
    reads = [op("read", 3, 4, result="a"), op("read", 5, 6, result="")]
    assert not is_linearizable([op("put", 1, UNKNOWN_END, "a"), *reads])


def test_checker_lets_an_unknown_write_happen_late_or_never() -> None:
    unknown = op("put", 1, UNKNOWN_END, "a")
    for later in ("", "a"):
        history = [unknown, op("read", 2, 3, result=""), op("read", 4, 5, result=later)]
        assert is_linearizable(history)


def test_checker_judges_compare_and_set() -> None:
    first = op("cas", 1, 2, "a", expected="", result="ok")
    assert is_linearizable([first, op("cas", 3, 4, "b", expected="a", result="ok")])
    assert is_linearizable([first, op("cas", 3, 4, "b", expected="", result="differs")])
    assert not is_linearizable([first, op("cas", 3, 4, "b", expected="", result="ok")])


@pytest.mark.parametrize("seed", range(30))
def test_checker_agrees_with_trying_every_order(seed: int) -> None:
    chance = Random(seed)
    points = list(range(10))
    chance.shuffle(points)
    history = []
    for number in range(5):
        start, end = sorted(points[2 * number : 2 * number + 2])
        kind = chance.choice(("put", "read"))
        value = str(number)
        result = chance.choice(("", "0", "1", "2", "3", "4")) if kind == "read" else "ok"
        history.append(op(kind, start, end, value, result=result))
    assert is_linearizable(history) == _some_order_fits(history, "")


def _some_order_fits(left: list[Operation], state: str) -> bool:
    if not left:
        return True
    horizon = min(operation.end for operation in left)
    for operation in left:
        after = operation.take_effect(state)
        if operation.start < horizon and after is not None:
            rest = [other for other in left if other is not operation]
            if _some_order_fits(rest, after):
                return True
    return False


def test_shrinking_keeps_what_breaks_and_drops_the_rest() -> None:
    def run(seed: int, shape: Shape) -> Report:
        is_broken = "pause" in shape.swarm.faults and shape.fault_ms > 2_000
        return Report(seed, violation="found" if is_broken else "")

    seed = next(
        seed for seed in range(100) if "pause" in draw_swarm(World(seed).random("swarm")).faults
    )
    shape, report = shrink(seed, "found", run)
    assert report.violation == "found"
    assert shape.swarm.faults == ("pause",)
    assert shape.fault_ms <= 3_000
    assert shape.swarm.client_count == 1


def test_chart_points_from_sender_to_receiver() -> None:
    rows = chart(["   10 1>3 Append t2", "   11 3>1 AppendReply t2", "   12 2 crashes"])
    assert rows == [
        "          1     2     3     ",
        "      10  |---------->|       1>3 Append t2",
        "      11  |<----------|       3>1 AppendReply t2",
        "      12  |     *     |       2 crashes",
    ]


def test_power_loss_keeps_a_prefix_of_what_was_not_synced() -> None:
    kept = set()
    for seed in range(40):
        disk = Disk(Image(SnapshotMeta(0, 0, Configuration())))
        disk.batch = [
            *(Entry(index, 1, EntryKind.COMMAND, b"") for index in (1, 2, 3)),
            HardState(1, 2, 3),
        ]
        lost = disk.lose_power(Random(seed))
        assert len(disk.image.entries) == min(3, 4 - lost)
        assert (disk.image.hard_state.vote == 2) == (lost == 0)
        kept.add(lost)
    assert kept == {0, 1, 2, 3, 4}


def test_clock_never_goes_back() -> None:
    clock = Clock(0, 100)
    seen = [clock.read(10)]
    clock.set_rate(0, 20)
    seen += [clock.read(30), clock.read(40)]
    assert clock.true_time_of(200, 40) is None
    clock.set_rate(950, 50)
    clock.jump(5, 60)
    seen += [clock.read(60), clock.read(70)]
    assert seen == sorted(seen)
    due = clock.true_time_of(200, 70)
    assert due is not None
    assert clock.read(due - 1) < 200 <= clock.read(due)


def test_machine_executes_a_command_once_and_gives_the_answer_again() -> None:
    machine = Machine()
    command = Command(7, 1, "k", "v", expected="")
    answers = []
    for index in (1, 2):
        entry = Entry(index, 1, EntryKind.COMMAND, command.to_bytes())
        answers.append(machine.apply(entry))
    assert answers == ["ok", "ok"]
    assert machine.executed is None
    assert Machine.from_bytes(machine.to_bytes()).to_bytes() == machine.to_bytes()
