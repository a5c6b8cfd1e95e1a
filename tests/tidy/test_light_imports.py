"""`ctl`, `version` and the help load nothing heavy: people and health checks run them in loops."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = [
    "starlette",
    "uvicorn",
    "uvloop",
    "torch",
    "numpy",
    "onnxruntime",
    "typer",
    "rich",
    "asyncio",
    "ssl",
    "http.client",
    "email",
    "prometheus_client",
    "neuro.native",
    "neuro._core",
    "neuro.server",
    "neuro.admin",
    "neuro.edge",
    "neuro.config",
    "neuro.raft",
    "cryptography",
    "msgpack",
]

PROGRAM = """
import sys
from neuro.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print("modules", *sys.modules)
"""


@pytest.mark.parametrize(
    "words",
    [
        ["ctl", "health", "--admin", "127.0.0.1:1"],
        ["ctl", "status", "--admin", "127.0.0.1:1"],
        ["ctl", "get", "k", "--endpoints", "127.0.0.1:1"],
        ["ctl", "members", "list", "--endpoints", "127.0.0.1:1"],
        ["ctl", "--help"],
        ["--help"],
        ["--version"],
    ],
)
def test_a_light_command_loads_nothing_heavy(words: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True
    )
    loaded = result.stdout.splitlines()[-1].split()
    assert loaded[0] == "modules"
    assert "neuro.cli.main" in loaded
    assert not set(HEAVY) & set(loaded)


def test_the_check_would_see_a_heavy_module() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, "serve", "--check-config", "--log-level", "info"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "typer" in result.stdout.splitlines()[-1].split()
