"""A real process, a real disk and kill -9 at random moments: nothing acknowledged is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

from neuro.cluster import offline
from neuro.cluster.disk import RealDisk

ROOT = Path(__file__).resolve().parents[3]
LIVES = 6
ACKNOWLEDGED_MAX = 400


def run_once(directory: Path, random: Random) -> tuple[list[int], list[int]]:
    """One life: what it remembered, and what it acknowledged before it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.cluster.member_process", str(directory), "16"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    assert process.stdout is not None
    try:
        word, *numbers = process.stdout.readline().split()
        assert word == "ready"
        enough = random.randrange(1, ACKNOWLEDGED_MAX)
        lines = [process.stdout.readline() for _ in range(enough)]
    finally:
        process.kill()
    rest = process.stdout.read().splitlines(keepends=True)
    process.stdout.close()
    process.wait()
    acknowledged = [int(line) for line in (*lines, *rest) if line.endswith("\n")]
    return [int(number) for number in numbers], acknowledged


def test_what_was_acknowledged_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    random = Random(7)
    directory = tmp_path / "data"
    promised: set[int] = set()
    for life in range(LIVES):
        remembered, acknowledged = run_once(directory, random)
        assert promised <= set(remembered), life
        assert len(remembered) == len(set(remembered))
        assert acknowledged
        promised |= set(remembered) | set(acknowledged)
    disk = RealDisk(directory)
    report = offline.verify(disk)
    disk.close()
    assert report.last_index >= len(promised)
    assert report.snapshot_index > 1
