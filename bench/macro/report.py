"""From runs to a verdict: medians, ratios to the ceiling, and the bar.

Owns the bar and how it is told. Never runs anything, so it can be applied to a stored result.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bench.macro.servers import CEILING, OURS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.macro.measure import Disturbance, Run

CEILING_RATIO_MAX = 1.25
CEILING_SIZES = (1024, 65536)
P99_RATIO_MAX = 2.0
JUDGED_CONNECTIONS = 64


@dataclass(frozen=True)
class Figure:
    """Medians of all runs of one server, size and connection count."""

    server: str
    body_bytes: int
    connections: int
    requests_per_s: float
    cpu_us_per_request: float
    p99_us: float
    errors: int
    misses: int
    runs: int
    to_ceiling: float | None


@dataclass(frozen=True)
class Verdict:
    """One line of the bar."""

    passed: bool
    text: str


def summarize(runs: Iterable[Run]) -> list[Figure]:
    """Medians in the order of first appearance; errors and misses are summed."""
    groups: dict[tuple[int, int, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.body_bytes, run.connections, run.server), []).append(run)
    cpu = {key: median(run.cpu_us_per_request for run in group) for key, group in groups.items()}
    figures = []
    for (size, connections, server), group in groups.items():
        ceiling = cpu.get((size, connections, CEILING))
        figures.append(
            Figure(
                server=server,
                body_bytes=size,
                connections=connections,
                requests_per_s=median(run.requests_per_s for run in group),
                cpu_us_per_request=cpu[size, connections, server],
                p99_us=median(run.p99_us for run in group),
                errors=sum(run.errors for run in group),
                misses=sum(run.misses for run in group),
                runs=len(group),
                to_ceiling=cpu[size, connections, server] / ceiling if ceiling else None,
            )
        )
    return figures


def judge(figures: list[Figure]) -> list[Verdict]:
    """The bar: near the ceiling where it is asked for, ahead of every peer, nothing wrong."""
    verdicts = [
        Verdict(
            passed=False,
            text=f"{f.server} {f.body_bytes} B x {f.connections}: {f.errors} errors, "
            f"{f.misses} misses; the figure does not count",
        )
        for f in figures
        if f.errors or f.misses
    ]
    at = {(f.body_bytes, f.connections, f.server): f for f in figures}
    for ours in (f for f in figures if f.server == OURS):
        where = f"{ours.body_bytes} B x {ours.connections}"
        is_judged = ours.connections == JUDGED_CONNECTIONS and ours.body_bytes in CEILING_SIZES
        if ours.to_ceiling is not None and is_judged:
            verdicts.append(
                Verdict(
                    passed=ours.to_ceiling <= CEILING_RATIO_MAX,
                    text=f"{where}: {ours.to_ceiling:.2f} of the ceiling, "
                    f"at most {CEILING_RATIO_MAX}",
                )
            )
        peers = [
            peer
            for (size, connections, name), peer in at.items()
            if (size, connections) == (ours.body_bytes, ours.connections)
            and name not in (OURS, CEILING)
        ]
        verdicts += [
            Verdict(
                passed=ours.cpu_us_per_request < peer.cpu_us_per_request,
                text=f"{where}: {ours.cpu_us_per_request:.1f} us against "
                f"{peer.cpu_us_per_request:.1f} us of {peer.server}",
            )
            for peer in peers
        ]
    return verdicts


def judge_disturbance(result: Disturbance) -> Verdict:
    """p99 of hits with misses in flight over p99 without."""
    ratio = median(result.p99_us_disturbed) / max(1.0, median(result.p99_us_calm))
    return Verdict(
        passed=ratio <= P99_RATIO_MAX and result.errors == 0,
        text=f"{result.server}: p99 of hits x{ratio:.2f} with {result.misses_per_s:.0f} misses/s "
        f"({median(result.p99_us_calm):.0f} -> {median(result.p99_us_disturbed):.0f} us), "
        f"at most x{P99_RATIO_MAX}; {result.errors} errors",
    )


def to_markdown(figures: list[Figure], verdicts: list[Verdict]) -> str:
    """Tables by size and connections, the bar below."""
    lines = [
        "| body | connections | server | requests/s | CPU us/request | to ceiling | p99 us |",
        "|---:|---:|---|---:|---:|---:|---:|",
    ]
    for f in sorted(figures, key=lambda f: (f.body_bytes, f.connections, f.cpu_us_per_request)):
        ratio = f"{f.to_ceiling:.2f}" if f.to_ceiling else ""
        lines.append(
            f"| {f.body_bytes} | {f.connections} | {f.server} | {f.requests_per_s:,.0f} "
            f"| {f.cpu_us_per_request:.1f} | {ratio} | {f.p99_us:,.0f} |"
        )
    lines += ["", *(f"- {'PASS' if v.passed else 'FAIL'}: {v.text}" for v in verdicts)]
    return "\n".join(lines) + "\n"
