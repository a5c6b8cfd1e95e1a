"""`make serve` and the frozen program, as people use them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import smoke

import processes
from tests.programs import environment_program
from tests.tidy.repository import ROOT

FROZEN = ROOT / "build" / "out" / "freeze" / "neurocache" / "neurocache"


def test_installed_program_passes_the_smoke_test() -> None:
    assert "; hit" in smoke.smoke(environment_program("neurocache"))


def test_frozen_program_passes_the_smoke_test() -> None:
    if not FROZEN.exists():
        if os.environ.get("NEUROCACHE_REQUIRE_ALL") != "1":
            pytest.skip("no frozen program: `make freeze` makes one")
        subprocess.run([sys.executable, str(ROOT / "packaging" / "freeze.py")], check=True)
    assert "; hit" in smoke.smoke(str(FROZEN))


def test_demo_says_what_to_try_and_one_signal_ends_both_processes(tmp_path: Path) -> None:
    edge, admin = smoke.free_ports(2)
    demo = subprocess.Popen(
        [
            *(sys.executable, str(ROOT / "packaging" / "demo" / "serve.py")),
            *(f"--edge=127.0.0.1:{edge}", f"--admin=127.0.0.1:{admin}", f"--data={tmp_path}"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert demo.stdout is not None
    try:
        said = ""
        while "Ctrl-C ends both" not in said:
            line = demo.stdout.readline()
            assert line, f"the demo ended early with status {demo.wait()}: {said}"
            said += line
        assert f"http://localhost:{edge}/" in said
        assert b"Harbour Post" in processes.fetch(edge, "/").body
        before = int(processes.fetch(edge, "/api/count").body.split(b":")[1].strip(b" }\n"))
        processes.fetch(edge, "/")
        after = int(processes.fetch(edge, "/api/count").body.split(b":")[1].strip(b" }\n"))
        assert after == before + 1, "the page came from the origin again"
        demo.send_signal(signal.SIGINT)
        assert demo.wait(processes.STOP_DEADLINE_S) == 0
    finally:
        demo.kill()
        demo.wait()
        demo.stdout.close()
    with pytest.raises(OSError, match="refused"):
        processes.fetch(edge, "/")
