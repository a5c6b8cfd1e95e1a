"""`python -m tests.sim`: runs seeds, prints what failed and how to repeat it."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.sim.shrink import describe, shrink
from tests.sim.simulation import Report, Simulation
from tests.sim.swarm import FAULTS


def main() -> int:
    """Runs the seeds of the command line; 1 when one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds")
    parser.add_argument("--trace", action="store_true", help="print the whole history")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at a failure")
    parser.add_argument("--shrink", action="store_true", help="make a failing seed small")
    arguments = parser.parse_args()
    counters: Counter[str] = Counter()
    failed: list[Report] = []
    simulated_ms = check_count = operation_count = heal_ms_max = 0
    report = Report(0)
    started = time.process_time()
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        report = Simulation(seed, keep_trace=arguments.trace).run()
        counters += report.counters
        simulated_ms += report.simulated_ms
        check_count += report.check_count
        operation_count += report.operation_count
        heal_ms_max = max(heal_ms_max, report.heal_ms)
        if arguments.trace:
            print("\n".join(report.trace))
        if report.violation:
            failed.append(report)
            print(f"seed {seed}: {report.detail}", flush=True)
            print(f"  repeat: python -m tests.sim --seed {seed} --trace")
            if arguments.shrink:
                print(describe(*shrink(seed, report.violation)))
            if not arguments.keep_going:
                break
    cpu_s = time.process_time() - started
    silent = [name for name in FAULTS if not counters[name]]
    if silent:
        print(f"never fired: {' '.join(silent)}")
    print(f"{'  '.join(f'{name}={count}' for name, count in sorted(counters.items()))}")
    print(
        f"{arguments.count} seeds, {len(failed)} failed, {operation_count} client calls,"
        f" {check_count} checked events, slowest recovery {heal_ms_max} ms,"
        f" {simulated_ms / 1000:.0f} simulated s in {cpu_s:.1f} CPU s"
        f" ({simulated_ms / 1000 / max(cpu_s, 1e-9):.0f}x),"
        f" digest {(failed[0] if failed else report).digest:08x}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
