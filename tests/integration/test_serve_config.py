"""`neurocache serve` as a process: what it makes of its configuration before it starts anything."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.integration.serving import clean_environment
from tests.programs import environment_program

if TYPE_CHECKING:
    from pathlib import Path


def serve(directory: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the installed program to its end."""
    return subprocess.run(
        [environment_program("neurocache"), "serve", *words],
        cwd=directory,
        env={**clean_environment(), "HOME": str(directory), **variables},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_a_good_configuration_prints_ok_with_sources_and_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "neurocache.toml").write_text(
        '[origin]\nurl = "http://127.0.0.1:9000"\n', encoding="utf-8"
    )
    result = serve(tmp_path, "--check-config", "--threads", "2", NEUROCACHE_MEMORY="8MiB")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:2] == ["OK", f"file: {tmp_path}/neurocache.toml"]
    sources = {line.split()[0]: line.split()[1:] for line in lines[2:]}
    assert sources["origin.url"] == ["http://127.0.0.1:9000", "neurocache.toml:2"]
    assert sources["node.memory"] == ["8MiB", "NEUROCACHE_MEMORY"]
    assert sources["edge.threads"] == ["2", "--threads"]
    assert [path.name for path in tmp_path.iterdir()] == ["neurocache.toml"]


def test_a_bad_configuration_never_starts_a_node(tmp_path: Path) -> None:
    (tmp_path / "neurocache.toml").write_text(
        "[edge]\nbnd = '127.0.0.1:1'\nthreads = 'two'\n", encoding="utf-8"
    )
    for words in ((), ("--check-config",)):
        result = serve(tmp_path, *words)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.splitlines() == [
            "error: the configuration has 2 faults",
            "  neurocache.toml:2: unknown key `edge.bnd`; did you mean `edge.bind`?",
            "  neurocache.toml:3: edge.threads: expected a whole number, found a text",
        ]
    assert [path.name for path in tmp_path.iterdir()] == ["neurocache.toml"]


def test_other_machines_are_let_in_only_on_demand(tmp_path: Path) -> None:
    result = serve(tmp_path, "--edge", "0.0.0.0:0")
    assert result.returncode == 2
    assert "`--insecure`" in result.stderr
