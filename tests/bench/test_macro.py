"""The comparison with other servers: its arithmetic on known input, and one tiny real run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.macro.load import HEAD_BYTES_MAX, Load, count_wrong
from bench.macro.measure import Disturbance, Run, cpu_time_us
from bench.macro.report import judge, judge_disturbance, summarize, to_markdown
from tests.tidy.repository import ROOT


def make_run(server: str, cpu_us: float, size: int = 1024, *, errors: int = 0) -> Run:
    return Run(
        server=server,
        body_bytes=size,
        connections=64,
        requests=1000,
        requests_per_s=1e6 / cpu_us,
        cpu_us_per_request=cpu_us,
        p50_us=10,
        p99_us=100,
        errors=errors,
        misses=0,
    )


def test_figure_is_the_median_and_its_ratio_to_the_ceiling() -> None:
    runs = [make_run("ceiling", us) for us in (9, 10, 30)]
    runs += [make_run("neurocache", us) for us in (12, 11, 50)]
    ceiling, ours = summarize(runs)
    assert (ceiling.cpu_us_per_request, ceiling.to_ceiling) == (10, 1.0)
    assert (ours.cpu_us_per_request, ours.runs) == (12, 3)
    assert ours.to_ceiling == pytest.approx(1.2)


@pytest.mark.parametrize(("cpu_us", "passed"), [(12.5, True), (12.6, False)])
def test_bar_is_a_quarter_above_the_ceiling(cpu_us: float, passed: bool) -> None:
    (verdict,) = judge(summarize([make_run("ceiling", 10), make_run("neurocache", cpu_us)]))
    assert verdict.passed is passed


@pytest.mark.parametrize(("peer_us", "passed"), [(12.1, True), (12.0, False), (11.0, False)])
def test_bar_is_ahead_of_every_peer(peer_us: float, passed: bool) -> None:
    runs = [make_run("neurocache", 12, 16384), make_run("nginx", peer_us, 16384)]
    (verdict,) = judge(summarize(runs))
    assert verdict.passed is passed
    assert ("PASS" if passed else "FAIL") in to_markdown(summarize(runs), [verdict])


def test_a_run_with_errors_fails_whatever_its_figure() -> None:
    assert [v.passed for v in judge(summarize([make_run("nginx", 1, errors=1)]))] == [False]


@pytest.mark.parametrize(("disturbed_us", "passed"), [([200, 190], True), ([201, 230], False)])
def test_misses_may_double_the_tail_of_hits_at_most(disturbed_us: list[int], passed: bool) -> None:
    result = Disturbance("neurocache", [100, 100], disturbed_us, 100.0, 0)
    assert judge_disturbance(result).passed is passed


@pytest.mark.parametrize(
    ("received", "wrong"),
    [
        (100 * 1024, 0),
        (100 * 1024 - 1, 1),
        (108 * (1024 + HEAD_BYTES_MAX), 0),
        (108 * (1024 + HEAD_BYTES_MAX) + 1, 1),
    ],
)
def test_bodies_of_another_size_are_noticed(received: int, wrong: int) -> None:
    load = Load(100, 1_000_000, received, 0, 1, 1)
    assert count_wrong(load, 1024, 8) == wrong


def test_cpu_time_counts_children() -> None:
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c',"
        " 'import time\\nwhile time.process_time() < 0.3: pass\\n"
        "print(1, flush=True)\\ninput()'], stdin=subprocess.PIPE)\n"
        "sys.stdin.read()\nchild.communicate(b'\\n')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert cpu_time_us(parent.pid) >= 300_000
        parent.communicate()


@pytest.mark.needs("wrk", "taskset", "nginx", "varnishd", "traffic_server")
def test_tiny_comparison_serves_only_hits_and_leaves_nothing_behind(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    before = set(memory.glob("neurocache-bench-*"))
    done = subprocess.run(
        [sys.executable, "-m", "bench.macro.run", "--tiny", "--scenario=hits", "--require-all"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr + done.stdout
    for name in ("ceiling", "neurocache", "nginx", "varnish", "trafficserver"):
        assert f"| 1024 | 8 | {name} |" in done.stdout
    assert set(memory.glob("neurocache-bench-*")) <= before
    assert not list(tmp_path.glob("neurocache-bench-*"))
